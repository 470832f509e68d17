//! The private listener: metrics and health over plain HTTP/1.1, for whoever runs the server.
//!
//! Not for the public: no encryption, and nobody is asked who they are. Whoever can reach it can't
//! do more than read, and can't keep it busy: there are a few connections at a time, each with one
//! small request and a deadline.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::metrics;

/// Connections at a time; one more is closed at once.
const CONNECTIONS: usize = 16;
/// How long one connection may last, from accept to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The longest request with all its headers, in bytes: the least that hyper takes.
const REQUEST: usize = 8 * 1024;
/// The pause when the system can't hand over a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked about.
pub trait Inside: Send + Sync + 'static {
    /// Whether the process does its work; otherwise why it should be started again. May take as
    /// long as [`DEADLINE`] less a little.
    fn live(&self) -> impl Future<Output = Result<&'static str, String>> + Send;

    /// Whether people can come in now; otherwise why not.
    fn ready(&self) -> Result<&'static str, String>;

    /// Brings metrics up to date that nobody tells when they change.
    fn measure(&self);
}

/// Answers until it is dropped, which ends its connections, too.
pub async fn serve(listener: TcpListener, inside: Arc<impl Inside>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < CONNECTIONS => {
                connections.spawn(timeout(DEADLINE, answer(stream, Arc::clone(&inside))));
            }
            Ok((_, addr)) => tracing::debug!(event = "metrics_refused", %addr),
            Err(error) => {
                tracing::debug!(event = "metrics_accept_failed", %error);
                sleep(PAUSE).await;
            }
        }
    }
}

/// One request and its answer. Whoever spoils it hears nothing.
async fn answer(stream: TcpStream, inside: Arc<impl Inside>) {
    let service = service_fn(|request: Request<Incoming>| {
        let inside = Arc::clone(&inside);
        async move { Ok::<_, Infallible>(respond(request.method(), request.uri().path(), inside).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(REQUEST)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(event = "metrics_connection_failed", %error);
    }
}

async fn respond(method: &Method, path: &str, inside: Arc<impl Inside>) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = words(StatusCode::METHOD_NOT_ALLOWED, "only GET".to_owned());
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    match path {
        "/metrics" => measured(inside).await,
        "/live" => judged(inside.live().await),
        "/ready" => judged(inside.ready()),
        _ => {
            let paths = "there are /metrics, /live and /ready".to_owned();
            words(StatusCode::NOT_FOUND, paths)
        }
    }
}

async fn measured(inside: Arc<impl Inside>) -> Response<Full<Bytes>> {
    let measure = move || {
        inside.measure();
        metrics::text()
    };
    // Where many descriptors are open, to count them takes a while.
    match tokio::task::spawn_blocking(measure).await {
        Ok(text) => body(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => words(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a defect in the server".to_owned(),
        ),
    }
}

fn judged(verdict: Result<&'static str, String>) -> Response<Full<Bytes>> {
    match verdict {
        Ok(fine) => words(StatusCode::OK, fine.to_owned()),
        Err(why) => words(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn words(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    body(status, "text/plain; charset=utf-8", words + "\n")
}

fn body(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
