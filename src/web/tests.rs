use axum::http::Request as HttpRequest;
use tower::ServiceExt as _;

use super::*;
use crate::store::sqlite::Sqlite;

/// A site that never changes.
struct FixedSite(Arc<Site>);

#[async_trait]
impl SiteSource for FixedSite {
    async fn site(&self) -> Arc<Site> {
        Arc::clone(&self.0)
    }
}

/// A page at a URL, with an empty store.
pub(super) struct TestPage {
    pub router: Router,
    _dir: tempfile::TempDir,
}

pub(super) fn shown(url: Option<&str>) -> TestPage {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("chat.db")).unwrap();
    let site = Site {
        host: "chat.example.com".into(),
        join: "ssh chat.example.com".into(),
        fingerprint: Fingerprint::new("SHA256:x"),
        known_hosts: "chat.example.com ssh-ed25519 AAAA".into(),
        picture: "+--+".into(),
        url: url.map(str::to_owned),
        forms: Quota::per_second(0.001, 3),
        trusted_hops: 0,
    };
    let site = Arc::new(site);
    let source = Arc::new(FixedSite(Arc::clone(&site)));
    TestPage {
        router: router(&site, source, Arc::new(store)),
        _dir: dir,
    }
}

pub(super) async fn answer(
    shown: &TestPage,
    request: HttpRequest<Body>,
) -> (StatusCode, HeaderMap, String) {
    let Ok(response) = shown.router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.into()).unwrap();
    (parts.status, parts.headers, body)
}

fn at(method: &str, path: &str) -> HttpRequest<Body> {
    let request = HttpRequest::builder().method(method).uri(path);
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_page_is_where_its_address_says() {
    for (url, home) in [
        (None, "/"),
        (Some("https://chat.example.com"), "/"),
        (Some("https://chat.example.com/"), "/"),
        (Some("https://chat.example.com/join"), "/join"),
        (Some("https://chat.example.com/join/"), "/join/"),
        (Some("https://chat.example.com/:a/*b?c=d"), "/:a/*b"),
    ] {
        let shown = shown(url);
        // A proxy may have taken the path away.
        for path in ["/", home] {
            let (status, _, page) = answer(&shown, at("GET", path)).await;
            assert_eq!(status, StatusCode::OK, "{url:?} {path}");
            assert!(page.contains(&format!("action=\"{home}\"")), "{url:?}");
            let (_, rest) = page.split_once("stylesheet\" href=\"").unwrap();
            let (style, _) = rest.split_once('"').unwrap();
            assert!(style.starts_with(home.trim_end_matches('/')), "{style}");
            for style in [style, &format!("/{}", style.rsplit('/').next().unwrap())] {
                let (status, headers, _) = answer(&shown, at("GET", style)).await;
                assert_eq!(status, StatusCode::OK, "{style}");
                assert_eq!(headers["content-type"], "text/css; charset=utf-8");
                assert!(
                    headers["cache-control"]
                        .to_str()
                        .unwrap()
                        .contains("immutable")
                );
            }
        }
    }
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let shown = shown(None);
    for (method, path, expected) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/?code=AAAAA", 200),
        ("GET", "/none", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/none", 404),
        ("POST", "/", 415),
        ("PUT", "/", 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/", 405),
    ] {
        let (status, headers, _) = answer(&shown, at(method, path)).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}");
        for (header, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'",
            ),
            ("strict-transport-security", "max-age="),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            let found = headers[header].to_str().unwrap();
            assert!(found.starts_with(value), "{method} {path}: {found}");
        }
        assert!(!headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn a_rate_limited_form_keeps_its_values() {
    let shown = shown(None);
    let form = |from: [u8; 4]| {
        let body = "--X\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nbob b\r\n--X--\r\n";
        let mut request = at("POST", "/").map(|_| Body::from(body));
        let kind = HeaderValue::from_static("multipart/form-data; boundary=X");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request.extensions_mut().insert(ClientAddr(from.into()));
        request
    };
    for expected in [422, 422, 422, 429, 429] {
        let (status, headers, page) = answer(&shown, form([192, 0, 2, 1])).await;
        assert_eq!(status.as_u16(), expected);
        assert!(page.contains("value=\"bob b\""));
        assert_eq!(headers.contains_key("retry-after"), expected == 429);
    }
    let (status, _, _) = answer(&shown, form([192, 0, 2, 2])).await;
    assert_eq!(status.as_u16(), 422, "somebody else");
}
