//! The page in AWS Lambda, behind an HTTP API of API Gateway: the same router, fed from the
//! Lambda Runtime API instead of a listener.
//!
//! Followed are "Using the Lambda runtime API" (version 2018-06-01) and "Working with AWS Lambda
//! proxy integrations for HTTP APIs" (payload format 2.0) of AWS's documentation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use data_encoding::BASE64;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tower::ServiceExt as _;

use super::Peer;

/// The variable that says where the Runtime API is; only Lambda sets it.
pub const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

/// The largest event that Lambda hands over, in bytes (6 MB, and some for what is around it).
const MAX_EVENT: usize = 8 * 1024 * 1024;
/// The largest answer of the router, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How long to wait after the Runtime API gave no event.
const PAUSE: Duration = Duration::from_millis(100);
/// How often in a row the Runtime API may fail before the function ends, to be started anew.
const FAILURES: u32 = 5;

/// A failure of the Runtime API. Nothing can be done about it here.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It can't be reached.
    #[error("the Lambda Runtime API can't be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    /// It does not speak HTTP, or stops to.
    #[error("the Lambda Runtime API does not answer: {0}")]
    Silent(#[from] hyper::Error),
    /// It answered something else than an event.
    #[error("the Lambda Runtime API gave no event: {0}")]
    Odd(String),
}

/// Answers events from the Runtime API at `host:port`, for ever. Ends when it keeps failing.
pub async fn run(api: &str, router: Router) -> RuntimeError {
    let mut failures = 0;
    loop {
        match turn(api, &router).await {
            Ok(()) => failures = 0,
            Err(error) if failures >= FAILURES => return error,
            Err(error) => {
                failures += 1;
                tracing::warn!(event = "lambda_runtime_failed", %error, "no event was answered");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One event: taken, answered.
async fn turn(api: &str, router: &Router) -> Result<(), RuntimeError> {
    let next = call(api, Method::GET, "invocation/next", Vec::new()).await?;
    let id = next
        .headers()
        .get("lambda-runtime-aws-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .ok_or_else(|| RuntimeError::Odd("it has no request id".to_owned()))?
        .to_owned();
    let event = to_bytes(Body::new(next.into_body()), MAX_EVENT)
        .await
        .map_err(|error| RuntimeError::Odd(error.to_string()))?;
    let answer = match handle(router, &event).await {
        Ok(answer) => {
            call(
                api,
                Method::POST,
                &format!("invocation/{id}/response"),
                answer,
            )
            .await?
        }
        Err(error) => {
            let words = error.to_string();
            tracing::error!(
                event = "lambda_event_odd",
                error = words,
                "an event is no HTTP request; does it come from API Gateway, with payload format 2.0?"
            );
            let failed = serde_json::json!({ "errorType": "Event", "errorMessage": words });
            let failed = failed.to_string().into_bytes();
            call(api, Method::POST, &format!("invocation/{id}/error"), failed).await?
        }
    };
    match answer.status() {
        StatusCode::ACCEPTED => Ok(()),
        status => Err(RuntimeError::Odd(format!("it answers {status}"))),
    }
}

/// One call of the Runtime API, over a connection of its own: it is on the same machine.
async fn call(
    api: &str,
    method: Method,
    what: &str,
    body: Vec<u8>,
) -> Result<hyper::Response<Incoming>, RuntimeError> {
    let stream = TcpStream::connect(api).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/2018-06-01/runtime/{what}"))
        .header("host", api)
        .body(Body::from(body))
        .map_err(|error| RuntimeError::Odd(error.to_string()))?;
    let answer = sender.send_request(request).await?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(RuntimeError::Odd(format!("it answers {status}"))),
    }
}

/// Why an event is no HTTP request.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is not of the form that API Gateway gives it.
    #[error("it is not of payload format 2.0: {0}")]
    Form(#[from] serde_json::Error),
    /// Its body is not what it says.
    #[error("its body is not base64")]
    Body,
    /// There can't be such a request.
    #[error("it can't be a request: {0}")]
    Request(#[from] axum::http::Error),
}

/// An event, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: Context,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct Context {
    http: Http,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    source_ip: Option<IpAddr>,
}

/// What API Gateway makes an answer of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

/// Answers one event of API Gateway.
pub async fn handle(router: &Router, event: &[u8]) -> Result<Vec<u8>, EventError> {
    let request = request(event)?;
    let Ok(response) = router.clone().oneshot(request).await;
    let answer = answer(response).await;
    Ok(serde_json::to_vec(&answer)?)
}

fn request(event: &[u8]) -> Result<Request<Body>, EventError> {
    let event: Event = serde_json::from_slice(event)?;
    let body = match (event.body, event.is_base64_encoded) {
        (None, _) => Bytes::new(),
        (Some(body), false) => body.into(),
        (Some(body), true) => {
            let body = BASE64.decode(body.as_bytes());
            body.map_err(|_| EventError::Body)?.into()
        }
    };
    let mut uri = event.raw_path;
    if !event.raw_query_string.is_empty() {
        uri.extend(["?", &event.raw_query_string]);
    }
    let http = event.request_context.http;
    let mut request = Request::builder()
        .method(http.method.as_str())
        .uri(uri)
        .body(Body::from(body))?;
    *request.headers_mut() = headers(event.headers);
    if let Some(peer) = http.source_ip {
        request.extensions_mut().insert(Peer(peer));
    }
    Ok(request)
}

/// Headers as they came; API Gateway has joined those of the same name with commas.
fn headers(given: BTreeMap<String, String>) -> HeaderMap {
    let pairs = given.into_iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    pairs.collect()
}

async fn answer(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let body = to_bytes(body, MAX_ANSWER).await.unwrap_or_default();
    Answer {
        status_code: parts.status.as_u16(),
        headers: headers.collect(),
        // All that the router answers is text.
        body: String::from_utf8_lossy(&body).into_owned(),
        is_base64_encoded: false,
    }
}

#[cfg(test)]
mod tests;
