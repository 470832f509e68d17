//! The task of one connection: its deadlines from accept to end, and the log line about it.

use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::keys::ssh_encoding;
use russh::server::Handle;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::access::authenticator::Authenticator;
use crate::session::peer::Sessions;
use crate::telemetry::metrics;
use crate::text::Text;

use super::config::keepalive_interval;
use super::control::CloseReason;
use super::eviction::Stage;
use super::handler::Handler;
use super::state::{ConnectionState, Lifecycle};
use super::transport::Transport;
use super::{Settings, Shared};

/// How long sessions may run after their connection has ended.
const SESSION_GRACE: Duration = Duration::from_secs(5);
/// How many keepalives in a row may stay unanswered.
const MAX_KEEPALIVES: u32 = 3;
/// How long a client has to hang up after its last session when the server stops.
const HANGUP_GRACE: Duration = Duration::from_secs(2);

/// The reason for russh's silent close on invalid UTF-8, which happens before any callback.
const NOT_UTF8: &str = "a user name, an environment variable or another text is not UTF-8";

/// The phase of the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerPhase {
    /// Accepting connections.
    Open,
    /// Not accepting any more; open sessions may finish.
    Draining,
    /// Closing what is still open.
    Closing,
}

/// Closes the connection and aborts its sessions if the connection's task is dropped.
struct TeardownGuard(Arc<ConnectionState>);

impl Drop for TeardownGuard {
    fn drop(&mut self) {
        self.0.control.close(CloseReason::Stop);
        self.0.abandon();
    }
}

/// What happens when a deadline passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeadlineAction {
    Close(CloseReason),
    AbandonSessions,
    CheckLiveness,
}

/// Detects clients that no longer answer keepalives.
#[derive(Debug, Clone, Copy)]
struct Liveness {
    checked_at: Instant,
    /// Bytes received by then.
    received: u64,
    /// Checks in a row without new bytes.
    silent: u32,
}

impl Liveness {
    /// Checks once per keepalive interval. Returns whether the client is dead: russh sends a
    /// keepalive in each interval without input.
    fn is_dead_at(&mut self, now: Instant, received: u64, is_input_held: bool) -> bool {
        // While input is held, no answer can be seen. The kernel closes the connection if the
        // client acknowledges nothing, and the transport notices if it hangs up.
        let is_alive = is_input_held || received != self.received;
        self.silent = if is_alive { 0 } else { self.silent + 1 };
        (self.checked_at, self.received) = (now, received);
        self.silent > MAX_KEEPALIVES
    }
}

/// The times that deadlines count from.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    accepted: Instant,
    /// The last login, or the last channel that was opened or closed.
    changed: Instant,
    /// When a deadline closed the connection.
    closed: Option<Instant>,
}

/// Returns the next deadline of a connection, without the liveness check.
fn next_deadline(
    lifecycle: Lifecycle,
    phase: ServerPhase,
    times: Timeline,
    settings: &Settings,
) -> Option<(Instant, DeadlineAction)> {
    use DeadlineAction::{AbandonSessions, Close};
    if let Some(closed) = times.closed {
        return (!lifecycle.abandoned).then_some((closed + SESSION_GRACE, AbandonSessions));
    }
    let may_stay = matches!(phase, ServerPhase::Open | ServerPhase::Draining);
    if let Some(deadline) = lifecycle.disconnect_deadline.filter(|_| may_stay) {
        return Some((deadline, Close(CloseReason::Rekeys)));
    }
    match phase {
        ServerPhase::Closing => Some((times.accepted, Close(CloseReason::Stop))),
        ServerPhase::Draining if !lifecycle.authenticated => {
            Some((times.accepted, Close(CloseReason::Stop)))
        }
        ServerPhase::Open if !lifecycle.authenticated => Some((
            lifecycle
                .prompt_deadline
                .unwrap_or(times.accepted + settings.login_grace),
            Close(CloseReason::LoginGrace),
        )),
        _ if lifecycle.channels > 0 => None,
        ServerPhase::Draining => Some((times.changed + HANGUP_GRACE, Close(CloseReason::Stop))),
        ServerPhase::Open => Some((times.changed + settings.idle, Close(CloseReason::Idle))),
    }
}

/// Returns the earlier of two deadlines; the first if they are equal.
fn earlier(
    first: Option<(Instant, DeadlineAction)>,
    second: (Instant, DeadlineAction),
) -> (Instant, DeadlineAction) {
    first.filter(|(at, _)| *at <= second.0).unwrap_or(second)
}

async fn wait_for((at, action): (Instant, DeadlineAction)) -> DeadlineAction {
    sleep_until(at).await;
    action
}

/// Runs a connection until it and all its sessions have ended.
pub(super) async fn run<S: Sessions, D: Authenticator>(
    shared: Arc<Shared<S, D>>,
    stream: TcpStream,
    conn: Arc<ConnectionState>,
    mut phase: watch::Receiver<ServerPhase>,
) {
    let _guard = TeardownGuard(Arc::clone(&conn));
    let settings = &shared.settings;
    let mut times = Timeline {
        accepted: Instant::now(),
        changed: Instant::now(),
        closed: None,
    };
    let keepalive = keepalive_interval(settings);
    let mut liveness = Liveness {
        checked_at: times.accepted,
        received: 0,
        silent: 0,
    };
    // Echoed keystrokes are small and must not be delayed.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(event = "nodelay_failed", %error);
    }
    let transport = Transport::for_connection(&conn, stream, settings.write_stall);
    let handler = Handler::new(Arc::clone(&shared), Arc::clone(&conn));
    let config = Arc::clone(&shared.config);
    // Boxed: it is large, and done after the version exchange.
    let handshake = Box::pin(russh::server::run_stream(config, transport, handler));
    let protocol = async {
        conn.permit.wait_for_handshake().await;
        let running = handshake.await?;
        conn.permit.advance(Stage::VersionExchanged);
        let disconnect = disconnect_after_rekeys(&conn, running.handle());
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => return outcome,
            () = disconnect => {}
        }
        running.await
    };
    tokio::pin!(protocol);

    let mut lifecycle = conn.lifecycle.subscribe();
    let outcome = loop {
        let next = next_deadline(
            *lifecycle.borrow_and_update(),
            *phase.borrow_and_update(),
            times,
            settings,
        );
        let check = (
            liveness.checked_at + keepalive,
            DeadlineAction::CheckLiveness,
        );
        tokio::select! {
            outcome = &mut protocol => break outcome,
            action = wait_for(earlier(next, check)) => {
                let now = Instant::now();
                let reason = match action {
                    DeadlineAction::Close(reason) => Some(reason),
                    DeadlineAction::AbandonSessions => {
                        conn.abandon();
                        None
                    }
                    DeadlineAction::CheckLiveness => {
                        let (received, held) =
                            (conn.control.received(), conn.control.is_input_held());
                        liveness.is_dead_at(now, received, held).then_some(CloseReason::Keepalive)
                    }
                };
                if let Some(reason) = reason {
                    conn.control.close(reason);
                    times.closed.get_or_insert(now);
                }
            },
            Ok(()) = lifecycle.changed() => times.changed = Instant::now(),
            Ok(()) = phase.changed() => {}
        }
    };

    conn.lifecycle
        .send_modify(|lifecycle| lifecycle.ended = true);
    let no_sessions = conn.wait_until(|lifecycle| lifecycle.channels == 0);
    if timeout(SESSION_GRACE, no_sessions).await.is_err() {
        tracing::warn!(
            event = "session_abandoned",
            "session aborted: still running 5 s after its connection ended"
        );
        conn.abandon();
        conn.wait_until(|lifecycle| lifecycle.channels == 0).await;
    }
    log_end(
        &conn,
        times.accepted.elapsed(),
        &outcome,
        settings.max_auth_attempts,
    );
}

/// Waits until the client has exceeded its key exchanges, and sends a disconnect message.
async fn disconnect_after_rekeys(conn: &ConnectionState, handle: Handle) {
    conn.wait_until(|lifecycle| lifecycle.disconnect_deadline.is_some())
        .await;
    // Sent after the current exchange. If that never ends, the deadline closes the connection.
    let _ended = handle
        .disconnect(
            Disconnect::ByApplication,
            "Too many key exchanges. Set a larger RekeyLimit.".to_owned(),
            String::new(),
        )
        .await;
}

fn log_end(
    conn: &ConnectionState,
    lasted: Duration,
    outcome: &Result<(), russh::Error>,
    max_auth_attempts: usize,
) {
    let millis = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
    let (received, sent) = (conn.control.received(), conn.control.sent());
    let rekeys = conn.lifecycle.borrow().disconnect_deadline;
    let rekeys = rekeys.map(|_| CloseReason::Rekeys);
    let (reason, detail) = match conn.control.protocol_error() {
        Some(error) => ("protocol", Some(error.to_owned())),
        None => end_reason(conn.control.close_reason().or(rekeys), outcome),
    };
    metrics::connection_ended(conn.permit.auth_stage(), reason);
    let reason = detail.unwrap_or_else(|| reason.to_owned());
    if conn.permit.is_authenticated() {
        tracing::info!(
            event = "connection_close",
            millis,
            received,
            sent,
            reason,
            "connection closed"
        );
        return;
    }
    // Scanners and health checks would fill the log.
    tracing::debug!(
        event = "connection_close",
        millis,
        received,
        sent,
        reason,
        "connection closed before a login"
    );
    let attempts = conn.attempts();
    if let Some(key) = &attempts.unknown_key {
        let (user, client) = (
            attempts.user.as_str(),
            conn.control.client_version().as_str(),
        );
        tracing::info!(event = "auth_refused", user, %key, client, "key not accepted");
    }
    if attempts.tried {
        let refused = attempts.rejected;
        metrics::login_failed();
        tracing::info!(
            event = "auth_failed",
            user = attempts.user.as_str(),
            refused,
            reason,
            "login failed"
        );
        let exhausted = !attempts.timed_out && refused + attempts.unproven >= max_auth_attempts;
        conn.permit
            .record_auth_failure(exhausted, std::time::Instant::now());
    }
}

/// Returns why a connection ended, and the details of a protocol error.
fn end_reason(
    closed: Option<CloseReason>,
    outcome: &Result<(), russh::Error>,
) -> (&'static str, Option<String>) {
    let reason = match (closed, outcome) {
        (Some(reason), _) => reason.as_str(),
        // With SSH_MSG_DISCONNECT (RFC 4253 §11.1) or without.
        (None, Ok(()) | Err(russh::Error::Disconnect)) => "closed",
        (None, Err(russh::Error::HUP | russh::Error::IO(_))) => "lost",
        (None, Err(russh::Error::KeepaliveTimeout)) => "keepalive",
        (None, Err(russh::Error::SshEncoding(ssh_encoding::Error::CharacterEncoding))) => {
            return ("protocol", Some(NOT_UTF8.to_owned()));
        }
        (None, Err(error)) => {
            let detail = Text::ascii(error.to_string().as_bytes(), 200);
            return ("protocol", Some(detail.to_string()));
        }
    };
    (reason, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_answers_no_keepalive_is_dead() {
        let now = Instant::now();
        // (bytes received, whether input is held, whether the client is dead)
        let checks = [
            (10, false, false),
            (10, false, false),
            (10, false, false),
            (10, false, false),
            (11, false, false),
            (11, false, false),
            (11, false, false),
            (11, true, false),
            (11, false, false),
            (11, false, false),
            (11, false, false),
            (11, false, true),
        ];
        let mut liveness = Liveness {
            checked_at: now,
            received: 0,
            silent: 0,
        };
        for (step, (received, held, dead)) in checks.into_iter().enumerate() {
            assert_eq!(
                liveness.is_dead_at(now, received, held),
                dead,
                "step {step}"
            );
        }
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let later = now + SESSION_GRACE;
        let close = |at| (at, DeadlineAction::Close(CloseReason::Idle));
        assert_eq!(
            earlier(None, (now, DeadlineAction::CheckLiveness)),
            (now, DeadlineAction::CheckLiveness)
        );
        assert_eq!(
            earlier(Some(close(now)), (now, DeadlineAction::CheckLiveness)),
            close(now)
        );
        assert_eq!(
            earlier(Some(close(now)), (later, DeadlineAction::CheckLiveness)),
            close(now)
        );
        assert_eq!(
            earlier(Some(close(later)), (now, DeadlineAction::CheckLiveness)),
            (now, DeadlineAction::CheckLiveness)
        );
    }

    #[test]
    fn each_state_has_its_deadline() {
        let set = Settings::default();
        let accepted = Instant::now();
        let changed = accepted + Duration::from_secs(3);
        let open = Timeline {
            accepted,
            changed,
            closed: None,
        };
        let closed = Timeline {
            closed: Some(changed),
            ..open
        };
        let waiting = Lifecycle::default();
        let idle = Lifecycle {
            authenticated: true,
            ..waiting
        };
        let busy = Lifecycle {
            channels: 1,
            ..idle
        };
        let late = accepted + set.login_grace + Duration::from_secs(1);
        let prompted = Lifecycle {
            prompt_deadline: Some(late),
            ..waiting
        };
        let abandoned = Lifecycle {
            abandoned: true,
            ..busy
        };
        let now_stop = Some((accepted, DeadlineAction::Close(CloseReason::Stop)));
        let cases = [
            (
                waiting,
                ServerPhase::Open,
                open,
                Some((
                    accepted + set.login_grace,
                    DeadlineAction::Close(CloseReason::LoginGrace),
                )),
            ),
            (
                prompted,
                ServerPhase::Open,
                open,
                Some((late, DeadlineAction::Close(CloseReason::LoginGrace))),
            ),
            (waiting, ServerPhase::Draining, open, now_stop),
            (prompted, ServerPhase::Draining, open, now_stop),
            (waiting, ServerPhase::Closing, open, now_stop),
            (
                idle,
                ServerPhase::Open,
                open,
                Some((changed + set.idle, DeadlineAction::Close(CloseReason::Idle))),
            ),
            (
                idle,
                ServerPhase::Draining,
                open,
                Some((
                    changed + HANGUP_GRACE,
                    DeadlineAction::Close(CloseReason::Stop),
                )),
            ),
            (busy, ServerPhase::Open, open, None),
            (busy, ServerPhase::Draining, open, None),
            (busy, ServerPhase::Closing, open, now_stop),
            (
                busy,
                ServerPhase::Closing,
                closed,
                Some((changed + SESSION_GRACE, DeadlineAction::AbandonSessions)),
            ),
            (abandoned, ServerPhase::Closing, closed, None),
        ];
        for (lifecycle, phase, times, expected) in cases {
            assert_eq!(
                next_deadline(lifecycle, phase, times, &set),
                expected,
                "{lifecycle:?} {phase:?}"
            );
        }
    }
}
