//! The page over HTTP/1.1, without TLS: on loopback, or behind a proxy that has it.
//!
//! Connections are counted before anything is read from them, and none may take its time.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::Peer;
use crate::rate_limit::source;

/// Connections at a time. Further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How many of those one source may have: browsers open six. Behind a proxy, which every connection
/// comes from, the proxy has to see to that.
pub const PER_SOURCE: usize = MAX_CONNECTIONS / 8;
/// How long a request may take to say what it wants, and a connection to say nothing.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a connection is kept at all.
const LIFE: Duration = Duration::from_secs(60);
/// The longest head of a request, in bytes: hyper's buffer for one connection.
const MAX_HEAD: usize = 16 * 1024;
/// How long to wait after the system gave no connection, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers whoever connects, until `stop`; then those requests that are under way, for at most so
/// long. From one source, an IPv4 address or an IPv6 /64, it takes at most `per_source`
/// connections at a time; further ones are closed at once.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    per_source: usize,
    stop: impl Future<Output = ()>,
    deadline: Duration,
) {
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let sources = Arc::new(Mutex::new(HashMap::new()));
    let (stopping, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let accepting = async {
        // Never closed, so there is always a seat some time.
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(place) = Place::take(&sources, source(peer.ip()), per_source) else {
                        tracing::debug!(event = "web_refused", addr = %peer, "too many connections from one address");
                        continue;
                    };
                    let connection = answer(stream, peer.ip(), router.clone(), stopped.clone());
                    connections.spawn(async move {
                        let _too_long = timeout(LIFE, connection).await;
                        drop((seat, place));
                    });
                }
                Err(error) => {
                    tracing::debug!(event = "web_accept_failed", %error, "no connection was made");
                    sleep(PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop((listener, stopping));
    let all = async { while connections.join_next().await.is_some() {} };
    let _cut = timeout(deadline, all).await;
}

type Sources = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One of the connections that a source may have, until this is dropped.
struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Place {
    fn take(sources: &Sources, source: IpAddr, max: usize) -> Option<Place> {
        let mut counts = sources.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(counts);
        let sources = Arc::clone(sources);
        Some(Place { sources, source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    mut stopping: watch::Receiver<()>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What goes wrong is the other side's affair: it left, or it speaks no HTTP.
    tokio::select! {
        _ended = connection.as_mut() => {}
        _stop = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    fn router() -> Router {
        let slow = async || {
            sleep(Duration::from_secs(5)).await;
            "done"
        };
        let whole = async |body: String| body;
        Router::new()
            .route("/slow", get(slow))
            .route("/whole", post(whole))
    }

    /// What somebody gets who sends this and then waits. The clock is paused: it jumps to the next
    /// deadline when nobody has anything to do.
    async fn sent(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let serving = tokio::spawn(serve(
            listener,
            router(),
            PER_SOURCE,
            pending(),
            Duration::ZERO,
        ));
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        serving.abort();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_keeps_a_connection_for_nothing() {
        let body = b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12";
        let kept = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
        for (request, answered) in [
            (&b""[..], ""),
            (b"GET / HT", ""),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", ""),
            (body, ""),
            (kept, "HTTP/1.1 200 OK"),
        ] {
            let answer = sent(request).await;
            assert!(answer.starts_with(answered), "{answer}");
        }
        let long = [&b"GET /"[..], &vec![b'a'; 2 * MAX_HEAD]].concat();
        let answer = sent(&long).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    /// Silent connections of one source leave places for others, and are closed beyond their share.
    #[tokio::test]
    async fn one_source_has_a_share_of_the_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, router(), 2, pending(), Duration::ZERO));
        let connect = |from: &'static str| async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from.parse().unwrap()).unwrap();
            socket.connect(address).await.unwrap()
        };
        let ask = |mut stream: TcpStream| async move {
            let request = b"POST /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let _closed = stream.write_all(request).await;
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            answer.starts_with(b"HTTP/1.1 200 OK")
        };
        let first = connect("127.0.0.1:0").await;
        let _silent = connect("127.0.0.1:0").await;
        assert!(!ask(connect("127.0.0.1:0").await).await, "the third");
        assert!(ask(connect("127.0.0.2:0").await).await, "another source");
        assert!(ask(first).await);
        // Its place is given back just after the answer.
        let mut tries = 0;
        while !ask(connect("127.0.0.1:0").await).await {
            tries += 1;
            assert!(tries < 1_000, "the first has gone");
            tokio::task::yield_now().await;
        }
        serving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_answered_before_the_end() {
        for (deadline, answered) in [(10, true), (1, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = sleep(Duration::from_secs(2));
            let deadline = Duration::from_secs(deadline);
            let serving = tokio::spawn(serve(listener, router(), PER_SOURCE, stop, deadline));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            assert_eq!(answer.ends_with(b"done"), answered, "{deadline:?}");
            serving.await.unwrap();
        }
    }
}
