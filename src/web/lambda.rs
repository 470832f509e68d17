//! The page on AWS Lambda, behind an API Gateway HTTP API: events from the Lambda Runtime API
//! become requests for the router.
//!
//! Implements the Lambda runtime API (version 2018-06-01) and payload format 2.0 of Lambda proxy
//! integrations for HTTP APIs. Why no library does it: docs/decisions/0038-lambda-runtime.md.

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

use crate::http_server::ClientAddr;

/// The environment variable with the Runtime API's `host:port`, which Lambda sets.
pub const RUNTIME_API_VAR: &str = "AWS_LAMBDA_RUNTIME_API";

/// The maximum size of an event, in bytes: a body of 6 MB and its envelope.
const MAX_EVENT: usize = 8 * 1024 * 1024;
/// The maximum size of a response of the router, in bytes.
const MAX_RESPONSE: usize = 1024 * 1024;
/// The pause after an error of the Runtime API.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Consecutive errors of the Runtime API after which the function exits, so that Lambda restarts
/// it.
const MAX_FAILURES: u32 = 5;

/// An error of the Runtime API.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The connection failed.
    #[error("can't connect to the Lambda Runtime API: {0}")]
    Unreachable(#[from] std::io::Error),
    /// The HTTP exchange failed.
    #[error("no response from the Lambda Runtime API: {0}")]
    Http(#[from] hyper::Error),
    /// The response isn't what the API specifies.
    #[error("unexpected response from the Lambda Runtime API: {0}")]
    Protocol(String),
}

/// Handles events from the Runtime API at `host:port`. Returns only if the API keeps failing.
pub async fn run(api: &str, router: Router) -> RuntimeError {
    let mut failures = 0;
    loop {
        match handle_next(api, &router).await {
            Ok(()) => failures = 0,
            Err(error) if failures >= MAX_FAILURES => return error,
            Err(error) => {
                failures += 1;
                tracing::warn!(event = "lambda_runtime_failed", %error, "Lambda Runtime API failed, retrying in 100 ms");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Fetches one event and posts its response.
async fn handle_next(api: &str, router: &Router) -> Result<(), RuntimeError> {
    let next = call(api, Method::GET, "invocation/next", Vec::new()).await?;
    let id = next
        .headers()
        .get("lambda-runtime-aws-request-id")
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .ok_or_else(|| RuntimeError::Protocol("no request id".to_owned()))?
        .to_owned();
    let event = to_bytes(Body::new(next.into_body()), MAX_EVENT)
        .await
        .map_err(|error| RuntimeError::Protocol(error.to_string()))?;
    let posted = match handle(router, &event).await {
        Ok(response) => {
            call(
                api,
                Method::POST,
                &format!("invocation/{id}/response"),
                response,
            )
            .await?
        }
        Err(error) => {
            let error = error.to_string();
            tracing::error!(
                event = "lambda_event_invalid",
                error,
                "invalid event: invoke the function through an API Gateway HTTP API with payload format 2.0"
            );
            let failed = serde_json::json!({ "errorType": "Event", "errorMessage": error });
            let failed = failed.to_string().into_bytes();
            call(api, Method::POST, &format!("invocation/{id}/error"), failed).await?
        }
    };
    match posted.status() {
        StatusCode::ACCEPTED => Ok(()),
        status => Err(RuntimeError::Protocol(format!("status {status}"))),
    }
}

/// Calls the Runtime API, which is on the same machine, over a new connection.
async fn call(
    api: &str,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<hyper::Response<Incoming>, RuntimeError> {
    let stream = TcpStream::connect(api).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(format!("/2018-06-01/runtime/{path}"))
        .header("host", api)
        .body(Body::from(body))
        .map_err(|error| RuntimeError::Protocol(error.to_string()))?;
    let response = sender.send_request(request).await?;
    match response.status() {
        status if status.is_success() => Ok(response),
        status => Err(RuntimeError::Protocol(format!("status {status}"))),
    }
}

/// Why an event isn't an HTTP request.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It isn't in payload format 2.0.
    #[error("not in payload format 2.0: {0}")]
    Format(#[from] serde_json::Error),
    /// The body isn't base64, although the event says so.
    #[error("the body is not base64")]
    Body,
    /// The method or the path is invalid.
    #[error("not a valid HTTP request: {0}")]
    Request(#[from] axum::http::Error),
}

/// An event of API Gateway, reduced to what the router needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GatewayEvent {
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    request_context: RequestContext,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct RequestContext {
    http: HttpContext,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    method: String,
    source_ip: Option<IpAddr>,
}

/// A response to API Gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayResponse {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

/// Handles one event and returns the response as JSON.
pub async fn handle(router: &Router, event: &[u8]) -> Result<Vec<u8>, EventError> {
    let request = to_request(event)?;
    let Ok(response) = router.clone().oneshot(request).await;
    let response = gateway_response(response).await;
    Ok(serde_json::to_vec(&response)?)
}

fn to_request(event: &[u8]) -> Result<Request<Body>, EventError> {
    let event: GatewayEvent = serde_json::from_slice(event)?;
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
    if let Some(addr) = http.source_ip {
        request.extensions_mut().insert(ClientAddr(addr));
    }
    Ok(request)
}

/// Converts headers, dropping invalid ones. API Gateway joins repeated headers with commas.
fn headers(raw: BTreeMap<String, String>) -> HeaderMap {
    let pairs = raw.into_iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    pairs.collect()
}

async fn gateway_response(response: Response) -> GatewayResponse {
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let body = to_bytes(body, MAX_RESPONSE).await.unwrap_or_default();
    GatewayResponse {
        status_code: parts.status.as_u16(),
        headers: headers.collect(),
        // The router only returns text.
        body: String::from_utf8_lossy(&body).into_owned(),
        is_base64_encoded: false,
    }
}

#[cfg(test)]
mod tests;
