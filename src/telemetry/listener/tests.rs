use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

/// A server whose health tests decide.
struct Patient {
    /// Nobody hears whether it lives before that.
    answers: watch::Receiver<bool>,
    asked: watch::Sender<usize>,
    measured: AtomicUsize,
}

impl HealthSource for Patient {
    async fn live(&self) -> Result<&'static str, String> {
        self.asked.send_modify(|asked| *asked += 1);
        let answered = self
            .answers
            .clone()
            .wait_for(|answers| *answers)
            .await
            .map(drop);
        answered.map(|()| "live").map_err(|_| "dead".to_owned())
    }

    fn ready(&self) -> Result<&'static str, String> {
        Err("not yet".to_owned())
    }

    fn refresh_metrics(&self) {
        self.measured.fetch_add(1, Ordering::Relaxed);
    }
}

struct Served {
    address: SocketAddr,
    patient: Arc<Patient>,
    answer: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

async fn serve_patient(answers: bool) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, answers) = watch::channel(answers);
    let patient = Arc::new(Patient {
        answers,
        asked: watch::Sender::default(),
        measured: AtomicUsize::new(0),
    });
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, Arc::clone(&patient)));
    Served {
        address,
        patient,
        answer,
        _serving: serving,
    }
}

impl Served {
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Whoever is closed at once can't send all of it.
        let _closed = stream.write_all(request.as_bytes()).await;
        stream
    }

    async fn ask(&self, request: &str) -> String {
        rest(self.send(request).await).await
    }
}

/// All that still comes.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // It may be reset, too.
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[tokio::test]
async fn each_request_has_its_answer() {
    let served = serve_patient(true).await;
    let long = format!(
        "GET / HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(2 * LIMITS.header_bytes)
    );
    let head = "HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let post = "POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nstop".to_owned();
    // (request, status, end of the answer)
    let cases = [
        (get("/live"), "200 OK", "\r\n\r\nlive\n"),
        (get("/live?verbose"), "200 OK", "\r\n\r\nlive\n"),
        (
            get("/ready"),
            "503 Service Unavailable",
            "\r\n\r\nnot yet\n",
        ),
        (get("/metrics"), "200 OK", "# EOF\n"),
        (
            get("/"),
            "404 Not Found",
            "\r\n\r\nnot found: try /metrics, /live or /ready\n",
        ),
        (get("/metrics/"), "404 Not Found", "/ready\n"),
        (head, "200 OK", "\r\n\r\n"),
        (post, "405 Method Not Allowed", "\r\n\r\nuse GET\n"),
        (long, "431 Request Header Fields Too Large", "\r\n\r\n"),
        (
            "SSH-2.0-x\r\n\r\n".to_owned(),
            "400 Bad Request",
            "\r\n\r\n",
        ),
    ];
    for (request, status, end) in cases {
        let answer = served.ask(&request).await;
        let shown = request.lines().next().unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{shown}: {answer}"
        );
        assert!(answer.ends_with(end), "{shown}: {answer}");
    }
    assert_eq!(served.patient.measured.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn metrics_have_their_type() {
    let served = serve_patient(true).await;
    let answer = served.ask(&get("/metrics")).await;
    let kind = format!("content-type: {}\r\n", metrics::CONTENT_TYPE);
    assert!(answer.contains(&kind), "{answer}");
}

#[tokio::test]
async fn there_are_only_so_many_at_a_time() {
    let served = serve_patient(false).await;
    let mut waiting = Vec::new();
    for _ in 0..LIMITS.connections {
        waiting.push(served.send(&get("/live")).await);
    }
    let mut asked = served.patient.asked.subscribe();
    asked
        .wait_for(|asked| *asked == LIMITS.connections)
        .await
        .unwrap();
    assert_eq!(served.ask(&get("/live")).await, "", "one too many");

    served.answer.send_replace(true);
    for stream in waiting {
        assert!(rest(stream).await.ends_with("live\n"));
    }
    assert!(served.ask(&get("/live")).await.ends_with("live\n"));
}

/// With a stopped clock, which goes on by itself when nothing else does.
#[tokio::test(start_paused = true)]
async fn nobody_stays_longer_than_the_deadline() {
    let served = serve_patient(false).await;
    // Nothing, half a request, and one whose answer takes too long.
    for request in ["", "GET /live HTTP/1.1\r\nHost:", &get("/live")] {
        let begin = Instant::now();
        let stream = served.send(request).await;
        assert_eq!(rest(stream).await, "", "{request:?}");
        let took = begin.elapsed();
        assert!(
            took >= DEADLINE && took < 2 * DEADLINE,
            "{request:?}: {took:?}"
        );
    }
}
