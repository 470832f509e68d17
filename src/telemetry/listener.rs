//! The private HTTP listener for operators: `/metrics`, `/live` and `/ready`.
//!
//! It has no TLS and no authentication, so it must not be public. It is read-only, and it can't be
//! used to overload the server: few connections at a time, one small request each, with a deadline.

#[cfg(test)]
mod tests;

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics;
use crate::http_server::{self, Limits};

/// From accept to the end of the response.
const DEADLINE: Duration = Duration::from_secs(5);

const LIMITS: Limits = Limits {
    connections: 16,
    backlog: false,
    per_source: 16,
    header_timeout: DEADLINE,
    lifetime: DEADLINE,
    header_bytes: 8 * 1024,
    keep_alive: false,
};

/// The health of the server, as the listener reports it.
pub trait HealthSource: Send + Sync + 'static {
    /// Returns whether the process works. An error means that only a restart helps. Must answer
    /// within [`DEADLINE`].
    fn live(&self) -> impl Future<Output = Result<&'static str, String>> + Send;

    /// Returns whether users can log in now, or why not.
    fn ready(&self) -> Result<&'static str, String>;

    /// Updates gauges that are only read on demand.
    fn refresh_metrics(&self);
}

/// Serves until it is dropped, which closes all connections.
pub async fn serve<H: HealthSource>(listener: TcpListener, health: Arc<H>) {
    let router = Router::new()
        .route("/metrics", get(metrics_text::<H>))
        .route("/live", get(live::<H>))
        .route("/ready", get(ready::<H>))
        .fallback(async || {
            let text = "not found: try /metrics, /live or /ready".to_owned();
            plain(StatusCode::NOT_FOUND, text)
        })
        .method_not_allowed_fallback(async || {
            plain(StatusCode::METHOD_NOT_ALLOWED, "use GET".to_owned())
        })
        .with_state(health);
    http_server::serve(listener, router, LIMITS, pending(), Duration::ZERO).await;
}

async fn metrics_text<H: HealthSource>(State(health): State<Arc<H>>) -> Response {
    let encode = move || {
        health.refresh_metrics();
        metrics::text()
    };
    // Counting many file descriptors takes a while.
    match tokio::task::spawn_blocking(encode).await {
        Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error: a task panicked".to_owned(),
        ),
    }
}

async fn live<H: HealthSource>(State(health): State<Arc<H>>) -> Response {
    report(health.live().await)
}

async fn ready<H: HealthSource>(State(health): State<Arc<H>>) -> Response {
    report(health.ready())
}

fn report(health: Result<&'static str, String>) -> Response {
    match health {
        Ok(status) => plain(StatusCode::OK, status.to_owned()),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    response(status, "text/plain; charset=utf-8", text + "\n")
}

fn response(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, text).into_response()
}
