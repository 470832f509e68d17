//! The only module that reads the clocks. Pure modules get the time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::chat::ids::{Now, Time};

/// The wall-clock time, for what is shown, stored, or compared across machines.
pub fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The monotonic time, for measuring durations. It's tokio's, so that it agrees with timers and with
/// tests that pause them.
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Both times.
pub fn both() -> Now {
    Now {
        wall: now(),
        mono: monotonic(),
    }
}
