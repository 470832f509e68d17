//! A way to AWS that loses, delays and spoils what goes over it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::wait::Watched;

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered, but later.
    Late(Duration),
    /// It is not done, and answered so: ask less often.
    Throttled,
    /// It is not done, and answered with a fault of the service's.
    Broken,
    /// It is done, and answered all the same with a fault of the service's.
    BrokenAfter,
    /// It is not done, and the connection breaks.
    Reset,
    /// It is done, and the connection breaks before the answer.
    ResetAfter,
    /// It goes nowhere, and nothing comes back.
    Silent,
    /// It is done, and nothing comes back.
    SilentAfter,
}

/// A proxy for plain HTTP in front of moto. It lives as long as the test's process.
pub struct FaultProxy {
    port: u16,
    plan: Arc<Watched<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    /// How many requests in a hundred something happens to.
    percent: u64,
    /// Raised with each plan, so that what hangs in an old one ends.
    turn: u64,
    spoiled: u64,
    requests: u64,
}

impl FaultProxy {
    /// In front of what listens on this port.
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

    /// How many requests have come since the last time.
    pub fn requests(&self) -> u64 {
        self.plan.with(|plan| std::mem::take(&mut plan.requests))
    }

    /// From now on one of these happens to so many requests in a hundred. What hung is let go.
    /// Returns how many requests the plan before has spoiled.
    pub fn plan(&self, percent: u64, faults: &[Fault]) -> u64 {
        self.plan.with(|plan| {
            plan.faults = faults.to_vec();
            plan.percent = percent;
            plan.turn += 1;
            std::mem::take(&mut plan.spoiled)
        })
    }
}

/// Numbers without an order that a test can repeat (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Takes one request of a connection.
fn serve(mut client: TcpStream, upstream: u16, plan: &Watched<Plan>, random: u64) {
    let Some(request) = read(&client) else {
        return;
    };
    let (fault, turn) = plan.with(|plan| {
        plan.requests += 1;
        let count = plan.faults.len() as u64;
        // The first one always, so that there is one however few are needed.
        let happens = count > 0 && (plan.spoiled == 0 || random % 100 < plan.percent);
        plan.spoiled += u64::from(happens);
        let fault = happens.then(|| plan.faults[usize::try_from(random / 100 % count).unwrap()]);
        (fault, plan.turn)
    });
    let silence = || {
        // Until the test plans something else: nobody can wait that long.
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

/// A whole request; `None` if the client goes away before its end.
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

/// Ends a connection without a word.
fn reset(client: &TcpStream) {
    let _gone = client.shutdown(Shutdown::Both);
}
