//! What keeps other sites out: the headers of every answer, and where a form may come from.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

/// The headers of every answer that are always the same.
const HEADERS: [(HeaderName, &str); 8] = [
    // Two years: https only, once somebody was here over https.
    (STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For browsers that do not know `frame-ancestors`.
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// Puts the headers on answers.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    policy: HeaderValue,
}

impl Sealed {
    /// Headers for pages in which this is the only script, if one is there at all.
    pub fn new(script: &str) -> Sealed {
        let hash = BASE64.encode(&Sha256::digest(script));
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'sha256-{hash}'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'"
        );
        Sealed {
            policy: HeaderValue::try_from(policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    /// The answer with all of them. What says itself how long it keeps may keep so long.
    pub fn seal(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

/// Whether a form can have been sent by our own page, as far as the browser tells (Fetch Metadata;
/// Fetch, "append a request `Origin` header"). There is nothing to steal with a form from
/// elsewhere, since nothing here knows who sends it; all the same it is not taken.
///
/// Our own page sends no referrer, and therefore `Origin: null`.
pub(super) fn is_from_here(headers: &HeaderMap, url: Option<&str>) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return false;
    }
    match text(&ORIGIN).map(str::from_utf8) {
        None | Some(Ok("null")) => true,
        Some(Err(_)) => false,
        Some(Ok(origin)) => {
            let host = text(&HOST).and_then(|host| str::from_utf8(host).ok());
            authority(origin).is_some_and(|from| {
                let ours = url.and_then(authority);
                [ours, host]
                    .into_iter()
                    .flatten()
                    .any(|ours| ours.eq_ignore_ascii_case(from))
            })
        }
    }
}

/// The host and port of an address.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_come_from_our_own_page() {
        // Sec-Fetch-Site, Origin, whether it is taken.
        for (site, origin, taken) in [
            ("", "", true),
            ("same-origin", "null", true),
            ("same-origin", "http://127.0.0.1:8080", true),
            ("none", "null", true),
            ("", "null", true),
            ("", "http://127.0.0.1:8080", true),
            ("", "https://Chat.example.com", true),
            ("cross-site", "null", false),
            ("cross-site", "", false),
            ("same-site", "null", false),
            ("", "https://evil.example", false),
            ("", "https://chat.example.com.evil.example", false),
            ("same-origin", "https://evil.example", false),
            ("", "chat.example.com", false),
            ("SAME-ORIGIN", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8080".parse().unwrap());
            let given = [("sec-fetch-site", site), ("origin", origin)];
            for (name, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
                headers.insert(name, value.parse().unwrap());
            }
            let url = Some("https://chat.example.com/join");
            assert_eq!(is_from_here(&headers, url), taken, "{site:?} {origin:?}");
        }
        let odd = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert!(!is_from_here(&odd, None));
    }

    #[test]
    fn the_policy_names_the_one_script() {
        let sealed = Sealed::new("");
        let policy = sealed.policy.to_str().unwrap();
        // SHA-256 of nothing.
        let hash = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert!(policy.contains(hash), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
