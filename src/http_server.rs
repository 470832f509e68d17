//! An HTTP/1.1 server without TLS, for the key page and for metrics. The number of connections,
//! their duration and the size of a request's headers are bounded.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::rate_limit::source;

/// The pause after a failed `accept`, for instance when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What clients may use of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Whether further connections wait in the kernel's backlog. Otherwise they are closed at once.
    pub backlog: bool,
    /// Connections at a time from one [`source`]. Further ones are closed at once.
    pub per_source: usize,
    /// How long a request's headers may take to arrive, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a connection may last.
    pub lifetime: Duration,
    /// The size of a request's headers, in bytes. hyper's minimum is 8 KiB.
    pub header_bytes: usize,
    /// Whether a connection may be used for several requests.
    pub keep_alive: bool,
}

/// The client's address. An extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddr(pub IpAddr);

/// Serves `router` until `stop`, then finishes the requests in progress for at most `drain`.
/// Dropping the future closes all connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    // The source of each open connection.
    let mut sources: HashMap<Id, IpAddr> = HashMap::new();
    let mut stop = pin!(stop);
    loop {
        let accepts = !limits.backlog || tasks.len() < limits.connections;
        let accepted = tokio::select! {
            // Closed connections first: they make room for the next.
            biased;
            () = &mut stop => break,
            Some(ended) = tasks.join_next_with_id() => {
                sources.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
                continue;
            }
            accepted = listener.accept(), if accepts => accepted,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(event = "http_accept_failed", %error, "accept failed, retrying in 100 ms");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let source = source(addr.ip());
        let from_source = sources.values().filter(|other| **other == source).count();
        if tasks.len() >= limits.connections || from_source >= limits.per_source {
            tracing::debug!(event = "http_connection_refused", %addr, "connection refused: too many connections");
            continue;
        }
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ClientAddr(addr.ip()));
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes)
            .keep_alive(limits.keep_alive)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let task = tasks.spawn(async move {
            if let Ok(Err(error)) = timeout(limits.lifetime, connection).await {
                tracing::debug!(event = "http_connection_failed", %addr, %error);
            }
        });
        sources.insert(task.id(), source);
    }
    drop(listener);
    let _drained = timeout(drain, graceful.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpSocket, TcpStream};

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 16,
        backlog: true,
        per_source: 2,
        header_timeout: Duration::from_secs(10),
        lifetime: Duration::from_secs(60),
        header_bytes: 16 * 1024,
        keep_alive: true,
    };

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

    /// Sends a request and reads until the connection is closed. The clock is paused: it jumps to
    /// the next deadline when all tasks are idle.
    async fn send(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let server = serve(listener, router(), LIMITS, pending(), Duration::ZERO);
        let serving = tokio::spawn(server);
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        serving.abort();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_closed() {
        let body = b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12";
        let kept = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
        for (request, answered) in [
            (&b""[..], ""),
            (b"GET / HT", ""),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", ""),
            (body, ""),
            (kept, "HTTP/1.1 200 OK"),
        ] {
            let answer = send(request).await;
            assert!(answer.starts_with(answered), "{answer}");
        }
        let long = [&b"GET /"[..], &vec![b'a'; 2 * LIMITS.header_bytes]].concat();
        let answer = send(&long).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    /// Silent connections of one source leave room for others, and are closed beyond their share.
    #[tokio::test]
    async fn one_source_has_a_share_of_the_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener, router(), LIMITS, pending(), Duration::ZERO);
        let serving = tokio::spawn(server);
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
        // Its slot is free just after the response.
        let mut tries = 0;
        while !ask(connect("127.0.0.1:0").await).await {
            tries += 1;
            assert!(tries < 1_000, "the first is closed");
            tokio::task::yield_now().await;
        }
        serving.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_progress_are_finished_before_the_end() {
        for (drain, answered) in [(10, true), (1, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = sleep(Duration::from_secs(2));
            let drain = Duration::from_secs(drain);
            let serving = tokio::spawn(serve(listener, router(), LIMITS, stop, drain));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            assert_eq!(answer.ends_with(b"done"), answered, "{drain:?}");
            serving.await.unwrap();
        }
    }
}
