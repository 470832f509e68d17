//! The page where somebody with an invite registers their public key: one [`axum::Router`] that
//! runs behind a listener of its own ([`listener`]) or in AWS Lambda ([`lambda`]).
//!
//! It needs no script, sets no cookie and logs nobody's name, key, code or address. Showing the
//! page changes nothing; only the form does. The key that comes with it is not proven: the account
//! that is made waits for its proof, see [`crate::store::Account::proof_by`].

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
use maud::Markup;

use crate::chat::ids::Fingerprint;
use crate::clock;
use crate::rate_limit::{KeyedRateLimiter, Quota};
use crate::store::Store;

mod desk;
mod form;
mod guard;
pub mod lambda;
pub mod listener;
mod page;
mod source;

use desk::{Desk, Outcome};
use form::{Form, FormError, MAX_BODY, Problems};
use guard::Sealed;
use page::{Links, Page};

/// How many sources have a rate limiter of their own; those beyond share one.
const SOURCES: usize = 4096;

/// What the page says of the server, and how it is to be reached.
#[derive(Debug, Clone)]
pub struct Site {
    /// What people call the server.
    pub host: String,
    /// What they type to come in: `ssh chat.example.com`.
    pub join: String,
    /// The host key's fingerprint.
    pub fingerprint: Fingerprint,
    /// The line that pins the host key.
    pub known_hosts: String,
    /// The fingerprint as a picture of eleven lines.
    pub picture: String,
    /// Where the page is for others, if it is said: without a fragment.
    pub url: Option<String>,
    /// How many forms one source may send.
    pub forms: Quota,
    /// How many proxies in front of the page add to `X-Forwarded-For`.
    pub trusted_hops: usize,
}

/// Who knows what the page says of the server.
#[async_trait]
pub trait Front: Send + Sync {
    /// What it says now. Asked for each page, so it is quick.
    async fn site(&self) -> Arc<Site>;
}

/// Where a request came from, as far as the connection tells. Whoever calls the router puts it
/// into the extensions of each request; without it all requests count as from one source.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What all requests share.
struct Shop {
    front: Arc<dyn Front>,
    links: Links,
    desk: Desk,
    forms: Mutex<KeyedRateLimiter<IpAddr>>,
}

/// The page, for invites and accounts in this store. Where it is and what it bears stays as `site`
/// says; what it tells is what `front` says.
pub fn router(site: &Site, front: Arc<dyn Front>, store: Arc<dyn Store>) -> Router {
    let base = base(site.url.as_deref());
    let links = Links::new(&base);
    let style = links.style.clone();
    let shop = Arc::new(Shop {
        desk: Desk::new(store),
        forms: Mutex::new(KeyedRateLimiter::new(site.forms, SOURCES)),
        links,
        front,
    });
    let page = get(show).post(take);
    // A colon at the beginning of a part is just one.
    let mut router = Router::new().without_v07_checks().route("/", page.clone());
    if base != "/" {
        // Behind a proxy that leaves the path as it is.
        router = router.route(&base, page);
    }
    let file = style.rsplit('/').next().unwrap_or_default();
    router = router.route(&format!("/{file}"), get(stylesheet));
    if style != format!("/{file}") {
        router = router.route(&style, get(stylesheet));
    }
    let sealed = Sealed::new(page::SCRIPT);
    router
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shop)
        .layer(map_response(move |response: Response| {
            let sealed = sealed.clone();
            async move { sealed.seal(response) }
        }))
}

/// The path of the page.
fn base(url: Option<&str>) -> String {
    let path = url
        .and_then(|url| url.split_once("://"))
        .and_then(|(_, rest)| rest.split(['?', '#']).next())
        .and_then(|rest| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    format!("/{path}")
}

/// The page as it is at first. That a code may be in its address is known to the browser only.
async fn show(State(shop): State<Arc<Shop>>) -> Response {
    let site = shop.front.site().await;
    shop.answer(
        &site,
        StatusCode::OK,
        &Form::default(),
        &Problems::default(),
    )
}

async fn stylesheet() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        // Another content has another name.
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, page::STYLE)
}

async fn missing(State(shop): State<Arc<Shop>>) -> Response {
    let words = "There is nothing here. The page for keys and invites is the one below.";
    shop.refuse(&*shop.front.site().await, StatusCode::NOT_FOUND, words)
}

async fn wrong_method(State(shop): State<Arc<Shop>>) -> Response {
    let words = "That can't be done here. Fill in the form below and send it.";
    shop.refuse(
        &*shop.front.site().await,
        StatusCode::METHOD_NOT_ALLOWED,
        words,
    )
}

/// Somebody sends the form.
async fn take(State(shop): State<Arc<Shop>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let site = shop.front.site().await;
    if !guard::is_from_here(&parts.headers, site.url.as_deref()) {
        let words = "This form was sent from another site. Fill it in here and send it again.";
        return shop.refuse(&site, StatusCode::FORBIDDEN, words);
    }
    let form = match read(&parts.headers, body).await {
        Ok(form) => form,
        Err(error) => return shop.refuse(&site, error.status(), &error.to_string()),
    };
    let peer = parts.extensions.get().map(|Peer(addr)| *addr);
    let source = source::of_request(peer, &parts.headers, site.trusted_hops);
    let turn = shop
        .forms
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(source, clock::monotonic());
    if let Err(wait) = turn {
        return shop.wait(&site, &form, wait);
    }
    match shop.desk.serve(&form, &site.join).await {
        Outcome::In(welcome) => Page::new(&site, &shop.links)
            .welcome(&welcome)
            .into_response(),
        Outcome::Not(status, problems) => shop.answer(&site, status, &form, &problems),
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Form, FormError> {
    let boundary = form::boundary(headers)?;
    let reading = tokio::time::timeout(form::PATIENCE, to_bytes(body, MAX_BODY));
    let bytes = reading.await.map_err(|_| FormError::Slow)?;
    Form::read(bytes.map_err(|_| FormError::TooLarge)?, &boundary).await
}

impl Shop {
    fn answer(
        &self,
        site: &Site,
        status: StatusCode,
        form: &Form,
        problems: &Problems,
    ) -> Response {
        let page: Markup = Page::new(site, &self.links).form(form, problems);
        (status, page).into_response()
    }

    /// An empty form, and why there is no more.
    fn refuse(&self, site: &Site, status: StatusCode, words: &str) -> Response {
        self.answer(site, status, &Form::default(), &Problems::of_all(words))
    }

    /// Too many forms came from there; the next may come after `wait`.
    fn wait(&self, site: &Site, form: &Form, wait: Duration) -> Response {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let words = format!(
            "Too many forms came from your address. Wait {seconds} {unit}, then send it again."
        );
        let problems = Problems::of_all(&words);
        let mut response = self.answer(site, StatusCode::TOO_MANY_REQUESTS, form, &problems);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        response
    }
}

#[cfg(test)]
mod tests;
