//! The page on AWS Lambda: the real program, without arguments, and a Runtime API that sends it
//! events; and the public host key in a parameter that Lambda may read.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use serde_json::{Value, json};

use super::*;
use crate::harness::DEADLINE;
use crate::harness::moto::Moto;

/// A Runtime API: returns the given events, and records the responses.
struct Runtime {
    port: u16,
    events: Sender<String>,
    /// The last part of the path, `response` or `error`, and the body posted to it.
    answers: Receiver<(String, Value)>,
}

impl Runtime {
    fn start() -> Runtime {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (events, to_hand_out) = channel::<String>();
        let (answered, answers) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (path, body) = request(&stream);
                let answer = if path == "/2018-06-01/runtime/invocation/next" {
                    // Like the real one, it waits until there's an event.
                    let Ok(event) = to_hand_out.recv() else {
                        return;
                    };
                    format!(
                        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8\r\n\
                         Content-Length: {}\r\n\r\n{event}",
                        event.len()
                    )
                } else {
                    let place =
                        path.strip_prefix("/2018-06-01/runtime/invocation/8476a536-e9f4-11e8/");
                    let place = place.unwrap_or_else(|| panic!("{path}")).to_owned();
                    let _nobody_waits =
                        answered.send((place, serde_json::from_slice(&body).unwrap()));
                    "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
                };
                let _gone = stream.write_all(answer.as_bytes());
            }
        });
        Runtime {
            port,
            events,
            answers,
        }
    }

    fn invoke(&self, event: &str) -> (String, Value) {
        self.events.send(event.to_owned()).unwrap();
        self.answers.recv_timeout(DEADLINE).expect("a response")
    }
}

/// The path and the body of a request.
fn request(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let _read = reader.read_line(&mut line);
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        let read = reader.read_line(&mut line).unwrap_or_default();
        if read == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (path, body)
}

/// An API Gateway event in payload format 2.0, with the fields that differ between requests.
fn event(method: &str, body: Option<&str>) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "",
        "headers": {
            "host": "abc123.execute-api.eu-central-1.amazonaws.com",
            "origin": "null", "sec-fetch-site": "same-origin",
            "content-type": "multipart/form-data; boundary=XXXX"
        },
        "requestContext": {
            "http": { "method": method, "path": "/", "sourceIp": "203.0.113.7" },
            "stage": "$default"
        },
        "body": body.map(|body| BASE64.encode(body.as_bytes())),
        "isBase64Encoded": body.is_some()
    })
}

#[test]
fn lambda_runs_the_program_and_it_shows_the_page() {
    let runtime = Runtime::start();
    let home = Home::with(vec![(
        "AWS_LAMBDA_RUNTIME_API",
        format!("127.0.0.1:{}", runtime.port),
    )]);
    prepare(&home);
    let code = invite(&home, &[]);
    let mut page = Server::starting(Arc::clone(&home), Vec::new());

    let (place, shown) = runtime.invoke(&event("GET", None).to_string());
    assert_eq!(place, "response");
    assert_eq!(shown["statusCode"], 200);
    assert!(shown["body"].as_str().unwrap().contains("Invite code"));
    let policy = shown["headers"]["content-security-policy"].as_str();
    assert!(policy.unwrap().starts_with("default-src 'none'"));

    let (place, failed) = runtime.invoke("{}");
    assert_eq!(place, "error");
    assert!(failed["errorMessage"].as_str().unwrap().contains("2.0"));

    let part = |(name, value): (&str, &str)| {
        format!("--XXXX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields = [("code", &*code), ("name", "bob"), ("key", &key(1))];
    let form: String = fields.into_iter().map(part).collect();
    let (_, shown) = runtime.invoke(&event("POST", Some(&(form + "--XXXX--\r\n"))).to_string());
    assert_eq!(shown["statusCode"], 200);
    assert!(shown["body"].as_str().unwrap().contains("Welcome, bob"));
    assert!(account(&home, "bob").unwrap().proof_by.is_some());
    assert!(page.stop().status.success());
}

/// A request: method, path with query, headers, body.
type Asked<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, Vec<u8>);

fn as_event((method, target, headers, body): &Asked<'_>) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut event = event(method, None);
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    event["requestContext"]["http"]["path"] = json!(path);
    event["headers"] = json!({ "host": "chat" });
    for (name, value) in headers {
        event["headers"][*name] = json!(value);
    }
    if !body.is_empty() {
        event["body"] = json!(BASE64.encode(body));
        event["isBase64Encoded"] = json!(true);
    }
    event.to_string()
}

fn over_http(port: u16, (method, target, headers, body): &Asked<'_>) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    http::exchange(port, &[head.as_bytes(), length.as_bytes(), body].concat())
}

/// The page next to a server and the page on Lambda, with the same data.
#[test]
fn events_get_the_answers_that_browsers_get() {
    let runtime = Runtime::start();
    let (home, page) = alone(Home::local(), &[MANY]);
    let away = Home::with(vec![(
        "AWS_LAMBDA_RUNTIME_API",
        format!("127.0.0.1:{}", runtime.port),
    )]);
    std::os::unix::fs::symlink(home.data(), away.data()).unwrap();
    let settings = ["--set", MANY].map(str::to_owned).to_vec();
    let mut function = Server::starting(Arc::clone(&away), settings);

    let code = invite(&home, &[]);
    let kind = ("content-type", "multipart/form-data; boundary=XXXX");
    let sent = |form: Form| ("POST", "/", vec![kind], form.body());
    let from = |header| {
        (
            "POST",
            "/",
            vec![kind, header],
            form(&code, "bob", &key(1)).body(),
        )
    };
    let style = http::get(page.port(), "/").body;
    let style = style
        .split('"')
        .find(|word| word.starts_with("/style-"))
        .unwrap();
    let asked: Vec<Asked<'_>> = vec![
        ("GET", "/", vec![], vec![]),
        ("GET", "/?code=x&name=%00", vec![], vec![]),
        ("GET", style, vec![], vec![]),
        ("GET", "/none/../../etc/passwd", vec![], vec![]),
        ("PUT", "/", vec![], b"x".to_vec()),
        ("DELETE", style, vec![], vec![]),
        from(("origin", "https://evil.example")),
        from(("sec-fetch-site", "cross-site")),
        ("POST", "/", vec![], b"code=x".to_vec()),
        ("POST", "/", vec![kind], b"--XXXX\r\n\0\xff\x1b[2J".to_vec()),
        ("POST", "/", vec![kind], vec![b'x'; 20_000]),
        sent(form("AAAAA-BBBBB", "bob", &key(1))),
        sent(form(&code, "<b>\u{1b}[31m\0", "<script>alert(1)</script>")),
        sent(form(
            &code,
            "bob",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
        )),
        sent(form(&code, "", "").field("key\"; filename=\"x.pub", key(1))),
        sent(form(&code, "bob", &key(1))),
        // Replayed by an attacker.
        sent(form(&code, "eve", &key(2))),
    ];
    for asked in &asked {
        let mut there = over_http(page.port(), asked);
        let (place, here) = runtime.invoke(&as_event(asked));
        let what = format!("{} {} {:?}", asked.0, asked.1, there.status);
        assert_eq!(place, "response", "{what}");
        assert_eq!(here["statusCode"], there.status, "{what}");
        assert_eq!(here["body"], there.body, "{what}");
        // Headers about the connection.
        let of_http = ["date", "content-length", "connection"];
        there
            .headers
            .retain(|(name, _)| !of_http.contains(&name.as_str()));
        for (name, value) in &there.headers {
            assert_eq!(here["headers"][name], *value, "{what}: {name}");
        }
    }
    assert_eq!(uses_left(&home), 0);
    assert!(account(&home, "bob").is_some() && account(&home, "eve").is_none());
    assert!(function.stop().status.success());
}

/// The secret doesn't exist, so reading it would fail.
#[test]
fn the_host_key_is_read_from_the_parameter() {
    let moto = Moto::shared();
    let line = key(7);
    let line = line.rsplit_once(' ').unwrap().0;
    let value = format!("SHA256:not-looked-at {line}");
    moto.call(
        "AmazonSSM.PutParameter",
        &json!({ "Name": "/web/host-key", "Value": value, "Type": "String" }),
    );
    let home = Home::with(moto.variables());
    assert!(run(&home, &["store", "init"]).status.success());
    let secret = "aws.host_key_secret=web/none";
    let shown = page(&home, &["aws.host_key_parameter=/web/host-key", secret]);
    assert!(http::get(shown.port(), "/").body.contains(line));
    let shown = page(&home, &[&format!("web.host_key={line}"), secret]);
    assert!(http::get(shown.port(), "/").body.contains(line));

    for (settings, words) in [
        (
            vec!["aws.host_key_parameter=/web/none", secret],
            "there is no parameter /web/none yet",
        ),
        (vec![secret], "web/none"),
    ] {
        let settings = settings.into_iter().flat_map(|setting| ["--set", setting]);
        let ended = run(
            &home,
            &[&["web"][..], &settings.collect::<Vec<_>>()].concat(),
        );
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}
