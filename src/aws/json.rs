//! Calls of services of which so little is needed that a crate with all of their operations would
//! cost more than it saves: a signed request with a JSON body, and the answer.
//!
//! [AWS JSON](https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html), signed with
//! [SigV4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).

use std::time::{Duration, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::SdkError;
use chrono::DateTime;
use serde_json::Value;
use tokio::time::Instant;

use super::error::chain;
use super::{AwsError, CallTracker, quietly};
use crate::clock;

/// Which of the two [`call`] speaks: they differ in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// [AWS JSON 1.0](https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html)
    V1_0,
    /// AWS JSON 1.1
    V1_1,
}

impl Version {
    fn content_type(self) -> &'static str {
        match self {
            Version::V1_0 => "application/x-amz-json-1.0",
            Version::V1_1 => "application/x-amz-json-1.1",
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Calls an operation, and counts it: `calls` are those of its service, `target` is what stands in
/// `X-Amz-Target`. That something is not found is an answer, and no failure of the service.
pub async fn call(
    config: &SdkConfig,
    calls: &CallTracker,
    version: Version,
    target: &'static str,
    body: &Value,
) -> Result<Value, AwsError> {
    let operation = target.rsplit('.').next().unwrap_or(target);
    let begin = Instant::now();
    let to = To {
        service: calls.service(),
        version,
        target,
    };
    let answer = answer(config, to, body).await;
    let took = begin.elapsed();
    match &answer {
        Ok(_) => calls.done(operation, took, 0),
        Err(AwsError::Refused { code, .. }) if code.ends_with("NotFound") => {
            calls.refused(operation, took, 0);
        }
        Err(error) => calls.failed(operation, took, 0, error),
    }
    answer
}

/// What a request is for.
#[derive(Debug, Clone, Copy)]
struct To {
    service: &'static str,
    version: Version,
    target: &'static str,
}

async fn answer(config: &SdkConfig, to: To, body: &Value) -> Result<Value, AwsError> {
    let Answer { status, body, .. } = exchange(config, to, body).await?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status == 200 {
        return Ok(body);
    }
    let text = |names: [&str; 2]| names.into_iter().find_map(|name| body.get(name)?.as_str());
    // As `com.amazonaws.ssm#ParameterNotFound` it is the same.
    let code = text(["__type", "code"]).unwrap_or("no code");
    let code = code.rsplit('#').next().unwrap_or(code);
    let message = text(["message", "Message"]).unwrap_or("no message");
    Err(AwsError::answered(status, code, message))
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// When AWS says that was.
    date: Option<String>,
    body: Vec<u8>,
}

async fn exchange(config: &SdkConfig, to: To, body: &Value) -> Result<Answer, AwsError> {
    let To {
        service, target, ..
    } = to;
    let Some(region) = config.region() else {
        return Err(AwsError::NoRegion);
    };
    let url = match config.endpoint_url() {
        Some(url) => url.to_owned(),
        None => endpoint(service, region.as_ref()),
    };
    let request = signed(config, to, region.as_ref(), &url, body).await?;
    let operation = Operation::builder()
        .service_name(service)
        .operation_name(target)
        .endpoint_url(&url)
        .no_auth()
        .no_retry();
    let operation = match (config.http_client(), config.timeout_config()) {
        (Some(http), Some(timeouts)) => {
            operation.http_client(http).timeout_config(timeouts.clone())
        }
        _ => return Err(cant("the client is not complete")),
    };
    let operation = match (config.sleep_impl(), config.time_source()) {
        (Some(sleep), Some(time)) => operation.sleep_impl(sleep).time_source(time),
        _ => return Err(cant("the client is not complete")),
    };
    let operation = operation
        .serializer(|request: Signed| request.into_http())
        .deserializer::<_, std::convert::Infallible>(|response: &HttpResponse| {
            Ok(Answer {
                status: response.status().as_u16(),
                date: response.headers().get("date").map(str::to_owned),
                body: response.body().bytes().unwrap_or_default().to_vec(),
            })
        })
        .build();
    let answered = quietly(operation.invoke(request)).await;
    answered.map_err(|error| match error {
        SdkError::ConstructionFailure(_) => cant(&chain(&error)),
        error => AwsError::Unreachable(chain(&error)),
    })
}

/// AWS's clock, in milliseconds since 1970, to a second: what stands in the answer of an operation,
/// whatever it says. The credentials need not be good for anything.
pub async fn time(
    config: &SdkConfig,
    service: &'static str,
    target: &'static str,
    body: &Value,
) -> Result<i64, AwsError> {
    let to = To {
        service,
        version: Version::V1_1,
        target,
    };
    let date = exchange(config, to, body).await?.date;
    let date = date.ok_or_else(|| cant("the answer has no date"))?;
    let date = DateTime::parse_from_rfc2822(&date).map_err(|error| cant(&error.to_string()))?;
    Ok(date.timestamp_millis())
}

/// Whose credentials there are, fit to be shown: the end of the access key's id.
pub async fn credentials(config: &SdkConfig) -> Result<String, AwsError> {
    let credentials = found(config).await?;
    let id = credentials.access_key_id();
    let end = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
    Ok(format!("the access key that ends in {end}"))
}

/// The name or address of a service, and its port.
pub fn address(config: &SdkConfig, service: &str) -> Option<(String, u16)> {
    let url = match config.endpoint_url() {
        Some(url) => url.to_owned(),
        None => endpoint(service, config.region()?.as_ref()),
    };
    let url: http::Uri = url.parse().ok()?;
    let usual = if url.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let host = url.host()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_u16().unwrap_or(usual)))
}

async fn found(config: &SdkConfig) -> Result<Credentials, AwsError> {
    let credentials = match config.credentials_provider() {
        Some(provider) => quietly(provider.provide_credentials()).await,
        None => Err(CredentialsError::not_loaded("nobody gives any")),
    };
    credentials.map_err(|error| AwsError::Credentials(chain(&error)))
}

/// Where a service is, unless somebody says otherwise.
fn endpoint(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{service}.{region}.amazonaws.com{suffix}")
}

fn cant(why: &str) -> AwsError {
    AwsError::Refused {
        code: "the request can't be made".to_owned(),
        message: why.to_owned(),
    }
}

/// A request with the headers that prove whose it is.
#[derive(Debug)]
struct Signed {
    headers: Vec<(String, String)>,
    body: String,
}

impl Signed {
    fn into_http(self) -> Result<HttpRequest, Error> {
        let mut request = http::Request::post("/");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        Ok(HttpRequest::try_from(request.body(self.body.into())?)?)
    }
}

async fn signed(
    config: &SdkConfig,
    to: To,
    region: &str,
    url: &str,
    body: &Value,
) -> Result<Signed, AwsError> {
    let identity = found(config).await?.into();
    let now = u64::try_from(clock::now().0).unwrap_or_default();
    let body = body.to_string();
    let mut headers = vec![
        (
            "content-type".to_owned(),
            to.version.content_type().to_owned(),
        ),
        ("x-amz-target".to_owned(), to.target.to_owned()),
    ];
    let sign = || -> Result<Vec<(String, String)>, Error> {
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(to.service)
            .time(UNIX_EPOCH + Duration::from_millis(now))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let bytes = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", format!("{url}/"), pairs, bytes)?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        let added = instructions.headers();
        Ok(added
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    };
    let more = sign().map_err(|error| cant(&error.to_string()))?;
    headers.extend(more);
    Ok(Signed { headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_in_the_region() {
        assert_eq!(
            endpoint("ssm", "eu-central-1"),
            "https://ssm.eu-central-1.amazonaws.com"
        );
        assert_eq!(
            endpoint("ssm", "cn-north-1"),
            "https://ssm.cn-north-1.amazonaws.com.cn"
        );
    }
}
