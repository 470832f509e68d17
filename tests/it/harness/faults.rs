//! A proxy to AWS that drops, delays and corrupts requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::wait::Watched;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Executed, with a delayed response.
    Late(Duration),
    /// Not executed; the response says that the client is throttled.
    Throttled,
    /// Not executed; the response is an internal server error.
    Broken,
    /// Executed, but the response is an internal server error.
    BrokenAfter,
    /// Not executed; the connection is reset.
    Reset,
    /// Executed; the connection is reset before the response.
    ResetAfter,
    /// Not executed, and never answered.
    Silent,
    /// Executed, but never answered.
    SilentAfter,
}

/// An HTTP proxy in front of moto. It lives as long as the test process.
pub struct FaultProxy {
    port: u16,
    plan: Arc<Watched<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    /// Percentage of requests with a fault.
    percent: u64,
    /// Incremented with each plan, which releases requests that hang in an earlier one.
    turn: u64,
    spoiled: u64,
    requests: u64,
}

impl FaultProxy {
    /// Proxies to the server on this port.
    pub fn start(upstream: u16) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let plan = Arc::new(Watched::new(Plan::default()));
        let ours = Arc::clone(&plan);
        thread::spawn(move || {
            let seed = AtomicU64::new(0);
            for stream in listener.incoming().flatten() {
                let plan = Arc::clone(&ours);
                let random = mixed(seed.fetch_add(1, Ordering::Relaxed));
                thread::spawn(move || serve(stream, upstream, &plan, random));
            }
        });
        FaultProxy { port, plan }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Number of requests since the last call.
    pub fn requests(&self) -> u64 {
        self.plan.with(|plan| std::mem::take(&mut plan.requests))
    }

    /// From now on, this percentage of requests has one of these faults. Releases hanging requests.
    /// Returns how many requests the previous plan affected.
    pub fn plan(&self, percent: u64, faults: &[Fault]) -> u64 {
        self.plan.with(|plan| {
            plan.faults = faults.to_vec();
            plan.percent = percent;
            plan.turn += 1;
            std::mem::take(&mut plan.spoiled)
        })
    }
}

/// Reproducible pseudo-random numbers (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Handles one request of a connection.
fn serve(mut client: TcpStream, upstream: u16, plan: &Watched<Plan>, random: u64) {
    let Some(request) = read(&client) else {
        return;
    };
    let (fault, turn) = plan.with(|plan| {
        plan.requests += 1;
        let count = plan.faults.len() as u64;
        // The first request always has a fault, so that there is one however few requests come.
        let happens = count > 0 && (plan.spoiled == 0 || random % 100 < plan.percent);
        plan.spoiled += u64::from(happens);
        let fault = happens.then(|| plan.faults[usize::try_from(random / 100 % count).unwrap()]);
        (fault, plan.turn)
    });
    let silence = || {
        // Until the test sets another plan; longer than any client waits.
        let other = |plan: &mut Plan| (plan.turn != turn).then_some(());
        plan.wait(Duration::from_secs(120), other);
    };
    let pass_on = || forward(upstream, &request);
    match fault {
        None => answer(&mut client, &pass_on()),
        Some(Fault::Late(by)) => {
            let other = |plan: &mut Plan| (plan.turn != turn).then_some(());
            plan.wait(by, other);
            answer(&mut client, &pass_on());
        }
        Some(Fault::Throttled) => {
            let code = "ProvisionedThroughputExceededException";
            answer(&mut client, error("400 Bad Request", code).as_bytes());
        }
        Some(Fault::Broken) => {
            let words = error("500 Internal Server Error", "InternalServerError");
            answer(&mut client, words.as_bytes());
        }
        Some(Fault::BrokenAfter) => {
            pass_on();
            let words = error("500 Internal Server Error", "InternalServerError");
            answer(&mut client, words.as_bytes());
        }
        Some(Fault::Reset) => reset(&client),
        Some(Fault::ResetAfter) => {
            pass_on();
            reset(&client);
        }
        Some(Fault::Silent) => silence(),
        Some(Fault::SilentAfter) => {
            pass_on();
            silence();
        }
    }
}

/// Reads a whole request; `None` if the client disconnects first.
fn read(client: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let mut request = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            request.extend_from_slice(b"Connection: close\r\n\r\n");
            break;
        }
        if !name.eq_ignore_ascii_case("connection") {
            request.extend_from_slice(line.as_bytes());
        }
    }
    let head = request.len();
    request.resize(head + length, 0);
    reader.read_exact(&mut request[head..]).ok()?;
    Some(request)
}

fn forward(upstream: u16, request: &[u8]) -> Vec<u8> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).expect("moto listens");
    server.write_all(request).expect("moto reads");
    let mut whole = Vec::new();
    let _read = server.read_to_end(&mut whole);
    whole
}

fn error(status: &str, code: &str) -> String {
    let body = format!(
        "{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"a test\"}}"
    );
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answer(client: &mut TcpStream, words: &[u8]) {
    let _gone = client.write_all(words);
    let _gone = client.shutdown(Shutdown::Both);
}

/// Resets a connection.
fn reset(client: &TcpStream) {
    let _gone = client.shutdown(Shutdown::Both);
}
