//! systemd: socket activation (`sd_listen_fds(3)`) and notifications (`sd_notify(3)`).
//!
//! If systemd didn't start the process, there are no sockets, and notifications do nothing.

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

/// The socket's `FileDescriptorName=`.
const SOCKET_NAME: &str = "ssh";
/// The unit with the listening socket.
const SOCKET_UNIT: &str = "ssh-chat.socket";

/// How often a long operation extends its timeout.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// How far each extension moves the timeout.
const EXTEND_BY: Duration = Duration::from_secs(30);

/// The sockets that systemd opened for the server, with their addresses.
///
/// Takes them out of the environment: call it once, before any thread starts.
pub(super) fn sockets() -> Result<Vec<(TcpListener, SocketAddr)>> {
    let environment = Environment::of_process();
    let names = environment.get("LISTEN_FDNAMES");
    let mut passed = ListenFd::from_env();
    check_names(names.unwrap_or_default(), passed.len())?;
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let listener = passed
            .take_tcp_listener(index)
            .context("systemd passed a file descriptor that isn't a TCP socket")?;
        if let Some(listener) = listener {
            let address = listener
                .local_addr()
                .context("can't get the address of a socket from systemd")?;
            sockets.push((listener, address));
        }
    }
    Ok(sockets)
}

/// Checks that each socket is meant for the server: clients of any other would wait forever.
/// Sockets without names are accepted.
fn check_names(names: &str, count: usize) -> Result<()> {
    let others = names.split(':').filter(|name| !name.is_empty());
    match others.take(count).find(|name| *name != SOCKET_NAME) {
        Some(other) => bail!(
            "systemd passed an unknown socket named {other:?}: set FileDescriptorName={SOCKET_NAME} \
             in the socket unit, or remove the socket"
        ),
        None => Ok(()),
    }
}

/// The addresses on which systemd listens for the server. Empty without systemd, or if it can't be
/// queried.
pub(super) fn listening() -> Vec<SocketAddr> {
    if !sd_notify::booted().unwrap_or(false) {
        return Vec::new();
    }
    let shown = Command::new("systemctl")
        .args(["show", "--property=ActiveState,Listen", SOCKET_UNIT])
        .output();
    shown.map_or_else(
        |_| Vec::new(),
        |shown| parse_addresses(&String::from_utf8_lossy(&shown.stdout)),
    )
}

/// Parses the addresses of an active socket unit from the output of `systemctl show`.
fn parse_addresses(shown: &str) -> Vec<SocketAddr> {
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

/// Clients can connect.
pub(super) fn ready(addresses: &[SocketAddr]) {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let status = format!("listening on {}", list.join(", "));
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The configuration is being reloaded. [`reloaded`] must follow.
pub(super) fn reloading() {
    let mut state = vec![NotifyState::Reloading];
    // Required by Type=notify-reload, ignored otherwise.
    state.extend(NotifyState::monotonic_usec_now());
    notify(&state);
}

/// The reload is complete, with this status.
pub(super) fn reloaded(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Updates the status of the running server.
pub(super) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// The server is shutting down.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// The server ends with this error. systemd shows its first line.
pub(super) fn failed(error: &str) {
    notify(&[NotifyState::Status(
        error.lines().next().unwrap_or_default(),
    )]);
}

/// Awaits an operation that may exceed systemd's timeout, extending that, with a status. The
/// operation needs a timeout of its own.
pub(super) async fn extend_timeout<T>(status: &str, work: impl Future<Output = T>) -> T {
    let micros = u32::try_from(EXTEND_BY.as_micros()).unwrap_or(u32::MAX);
    let extend = NotifyState::ExtendTimeoutUsec(micros);
    notify(&[NotifyState::Status(status), extend.clone()]);
    let mut ticks = interval_at(Instant::now() + EXTEND_EVERY, EXTEND_EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => notify(slice::from_ref(&extend)),
        }
    }
}

/// Notifies systemd's watchdog, if it's enabled, as long as the hub responds. The task holds a
/// handle of the hub: abort it, or the hub doesn't end.
pub(super) fn watchdog(hub: Handle) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Some(timeout) = sd_notify::watchdog_enabled() {
            let responds = || {
                let hub = hub.clone();
                async move { hub.ping().await.is_ok() }
            };
            feed_watchdog(timeout, responds, || notify(&[NotifyState::Watchdog])).await;
        }
    })
}

/// Checks three times within the watchdog's timeout, and feeds it after each success. Returns when
/// a check fails.
async fn feed_watchdog<Response: Future<Output = bool>>(
    timeout: Duration,
    responds: impl Fn() -> Response,
    feed: impl Fn(),
) {
    let mut interval = interval((timeout / 3).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if !responds().await {
            return;
        }
        feed();
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(event = "systemd_unreachable", %error, "can't notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn sockets_with_another_name_are_refused() {
        for (names, count, right) in [
            ("", 0, true),
            ("", 2, true),
            ("ssh", 1, true),
            ("ssh:ssh", 2, true),
            ("ssh:web", 2, false),
            ("ssh-chat.socket", 1, false),
            // Left over from another process's environment.
            ("web", 0, true),
        ] {
            assert_eq!(
                check_names(names, count).is_ok(),
                right,
                "{names:?} {count}"
            );
        }
    }

    #[test]
    fn the_socket_units_addresses_are_parsed() {
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
            assert_eq!(parse_addresses(shown), expected, "{shown:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_in_time() {
        let limit = Duration::from_secs(30);
        let last = Cell::new(None::<Instant>);
        let count = Cell::new(0);
        let responds = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            true
        };
        let feed = || {
            let now = Instant::now();
            let before = last.replace(Some(now));
            assert!(before.is_none_or(|before| now - before < limit / 2));
            count.set(count.get() + 1);
        };
        let ten = limit * 10;
        let watchdog = timeout(ten, feed_watchdog(limit, responds, feed));
        assert!(watchdog.await.is_err());
        assert_eq!(count.get(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_hangs_or_ended_feeds_no_watchdog() {
        let limit = Duration::from_secs(30);
        let feed = || panic!("fed without a response");
        let hangs = timeout(limit * 10, feed_watchdog(limit, pending, feed));
        assert!(hangs.await.is_err(), "it still waits for the response");
        feed_watchdog(limit, async || false, feed).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_operation_completes() {
        let long = async {
            tokio::time::sleep(EXTEND_EVERY * 10).await;
            7
        };
        assert_eq!(extend_timeout("waiting", long).await, 7);
    }
}
