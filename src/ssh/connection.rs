//! One connection, from accept to the end: its deadlines, and the log line about it.

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

use super::config::keepalive;
use super::control::Cut;
use super::eviction::Stage;
use super::handler::Handler;
use super::state::{Link, State};
use super::transport::Transport;
use super::{Edge, Settings};

/// How long sessions may go on after their connection has ended, to put their things in order.
const GRACE: Duration = Duration::from_secs(5);
/// How many keepalives in a row may stay unanswered.
const MAX_KEEPALIVES: u32 = 3;
/// How long a client has to hang up after its last session when the server stops.
const HANG_UP: Duration = Duration::from_secs(2);

/// russh closes the connection over such a text before anybody is asked, and without a word.
const NOT_UTF8: &str = "a user name, an environment variable or another text is not UTF-8";

/// What the whole server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// People come and go.
    Open,
    /// Nobody comes; those who are here may finish.
    Draining,
    /// Whoever is still here is cut.
    Closing,
}

/// Leaves nothing running if the task of a connection is dropped in the middle.
struct EndWith(Arc<Link>);

impl Drop for EndWith {
    fn drop(&mut self) {
        self.0.control.cut(Cut::Stop);
        self.0.abandon();
    }
}

/// What has to happen at some time unless something else happens before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Cut(Cut),
    Abandon,
    /// To look whether the client was heard of.
    Look,
}

/// Whether the client still answers.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// When that was looked at last.
    at: Instant,
    /// How many bytes had come from it by then.
    received: u64,
    /// How often in a row there was nothing new.
    silent: u32,
}

impl Heard {
    /// Looks again. Returns whether the client is as good as gone: each time that it has sent
    /// nothing, russh asks it to.
    fn look(&mut self, received: u64, is_holding: bool, now: Instant) -> bool {
        // From a client that isn't read nothing can be heard. The kernel gives it up if it takes
        // nothing of what is asked, and if it hangs up the transport sees it.
        let was_heard = is_holding || received != self.received;
        self.silent = if was_heard { 0 } else { self.silent + 1 };
        (self.at, self.received) = (now, received);
        self.silent > MAX_KEEPALIVES
    }
}

/// The moments from which deadlines count.
#[derive(Debug, Clone, Copy)]
struct Since {
    accepted: Instant,
    /// The last login, or the last channel that was opened or closed.
    change: Instant,
    /// When a deadline cut the connection.
    cut: Option<Instant>,
}

/// The next deadline of a connection in this state.
fn due(state: State, phase: Phase, since: Since, settings: &Settings) -> Option<(Instant, Due)> {
    if let Some(cut) = since.cut {
        return (!state.abandoned).then_some((cut + GRACE, Due::Abandon));
    }
    let stays = matches!(phase, Phase::Open | Phase::Draining);
    if let Some(leave_by) = state.leave_by.filter(|_| stays) {
        return Some((leave_by, Due::Cut(Cut::Rekeys)));
    }
    match phase {
        Phase::Closing => Some((since.accepted, Due::Cut(Cut::Stop))),
        Phase::Draining if !state.authenticated => Some((since.accepted, Due::Cut(Cut::Stop))),
        Phase::Open if !state.authenticated => Some((
            state
                .answer_by
                .unwrap_or(since.accepted + settings.login_grace),
            Due::Cut(Cut::LoginGrace),
        )),
        _ if state.channels > 0 => None,
        Phase::Draining => Some((since.change + HANG_UP, Due::Cut(Cut::Stop))),
        Phase::Open => Some((since.change + settings.idle, Due::Cut(Cut::Idle))),
    }
}

/// The earlier of two deadlines; the first if they are the same.
fn earlier(one: Option<(Instant, Due)>, other: (Instant, Due)) -> (Instant, Due) {
    one.filter(|(at, _)| *at <= other.0).unwrap_or(other)
}

async fn reached((at, due): (Instant, Due)) -> Due {
    sleep_until(at).await;
    due
}

/// Runs a connection to its end and until all its sessions have ended.
pub(super) async fn run<S: Sessions, D: Authenticator>(
    edge: Arc<Edge<S, D>>,
    stream: TcpStream,
    link: Arc<Link>,
    mut phase: watch::Receiver<Phase>,
) {
    let _end = EndWith(Arc::clone(&link));
    let settings = &edge.settings;
    let mut since = Since {
        accepted: Instant::now(),
        change: Instant::now(),
        cut: None,
    };
    let silence = keepalive(settings);
    let mut heard = Heard {
        at: since.accepted,
        received: 0,
        silent: 0,
    };
    // Answers to keystrokes are small: sent when ready, not when there are more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(event = "nodelay_failed", %error);
    }
    let transport = Transport::of(&link, stream, settings.write_stall);
    let handler = Handler::new(Arc::clone(&edge), Arc::clone(&link));
    let config = Arc::clone(&edge.config);
    // Boxed: it is large, and done once the client has said which version it speaks.
    let greeting = Box::pin(russh::server::run_stream(config, transport, handler));
    let session = async {
        link.seat.greeted().await;
        let running = greeting.await?;
        link.seat.reached(Stage::Identified);
        let goodbye = goodbye(&link, running.handle());
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => return outcome,
            () = goodbye => {}
        }
        running.await
    };
    tokio::pin!(session);

    let mut state = link.state.subscribe();
    let outcome = loop {
        let next = due(
            *state.borrow_and_update(),
            *phase.borrow_and_update(),
            since,
            settings,
        );
        tokio::select! {
            outcome = &mut session => break outcome,
            due = reached(earlier(next, (heard.at + silence, Due::Look))) => {
                let now = Instant::now();
                let why = match due {
                    Due::Cut(why) => Some(why),
                    Due::Abandon => {
                        link.abandon();
                        None
                    }
                    Due::Look => {
                        let (received, holds) = (link.control.received(), link.control.is_holding());
                        heard.look(received, holds, now).then_some(Cut::Keepalive)
                    }
                };
                if let Some(why) = why {
                    link.control.cut(why);
                    since.cut.get_or_insert(now);
                }
            },
            Ok(()) = state.changed() => since.change = Instant::now(),
            Ok(()) = phase.changed() => {}
        }
    };

    link.state.send_modify(|state| state.ended = true);
    let empty = link.until(|state| state.channels == 0);
    if timeout(GRACE, empty).await.is_err() {
        tracing::warn!(
            event = "session_abandoned",
            "a session went on after its connection had ended, and was dropped"
        );
        link.abandon();
        link.until(|state| state.channels == 0).await;
    }
    log_end(
        &link,
        since.accepted.elapsed(),
        &outcome,
        settings.max_auth_attempts,
    );
}

/// Waits until a client has asked for too many key exchanges, and tells it why that's the end.
async fn goodbye(link: &Link, handle: Handle) {
    link.until(|state| state.leave_by.is_some()).await;
    // Said once the exchange at hand is over. If it never is, the connection is cut all the same.
    let _ended = handle
        .disconnect(
            Disconnect::ByApplication,
            "Too many key exchanges. Set a larger RekeyLimit.".to_owned(),
            String::new(),
        )
        .await;
}

fn log_end(
    link: &Link,
    lasted: Duration,
    outcome: &Result<(), russh::Error>,
    max_auth_attempts: usize,
) {
    let millis = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
    let (received, sent) = (link.control.received(), link.control.sent());
    let leaves = link.state.borrow().leave_by.map(|_| Cut::Rekeys);
    let (reason, words) = match link.control.fault() {
        Some(fault) => ("protocol", Some(fault.to_owned())),
        None => reason(link.control.why().or(leaves), outcome),
    };
    metrics::connection_ended(link.seat.at(), reason);
    let reason = words.unwrap_or_else(|| reason.to_owned());
    if link.seat.is_authenticated() {
        tracing::info!(
            event = "connection_close",
            millis,
            received,
            sent,
            reason,
            "a connection ended"
        );
        return;
    }
    // Scanners and health checks are not news.
    tracing::debug!(
        event = "connection_close",
        millis,
        received,
        sent,
        reason,
        "a connection ended before a login"
    );
    let attempts = link.attempts();
    if let Some(key) = &attempts.stranger {
        let (user, client) = (attempts.user.as_str(), link.control.client().as_str());
        tracing::info!(event = "auth_refused", user, %key, client, "a key was not let in");
    }
    if attempts.tried {
        let refused = attempts.refused;
        metrics::login_failed();
        tracing::info!(
            event = "auth_failed",
            user = attempts.user.as_str(),
            refused,
            reason,
            "nobody logged in"
        );
        let exhausted = !attempts.excused && refused + attempts.unproven >= max_auth_attempts;
        link.seat.failed(exhausted, std::time::Instant::now());
    }
}

/// Why a connection ended, in a word; and in a few more, where the client broke the protocol.
fn reason(cut: Option<Cut>, outcome: &Result<(), russh::Error>) -> (&'static str, Option<String>) {
    let word = match (cut, outcome) {
        (Some(cut), _) => cut.as_str(),
        // Some clients say goodbye (RFC 4253 §11.1), others just close the connection.
        (None, Ok(()) | Err(russh::Error::Disconnect)) => "closed",
        (None, Err(russh::Error::HUP | russh::Error::IO(_))) => "lost",
        (None, Err(russh::Error::KeepaliveTimeout)) => "keepalive",
        (None, Err(russh::Error::SshEncoding(ssh_encoding::Error::CharacterEncoding))) => {
            return ("protocol", Some(NOT_UTF8.to_owned()));
        }
        (None, Err(error)) => {
            let words = Text::ascii(error.to_string().as_bytes(), 200);
            return ("protocol", Some(words.to_string()));
        }
    };
    (word, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_answers_nothing_is_gone() {
        let now = Instant::now();
        // (bytes that came so far, whether it's not read from, whether it is gone)
        let looks = [
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
        let mut heard = Heard {
            at: now,
            received: 0,
            silent: 0,
        };
        for (step, (received, holds, gone)) in looks.into_iter().enumerate() {
            assert_eq!(heard.look(received, holds, now), gone, "step {step}");
        }
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let later = now + GRACE;
        let cut = |at| (at, Due::Cut(Cut::Idle));
        assert_eq!(earlier(None, (now, Due::Look)), (now, Due::Look));
        assert_eq!(earlier(Some(cut(now)), (now, Due::Look)), cut(now));
        assert_eq!(earlier(Some(cut(now)), (later, Due::Look)), cut(now));
        assert_eq!(
            earlier(Some(cut(later)), (now, Due::Look)),
            (now, Due::Look)
        );
    }

    #[test]
    fn each_state_has_its_deadline() {
        let set = Settings::default();
        let accepted = Instant::now();
        let change = accepted + Duration::from_secs(3);
        let open = Since {
            accepted,
            change,
            cut: None,
        };
        let cut = Since {
            cut: Some(change),
            ..open
        };
        let waiting = State::default();
        let idle = State {
            authenticated: true,
            ..waiting
        };
        let busy = State {
            channels: 1,
            ..idle
        };
        let late = accepted + set.login_grace + Duration::from_secs(1);
        let asked = State {
            answer_by: Some(late),
            ..waiting
        };
        let abandoned = State {
            abandoned: true,
            ..busy
        };
        let now_stop = Some((accepted, Due::Cut(Cut::Stop)));
        let cases = [
            (
                waiting,
                Phase::Open,
                open,
                Some((accepted + set.login_grace, Due::Cut(Cut::LoginGrace))),
            ),
            (
                asked,
                Phase::Open,
                open,
                Some((late, Due::Cut(Cut::LoginGrace))),
            ),
            (waiting, Phase::Draining, open, now_stop),
            (asked, Phase::Draining, open, now_stop),
            (waiting, Phase::Closing, open, now_stop),
            (
                idle,
                Phase::Open,
                open,
                Some((change + set.idle, Due::Cut(Cut::Idle))),
            ),
            (
                idle,
                Phase::Draining,
                open,
                Some((change + HANG_UP, Due::Cut(Cut::Stop))),
            ),
            (busy, Phase::Open, open, None),
            (busy, Phase::Draining, open, None),
            (busy, Phase::Closing, open, now_stop),
            (
                busy,
                Phase::Closing,
                cut,
                Some((change + GRACE, Due::Abandon)),
            ),
            (abandoned, Phase::Closing, cut, None),
        ];
        for (state, phase, since, expected) in cases {
            assert_eq!(
                due(state, phase, since, &set),
                expected,
                "{state:?} {phase:?}"
            );
        }
    }
}
