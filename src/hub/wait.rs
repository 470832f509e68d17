//! Waiting for what may not be there: branches of the hub's loop and of each session's.

use std::future::Future;
use std::time::Instant;

/// Waits for a future that may not be there; for ever if it isn't.
pub(crate) async fn maybe<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever if there is none.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
