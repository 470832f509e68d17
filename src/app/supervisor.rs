//! The tasks that the server can't do without. When one of them ends, the server stops and fails,
//! so that whatever started it starts it again: half a server would look healthy and let bans
//! pass, or lose messages.
//!
//! Essential are the hub, the access watch, the space watch and every listener. These are not, and a panic in one
//! of them is still in the log (`panicked`):
//!
//! - connections and sessions: one that panics ends alone;
//! - the store's threads: a job that panics fails alone, and its thread goes on;
//! - the watchdog: if systemd hears nothing from it, it restarts the process anyway;
//! - the metrics reporter: nobody's chat depends on it, and a missing heartbeat raises an alarm;
//! - the publisher of the host key: it runs once, and people connect without it.

use std::collections::HashMap;
use std::future::{Future, pending};

use tokio::task::{Id, JoinSet};

/// Essential tasks that run, by name. Dropping it aborts them.
#[derive(Default)]
pub(super) struct Supervisor {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Supervisor {
    /// Starts a task that must not end before the server does.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for the first task that ends, logs it, and returns a sentence about it. Never returns
    /// while all of them run. Cancel-safe.
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
            "an essential task ended; the server stops"
        );
        format!("internal error: the {task} ended: {error}")
    }

    /// Waits until all tasks have ended by themselves.
    pub(super) async fn finished(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Aborts the tasks that still run, and waits until they are gone.
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
    async fn the_first_task_that_ends_is_named_with_the_reason() {
        let cases = [
            (true, "panicked with message \"out of cheese\""),
            (false, "it returned"),
        ];
        for (panics, why) in cases {
            let mut tasks = Supervisor::default();
            tasks.spawn("hub", pending());
            // Nothing is wrong yet, and a wait that is given up loses nothing.
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
