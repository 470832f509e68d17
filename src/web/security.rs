//! Security headers, the same-origin check of forms, and the source that a request counts for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use crate::rate_limit::source;

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 8] = [
    // Two years.
    (STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For browsers without `frame-ancestors`.
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

/// The headers that are added to every response.
#[derive(Debug, Clone)]
pub(super) struct SecurityHeaders {
    policy: HeaderValue,
}

impl SecurityHeaders {
    /// Returns headers whose content security policy allows one inline script.
    pub fn new(script: &str) -> SecurityHeaders {
        let hash = BASE64.encode(&Sha256::digest(script));
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'sha256-{hash}'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'"
        );
        SecurityHeaders {
            policy: HeaderValue::try_from(policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    /// Adds the headers. A `Cache-Control` that is already set is kept.
    pub fn apply(&self, mut response: Response) -> Response {
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

/// Returns whether the form was submitted by this page, going by `Sec-Fetch-Site` (Fetch Metadata)
/// and `Origin` (Fetch). There's no session that a forged form could use; it's rejected as a
/// precaution.
///
/// This page sets `Referrer-Policy: no-referrer`, so its own forms have `Origin: null`.
pub(super) fn is_same_origin(headers: &HeaderMap, url: Option<&str>) -> bool {
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

/// Returns the host and port of a URL.
fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

/// Returns the [`source`] of a request. Behind `hops` trusted proxies, it's the address that the
/// outermost of them appended to `X-Forwarded-For`; entries before that one can be forged. Requests
/// without an address all count as one source.
pub(super) fn client_source(addr: Option<IpAddr>, headers: &HeaderMap, hops: usize) -> IpAddr {
    let addr = addr.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let forwarded = hops.checked_sub(1).and_then(|index_from_end| {
        let values = headers.get_all("x-forwarded-for").iter().rev();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','))
            .nth(index_from_end)
            .and_then(parse_address)
    });
    source(forwarded.unwrap_or(addr))
}

/// Parses an address with or without a port, as proxies write it.
fn parse_address(raw: &str) -> Option<IpAddr> {
    let raw = raw.trim();
    let bare = raw.trim_start_matches('[').trim_end_matches(']');
    let with_port = || raw.parse().map(|addr: SocketAddr| addr.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_must_be_same_origin() {
        // (Sec-Fetch-Site, Origin, accepted)
        for (site, origin, accepted) in [
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
            assert_eq!(
                is_same_origin(&headers, url),
                accepted,
                "{site:?} {origin:?}"
            );
        }
        let odd = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert!(!is_same_origin(&odd, None));
    }

    #[test]
    fn the_policy_names_the_one_script() {
        let security = SecurityHeaders::new("");
        let policy = security.policy.to_str().unwrap();
        // SHA-256 of nothing.
        let hash = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert!(policy.contains(hash), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_source_is_what_trusted_proxies_saw() {
        let two = &["203.0.113.1, 198.51.100.2", "192.0.2.3"][..];
        for (forwarded, hops, expected) in [
            (&[][..], 0, "127.0.0.1"),
            (&["203.0.113.1"], 0, "127.0.0.1"),
            (&["203.0.113.1"], 1, "203.0.113.1"),
            (&["203.0.113.1:4711"], 1, "203.0.113.1"),
            (&["[2001:db8:0:1::5]:4711"], 1, "2001:db8:0:1::"),
            (&["[2001:db8::5]"], 1, "2001:db8::"),
            (&["2001:db8:0:1:2:3:4:5"], 1, "2001:db8:0:1::"),
            (&["::ffff:203.0.113.1"], 1, "203.0.113.1"),
            (&["spoofed, 203.0.113.1"], 1, "203.0.113.1"),
            (two, 1, "192.0.2.3"),
            (two, 2, "198.51.100.2"),
            (two, 3, "203.0.113.1"),
            // Fewer entries than trusted proxies.
            (two, 4, "127.0.0.1"),
            (&["203.0.113.1, unknown"], 1, "127.0.0.1"),
            (&[], 1, "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let found = client_source(Some([127, 0, 0, 1].into()), &headers, hops);
            assert_eq!(found.to_string(), expected, "{forwarded:?} {hops}");
        }
        let unknown = client_source(None, &HeaderMap::new(), 0);
        assert_eq!(unknown.to_string(), "::");
    }
}
