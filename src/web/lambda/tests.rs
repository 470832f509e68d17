use super::super::tests::{answer as answered, shown};
use super::*;
use serde_json::{Value, json};

/// An event as API Gateway sends it, with everything that it has in it.
fn event(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "cookies": ["a=b"],
        "headers": {
            "accept": "text/html",
            "content-length": "0",
            "host": "abc123.execute-api.eu-central-1.amazonaws.com",
            "user-agent": "Mozilla/5.0",
            "x-amzn-trace-id": "Root=1-5f84c7a9-0e5b1e1e1e1e1e1e1e1e1e1e",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": "abc123.execute-api.eu-central-1.amazonaws.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "Mozilla/5.0"
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": "$default",
            "time": "22/Nov/2026:14:02:00 +0000",
            "timeEpoch": 1_795_356_120_000_u64
        },
        "isBase64Encoded": false
    })
}

fn form(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--X--\r\n"
}

/// API Gateway gets the same response as an HTTP client.
#[tokio::test]
async fn events_get_the_responses_of_the_router() {
    let fields = form(&[("code", "x"), ("name", "Jürgen <b>"), ("key", "none")]);
    for (method, path, body) in [
        ("GET", "/", None),
        ("GET", "/none", None),
        ("PUT", "/", None),
        ("POST", "/", Some("no form")),
        ("POST", "/", Some(fields.as_str())),
    ] {
        for base64 in [false, true] {
            let shown = shown(None);
            let mut event = event(method, path);
            let mut request = Request::builder().method(method).uri(path);
            if let Some(body) = body {
                let kind = "multipart/form-data; boundary=X";
                event["headers"]["content-type"] = json!(kind);
                request = request.header("content-type", kind);
                event["isBase64Encoded"] = json!(base64);
                event["body"] = if base64 {
                    json!(BASE64.encode(body.as_bytes()))
                } else {
                    json!(body)
                };
            }
            let request = request.body(Body::from(body.unwrap_or_default().to_owned()));
            let (status, headers, page) = answered(&shown, request.unwrap()).await;
            let given = handle(&shown.router, event.to_string().as_bytes()).await;
            let given: Value = serde_json::from_slice(&given.unwrap()).unwrap();
            assert_eq!(
                given["statusCode"],
                json!(status.as_u16()),
                "{method} {path}"
            );
            assert_eq!(given["body"], json!(page));
            assert_eq!(given["isBase64Encoded"], json!(false));
            for (name, value) in &headers {
                assert_eq!(
                    given["headers"][name.as_str()],
                    json!(value.to_str().unwrap())
                );
            }
        }
    }
}

#[test]
fn an_event_is_read_as_a_request() {
    let mut given = event("POST", "/join");
    given["rawQueryString"] = json!("a=b&c=%20d");
    given["headers"]["x-odd"] = json!("line\nbreak");
    let request = to_request(given.to_string().as_bytes()).unwrap();
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), "/join?a=b&c=%20d");
    assert_eq!(request.headers()["x-forwarded-for"], "203.0.113.7");
    assert!(!request.headers().contains_key("x-odd"));
    let ClientAddr(addr) = request.extensions().get().unwrap();
    assert_eq!(addr.to_string(), "203.0.113.7");
}

#[test]
fn invalid_events_are_errors() {
    let mut odd_body = event("POST", "/");
    odd_body["body"] = json!("*");
    odd_body["isBase64Encoded"] = json!(true);
    let mut odd_path = event("GET", "/");
    odd_path["rawPath"] = json!("no path\u{0}");
    let mut odd_method = event("GET", "/");
    odd_method["requestContext"]["http"]["method"] = json!("G ET");
    for odd in [
        json!(null),
        json!({}),
        json!({"version": "1.0", "httpMethod": "GET", "path": "/"}),
        odd_body,
        odd_path,
        odd_method,
    ] {
        let refused = to_request(odd.to_string().as_bytes());
        assert!(refused.is_err(), "{odd}");
    }
    assert!(to_request(b"{").is_err());
}
