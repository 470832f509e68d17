//! Signed requests with JSON bodies, for services of which one or two operations are used.
//!
//! [AWS JSON](https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html), signed with
//! [SigV4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html). The SDK has a
//! large crate for each of these services; decision 0037 compares them with this.

use std::convert::Infallible;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::error::{BoxError, SdkError};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use chrono::DateTime;
use serde_json::Value;
use tokio::time::Instant;

use super::error::chain;
use super::{AwsError, CallTracker, without_sdk_logs};
use crate::clock;

/// A service that speaks AWS JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonService {
    /// The name in host names, signatures, logs and metrics.
    pub name: &'static str,
    /// What precedes the operation in `X-Amz-Target`.
    target: &'static str,
    content_type: &'static str,
}

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// Amazon `CloudWatch`.
pub const CLOUDWATCH: JsonService = JsonService {
    name: "monitoring",
    target: "GraniteServiceVersion20100801",
    content_type: JSON_1_0,
};
/// Amazon `DynamoDB`.
pub const DYNAMODB: JsonService = JsonService {
    name: "dynamodb",
    target: "DynamoDB_20120810",
    content_type: JSON_1_0,
};
/// AWS Secrets Manager.
pub const SECRETS_MANAGER: JsonService = JsonService {
    name: "secretsmanager",
    target: "secretsmanager",
    content_type: JSON_1_1,
};
/// AWS Systems Manager.
pub const SSM: JsonService = JsonService {
    name: "ssm",
    target: "AmazonSSM",
    content_type: JSON_1_1,
};

/// Calls an operation and records the call. A missing resource counts as a response, not as a
/// failure of the service.
pub async fn call(
    config: &SdkConfig,
    calls: &CallTracker,
    service: &JsonService,
    operation: &'static str,
    body: &Value,
) -> Result<Value, AwsError> {
    let begin = Instant::now();
    let result = send(config, service, operation, body).await;
    let result = result.and_then(Response::into_json);
    let took = begin.elapsed();
    match &result {
        Ok(_) => calls.done(operation, took, 0),
        Err(AwsError::Refused { code, .. }) if code.ends_with("NotFound") => {
            calls.refused(operation, took, 0);
        }
        Err(error) => calls.failed(operation, took, 0, error),
    }
    result
}

/// AWS's clock in milliseconds since 1970, to the second: the date of the response to any
/// operation, successful or not. The credentials needn't be valid.
pub async fn time(
    config: &SdkConfig,
    service: &JsonService,
    operation: &'static str,
    body: &Value,
) -> Result<i64, AwsError> {
    let date = send(config, service, operation, body).await?.date;
    let date = date.ok_or_else(|| invalid("the response has no Date header"))?;
    let date = DateTime::parse_from_rfc2822(&date).map_err(|error| invalid(&error.to_string()))?;
    Ok(date.timestamp_millis())
}

/// Describes the credentials by the last four characters of the access key's id.
pub async fn credentials(config: &SdkConfig) -> Result<String, AwsError> {
    let credentials = load_credentials(config).await?;
    let id = credentials.access_key_id();
    let end = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
    Ok(format!("the access key that ends in {end}"))
}

/// The host name or address of a service, and its port.
pub fn address(config: &SdkConfig, service: &str) -> Option<(String, u16)> {
    let url: hyper::Uri = url(config, service)?.parse().ok()?;
    let default = if url.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let host = url.host()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_u16().unwrap_or(default)))
}

/// The configured endpoint, or the service's own in the configured region.
fn url(config: &SdkConfig, service: &str) -> Option<String> {
    match config.endpoint_url() {
        Some(url) => Some(url.to_owned()),
        None => Some(regional_url(service, config.region()?.as_ref())),
    }
}

fn regional_url(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://{service}.{region}.amazonaws.com{suffix}")
}

async fn load_credentials(config: &SdkConfig) -> Result<Credentials, AwsError> {
    let credentials = match config.credentials_provider() {
        Some(provider) => without_sdk_logs(provider.provide_credentials()).await,
        None => Err(CredentialsError::not_loaded("no provider is configured")),
    };
    credentials.map_err(|error| AwsError::Credentials(chain(&error)))
}

#[derive(Debug)]
struct Response {
    status: u16,
    date: Option<String>,
    body: Vec<u8>,
}

impl Response {
    fn new(response: &HttpResponse) -> Response {
        Response {
            status: response.status().as_u16(),
            date: response.headers().get("date").map(str::to_owned),
            body: response.body().bytes().unwrap_or_default().to_vec(),
        }
    }

    fn into_json(self) -> Result<Value, AwsError> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if self.status == 200 {
            return Ok(body);
        }
        let text = |names: [&str; 2]| names.into_iter().find_map(|name| body.get(name)?.as_str());
        let code = text(["__type", "code"]).unwrap_or("no code");
        // It may be qualified: `com.amazonaws.ssm#ParameterNotFound`.
        let code = code.rsplit('#').next().unwrap_or(code);
        let message = text(["message", "Message"]).unwrap_or("no message");
        Err(AwsError::from_response(self.status, code, message))
    }
}

async fn send(
    config: &SdkConfig,
    service: &JsonService,
    operation: &'static str,
    body: &Value,
) -> Result<Response, AwsError> {
    let url = url(config, service.name).ok_or(AwsError::NoRegion)?;
    let credentials = load_credentials(config).await?;
    let request = signed(config, credentials, service, operation, &url, body);
    let request = request.map_err(|error| invalid(&error.to_string()))?;
    let (Some(http), Some(timeouts), Some(sleep), Some(time)) = (
        config.http_client(),
        config.timeout_config(),
        config.sleep_impl(),
        config.time_source(),
    ) else {
        return Err(invalid("the SDK configuration is incomplete"));
    };
    let operation = Operation::builder()
        .service_name(service.name)
        .operation_name(operation)
        .endpoint_url(&url)
        .no_auth()
        .no_retry()
        .http_client(http)
        .timeout_config(timeouts.clone())
        .sleep_impl(sleep)
        .time_source(time)
        .serializer(Ok::<HttpRequest, BoxError>)
        .deserializer::<_, Infallible>(|response| Ok(Response::new(response)))
        .build();
    without_sdk_logs(operation.invoke(request))
        .await
        .map_err(|error| match error {
            SdkError::ConstructionFailure(_) => invalid(&chain(&error)),
            error => AwsError::Unreachable(chain(&error)),
        })
}

fn invalid(reason: &str) -> AwsError {
    AwsError::Refused {
        code: "invalid request".to_owned(),
        message: reason.to_owned(),
    }
}

fn signed(
    config: &SdkConfig,
    credentials: Credentials,
    service: &JsonService,
    operation: &str,
    url: &str,
    body: &Value,
) -> Result<HttpRequest, BoxError> {
    let now = u64::try_from(clock::now().0).unwrap_or_default();
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(config.region().map_or("", |region| region.as_ref()))
        .name(service.name)
        .time(UNIX_EPOCH + Duration::from_millis(now))
        .settings(SigningSettings::default())
        .build()?
        .into();
    let body = body.to_string();
    let target = format!("{}.{operation}", service.target);
    let headers = [
        ("content-type", service.content_type),
        ("x-amz-target", target.as_str()),
    ];
    let signable = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new("POST", format!("{url}/"), headers.into_iter(), signable)?;
    let (signature, _) = sign(signable, &params)?.into_parts();
    let mut request = hyper::Request::post("/");
    for (name, value) in headers.into_iter().chain(signature.headers()) {
        request = request.header(name, value);
    }
    Ok(HttpRequest::try_from(request.body(body.into())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_in_the_region() {
        assert_eq!(
            regional_url("ssm", "eu-central-1"),
            "https://ssm.eu-central-1.amazonaws.com"
        );
        assert_eq!(
            regional_url("ssm", "cn-north-1"),
            "https://ssm.cn-north-1.amazonaws.com.cn"
        );
    }
}
