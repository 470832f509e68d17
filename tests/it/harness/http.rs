//! An HTTP client that sends exactly the given bytes, including what no browser would.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::wait::DEADLINE;

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Header names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header; several with the same name are joined with commas.
    pub fn header(&self, name: &str) -> String {
        let all = self.headers.iter().filter(|(other, _)| other == name);
        let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        all.join(", ")
    }
}

/// Sends these bytes on a new connection, and reads until it's closed.
pub fn exchange(port: u16, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    // The server may respond and close before it has read everything.
    let _refused = stream.write_all(request);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

/// Requests a page.
pub fn get(port: u16, path: &str) -> Answer {
    bare(port, "GET", path)
}

/// A request with only a method and a path.
pub fn bare(port: u16, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n\r\n");
    exchange(port, request.as_bytes())
}

/// A form as browsers send it.
#[derive(Debug, Clone, Default)]
pub struct Form {
    headers: String,
    parts: Vec<u8>,
}

impl Form {
    /// Adds a field, or a file if the name says so (`key"; filename="x`).
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Form {
        let head = format!("--XXXX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        self.parts.extend_from_slice(head.as_bytes());
        self.parts.extend_from_slice(value.as_ref());
        self.parts.extend_from_slice(b"\r\n");
        self
    }

    pub fn header(mut self, line: &str) -> Form {
        self.headers += line;
        self.headers += "\r\n";
        self
    }

    /// The request body, with `boundary=XXXX`.
    pub fn body(&self) -> Vec<u8> {
        [&self.parts, &b"--XXXX--\r\n"[..]].concat()
    }

    pub fn post(&self, port: u16) -> Answer {
        let body = self.body();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: chat\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=XXXX\r\n{}\r\n",
            body.len(),
            self.headers
        );
        exchange(port, &[head.as_bytes(), &body].concat())
    }
}
