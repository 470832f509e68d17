//! The key page, where people with an invite register their public key: one [`axum::Router`],
//! served by a listener ([`serve`]) or by AWS Lambda ([`lambda`]).
//!
//! It works without scripts, sets no cookies, and logs no name, key, code or address. Only
//! submitting the form changes anything. The submitted key isn't proven: the new account waits for
//! a login with it, see [`crate::store::Account::proof_by`].

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::chat::ids::Fingerprint;
use crate::clock;
use crate::http_server::{self, ClientAddr, Limits};
use crate::rate_limit::{KeyedRateLimiter, Quota};
use crate::store::Store;

mod form;
pub mod lambda;
mod page;
mod registration;
mod security;

use form::{Form, FormError, MAX_BODY, Problems};
use page::{PageRenderer, Paths};
use registration::{Outcome, Registrar};
use security::SecurityHeaders;

/// Sources with a rate limiter of their own; further ones share one.
const MAX_SOURCES: usize = 4096;

const LIMITS: Limits = Limits {
    connections: 1024,
    backlog: true,
    // Browsers open six.
    per_source: 128,
    header_timeout: Duration::from_secs(10),
    lifetime: Duration::from_secs(60),
    header_bytes: 16 * 1024,
    keep_alive: true,
};

/// What the page shows about the server, and its settings.
#[derive(Debug, Clone)]
pub struct Site {
    /// The server's name.
    pub host: String,
    /// The command that joins the chat: `ssh chat.example.com`.
    pub join: String,
    /// The host key's fingerprint.
    pub fingerprint: Fingerprint,
    /// The line for `known_hosts`.
    pub known_hosts: String,
    /// The fingerprint as ASCII art (`VisualHostKey`), eleven lines.
    pub picture: String,
    /// The page's public URL without a fragment, if one is set.
    pub url: Option<String>,
    /// How many forms one source may submit.
    pub forms: Quota,
    /// The number of trusted proxies that append to `X-Forwarded-For`.
    pub trusted_hops: usize,
}

/// A source of current [`Site`] data.
#[async_trait]
pub trait SiteSource: Send + Sync {
    /// Returns the current data. Called for each request, so it must be fast.
    async fn site(&self) -> Arc<Site>;
}

/// State shared by all requests.
struct AppState {
    site: Arc<dyn SiteSource>,
    paths: Paths,
    registrar: Registrar,
    forms: Mutex<KeyedRateLimiter<IpAddr>>,
}

/// Serves the page until `stop`, then finishes requests in progress for at most `drain`. Behind
/// proxies every connection comes from one of them, so the limit per source is theirs to keep.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    trusted_hops: usize,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let per_source = match trusted_hops {
        0 => LIMITS.per_source,
        _ => usize::MAX,
    };
    let limits = Limits {
        per_source,
        ..LIMITS
    };
    http_server::serve(listener, router, limits, stop, drain).await;
}

/// Returns the page for the invites and accounts in `store`. Its paths and rate limit are fixed by
/// `site`; what it shows comes from `source` on each request.
pub fn router(site: &Site, source: Arc<dyn SiteSource>, store: Arc<dyn Store>) -> Router {
    let base = base(site.url.as_deref());
    let paths = Paths::new(&base);
    let style = paths.style.clone();
    let state = Arc::new(AppState {
        registrar: Registrar::new(store),
        forms: Mutex::new(KeyedRateLimiter::new(site.forms, MAX_SOURCES)),
        paths,
        site: source,
    });
    let page = get(show_form).post(submit_form);
    // Paths are literal: a leading colon isn't a parameter.
    let mut router = Router::new().without_v07_checks().route("/", page.clone());
    if base != "/" {
        // For proxies that pass the path on.
        router = router.route(&base, page);
    }
    let file = style.rsplit('/').next().unwrap_or_default();
    router = router.route(&format!("/{file}"), get(stylesheet));
    if style != format!("/{file}") {
        router = router.route(&style, get(stylesheet));
    }
    let security = SecurityHeaders::new(page::SCRIPT);
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(state)
        .layer(map_response(move |response: Response| {
            let security = security.clone();
            async move { security.apply(response) }
        }))
}

/// Returns the path of the page's URL.
fn base(url: Option<&str>) -> String {
    let path = url
        .and_then(|url| url.split_once("://"))
        .and_then(|(_, rest)| rest.split(['?', '#']).next())
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    format!("/{path}")
}

/// Shows an empty form. A code in the URL's fragment is known to the browser only.
async fn show_form(State(app): State<Arc<AppState>>) -> Response {
    let site = app.site.site().await;
    app.form(
        &site,
        StatusCode::OK,
        &Form::default(),
        &Problems::default(),
    )
}

async fn stylesheet() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        // The name contains a hash of the content.
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, page::STYLE)
}

async fn not_found(State(app): State<Arc<AppState>>) -> Response {
    let text = "Page not found. You can register your key below.";
    app.error(&*app.site.site().await, StatusCode::NOT_FOUND, text)
}

async fn wrong_method(State(app): State<Arc<AppState>>) -> Response {
    let text = "Method not allowed. Fill in the form below and submit it.";
    app.error(
        &*app.site.site().await,
        StatusCode::METHOD_NOT_ALLOWED,
        text,
    )
}

async fn submit_form(State(app): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let site = app.site.site().await;
    if !security::is_same_origin(&parts.headers, site.url.as_deref()) {
        let text = "Not registered: the form was submitted from another site. Fill it in below and \
                    submit it again.";
        return app.error(&site, StatusCode::FORBIDDEN, text);
    }
    let form = match read_form(&parts.headers, body).await {
        Ok(form) => form,
        Err(error) => return app.error(&site, error.status(), &error.to_string()),
    };
    let addr = parts.extensions.get().map(|ClientAddr(addr)| *addr);
    let source = security::client_source(addr, &parts.headers, site.trusted_hops);
    let allowed = app
        .forms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(source, clock::monotonic());
    if let Err(wait) = allowed {
        return app.rate_limited(&site, &form, wait);
    }
    match app.registrar.register(&form, &site.join).await {
        Outcome::Registered(registered) => PageRenderer::new(&site, &app.paths)
            .registered(&registered)
            .into_response(),
        Outcome::Rejected(status, problems) => app.form(&site, status, &form, &problems),
    }
}

async fn read_form(headers: &HeaderMap, body: Body) -> Result<Form, FormError> {
    let boundary = form::boundary(headers)?;
    let reading = tokio::time::timeout(form::READ_TIMEOUT, to_bytes(body, MAX_BODY));
    let bytes = reading.await.map_err(|_| FormError::Timeout)?;
    Form::read(bytes.map_err(|_| FormError::TooLarge)?, &boundary).await
}

impl AppState {
    fn form(&self, site: &Site, status: StatusCode, form: &Form, problems: &Problems) -> Response {
        let page = PageRenderer::new(site, &self.paths).form(form, problems);
        (status, page).into_response()
    }

    /// Shows an empty form under an error.
    fn error(&self, site: &Site, status: StatusCode, text: &str) -> Response {
        self.form(site, status, &Form::default(), &Problems::general(text))
    }

    fn rate_limited(&self, site: &Site, form: &Form, wait: Duration) -> Response {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let problems = Problems::general(&format!(
            "Too many attempts from your address. Wait {seconds} {unit}, then submit the form again."
        ));
        let mut response = self.form(site, StatusCode::TOO_MANY_REQUESTS, form, &problems);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        response
    }
}

#[cfg(test)]
mod tests;
