//! What systemd and the server tell each other: the sockets that the process is given
//! (`sd_listen_fds(3)`), and how it is getting on (`sd_notify(3)`).
//!
//! Where systemd did not start the process, there are no sockets and nobody is told anything.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::slice;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use crate::config::Environment;
use crate::hub::Handle;

/// What a socket for the server is called: `FileDescriptorName=` of its unit.
const NAME: &str = "ssh";
/// The unit that opens the port.
const SOCKET_UNIT: &str = "ssh-chat.socket";

/// How often systemd hears that something that takes long goes on.
const BEAT: Duration = Duration::from_secs(10);
/// How long systemd waits for the next beat before it takes the process for dead.
const BEAT_LASTS: Duration = Duration::from_secs(30);

/// The sockets that systemd opened for the server, with their addresses; none if it opened none.
///
/// Takes them out of the environment, so this comes before any thread is started, and works
/// once.
pub(super) fn sockets() -> Result<Vec<(TcpListener, SocketAddr)>> {
    let environment = Environment::of_process();
    let names = environment.get("LISTEN_FDNAMES");
    let mut passed = ListenFd::from_env();
    known(names.unwrap_or_default(), passed.len())?;
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let listener = passed
            .take_tcp_listener(index)
            .context("systemd gave the server something else than a TCP socket")?;
        if let Some(listener) = listener {
            let address = listener
                .local_addr()
                .context("a socket from systemd has no address")?;
            sockets.push((listener, address));
        }
    }
    Ok(sockets)
}

/// Makes sure that each socket is meant for the server: one that nobody accepts from would let
/// people wait forever. Without any names all are.
fn known(names: &str, count: usize) -> Result<()> {
    let others = names.split(':').filter(|name| !name.is_empty());
    match others.take(count).find(|name| *name != NAME) {
        Some(other) => bail!(
            "systemd gave the server a socket named {other:?}, for which it has no use: say \
             FileDescriptorName={NAME} in the socket unit, or take the socket away"
        ),
        None => Ok(()),
    }
}

/// The addresses at which systemd listens for the server now. Empty without systemd, and if it
/// does not say.
pub(super) fn listening() -> Vec<SocketAddr> {
    if !sd_notify::booted().unwrap_or(false) {
        return Vec::new();
    }
    let shown = Command::new("systemctl")
        .args(["show", "--property=ActiveState,Listen", SOCKET_UNIT])
        .output();
    shown.map_or_else(
        |_| Vec::new(),
        |shown| addresses(&String::from_utf8_lossy(&shown.stdout)),
    )
}

/// The addresses in what `systemctl show` says of a socket unit, if that is active.
fn addresses(shown: &str) -> Vec<SocketAddr> {
    if !shown.lines().any(|line| line == "ActiveState=active") {
        return Vec::new();
    }
    let listens = shown
        .lines()
        .filter_map(|line| line.strip_prefix("Listen="));
    listens
        .filter_map(|listen| listen.strip_suffix(" (Stream)")?.parse().ok())
        .collect()
}

/// People can connect now.
pub(super) fn ready(addresses: &[SocketAddr]) {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let status = format!("people can connect to {}", list.join(", "));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is being read again. [`reloaded`] has to follow.
pub(super) fn reloading() {
    let mut state = vec![NotifyState::Reloading];
    // Type=notify-reload wants it; whoever does not know it takes no notice.
    state.extend(NotifyState::monotonic_usec_now());
    tell(&state);
}

/// The configuration was read again, and this came of it.
pub(super) fn reloaded(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How the server is, while it runs.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The server stops, because it was asked to.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The server ends, and this is why. systemd shows the first line of it.
pub(super) fn failed(why: &str) {
    tell(&[NotifyState::Status(why.lines().next().unwrap_or_default())]);
}

/// Waits for something that may take longer than systemd would wait, and tells it meanwhile
/// what that is. It has to have an end of its own.
pub(super) async fn meanwhile<T>(status: &str, work: impl Future<Output = T>) -> T {
    let lasts = u32::try_from(BEAT_LASTS.as_micros()).unwrap_or(u32::MAX);
    let beat = NotifyState::ExtendTimeoutUsec(lasts);
    tell(&[NotifyState::Status(status), beat.clone()]);
    let mut beats = interval_at(Instant::now() + BEAT, BEAT);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = beats.tick() => tell(slice::from_ref(&beat)),
        }
    }
}

/// Keeps the watchdog quiet, if systemd has one for this process, as long as the hub answers.
/// It holds the hub: it has to be aborted before the hub can end.
pub(super) fn watchdog(hub: Handle) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(patience) = sd_notify::watchdog_enabled() {
            let answers = || {
                let hub = hub.clone();
                async move { hub.ping().await.is_ok() }
            };
            watch(patience, answers, || tell(&[NotifyState::Watchdog])).await;
        }
    })
}

/// Three times within the watchdog's patience: asks, and says so when the answer has come.
async fn watch<Answer: Future<Output = bool>>(
    patience: Duration,
    answers: impl Fn() -> Answer,
    alive: impl Fn(),
) {
    let mut interval = interval((patience / 3).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if !answers().await {
            return;
        }
        alive();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(event = "systemd_unreachable", %error, "systemd could not be told");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn sockets_for_something_else_are_refused() {
        for (names, count, right) in [
            ("", 0, true),
            ("", 2, true),
            ("ssh", 1, true),
            ("ssh:ssh", 2, true),
            ("ssh:web", 2, false),
            ("ssh-chat.socket", 1, false),
            // What is left over from somebody else's environment.
            ("web", 0, true),
        ] {
            assert_eq!(known(names, count).is_ok(), right, "{names:?} {count}");
        }
    }

    #[test]
    fn the_socket_unit_says_where_it_listens() {
        for (shown, expected) in [
            ("", &[][..]),
            ("Listen=[::]:22 (Stream)\nActiveState=inactive\n", &[]),
            (
                "Listen=[::]:22 (Stream)\nActiveState=active\n",
                &["[::]:22"],
            ),
            (
                "ActiveState=active\nListen=[::]:2222 (Stream)\nListen=0.0.0.0:22 (Stream)\n",
                &["[::]:2222", "0.0.0.0:22"],
            ),
            ("ActiveState=active\nListen=/run/x (Stream)\n", &[]),
        ] {
            let expected: Vec<SocketAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(addresses(shown), expected, "{shown:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_of_each_answer_in_time() {
        let patience = Duration::from_secs(30);
        let told = Cell::new(None::<Instant>);
        let count = Cell::new(0);
        let answers = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            true
        };
        let alive = || {
            let now = Instant::now();
            let before = told.replace(Some(now));
            assert!(before.is_none_or(|before| now - before < patience / 2));
            count.set(count.get() + 1);
        };
        let ten = patience * 10;
        assert!(timeout(ten, watch(patience, answers, alive)).await.is_err());
        assert_eq!(count.get(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_nothing_from_a_hub_that_hangs_or_is_gone() {
        let patience = Duration::from_secs(30);
        let alive = || panic!("nobody answered");
        let hangs = timeout(patience * 10, watch(patience, pending, alive));
        assert!(hangs.await.is_err(), "it still waits for the answer");
        watch(patience, async || false, alive).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_comes_to_its_end() {
        let long = async {
            tokio::time::sleep(BEAT * 10).await;
            7
        };
        assert_eq!(meanwhile("waiting", long).await, 7);
    }
}
