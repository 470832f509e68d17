//! Supervision of essential tasks. When one of them ends, the server shuts down and exits with an
//! error, so that systemd restarts it: half a server would look healthy, but not enforce bans, or
//! lose messages.
//!
//! Essential are the hub, the access watch, the disk space watch and every listener. Not essential,
//! though a panic is logged all the same (`panicked`):
//!
//! - connections and sessions: one that panics ends alone;
//! - the store's threads: a job that panics fails alone, and its thread continues;
//! - the watchdog: without its notifications, systemd restarts the process anyway;
//! - the metrics reporter: the chat works without it, and a missing heartbeat raises an alarm;
//! - publishing the host key: it happens once, and clients can connect without it.

use std::collections::HashMap;
use std::future::{Future, pending};

use tokio::task::{Id, JoinSet};

/// The running essential tasks. Dropping it aborts them.
///
/// [`spawn`](Supervisor::spawn) each task, then wait for [`failed`](Supervisor::failed) next to the
/// signals that stop the server. Finally call [`shutdown`](Supervisor::shutdown), which aborts the
/// tasks, or tell them to stop and wait until they have [`finished`](Supervisor::finished).
#[derive(Default)]
pub(super) struct Supervisor {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Starts a task that must run as long as the server.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until a task ends, logs that, and returns an error message. Doesn't return while all
    /// tasks run. Cancel-safe.
    pub(super) async fn failed(&mut self) -> String {
        let (id, error) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, "it returned".to_owned()),
            Some(Err(error)) => (error.id(), error.to_string()),
            None => return pending().await,
        };
        let task = self.names.get(&id).copied().unwrap_or_default();
        tracing::error!(
            event = "task_failed",
            task,
            error,
            "essential task ended; shutting down"
        );
        format!("internal error: the {task} ended: {error}")
    }

    /// Waits until all tasks have ended.
    pub(super) async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Aborts the tasks and waits until they have ended.
    pub(super) async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_task_that_ends_is_reported() {
        let cases = [
            (true, "panicked with message \"out of cheese\""),
            (false, "it returned"),
        ];
        for (panics, why) in cases {
            let mut tasks = Supervisor::default();
            tasks.spawn("hub", pending());
            // Nothing has failed yet, and cancelling the wait loses nothing.
            let nothing = timeout(Duration::from_secs(60), tasks.failed()).await;
            assert!(nothing.is_err(), "{nothing:?}");
            tasks.spawn("watch", async move {
                assert!(!panics, "out of cheese");
            });
            let failure = tasks.failed().await;
            assert!(
                failure.starts_with("internal error: the watch ended: "),
                "{failure}"
            );
            assert!(failure.contains(why), "{failure}");
            tasks.shutdown().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_tasks_has_not_failed() {
        let mut tasks = Supervisor::default();
        let nothing = timeout(Duration::from_secs(60), tasks.failed()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
}
