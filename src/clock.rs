//! The place that reads the clocks. Everything pure gets the time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::chat::ids::{Now, Time};

/// The wall time: for what is shown, stored, or compared across machines.
pub fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The monotonic time: for everything that measures a duration. It is the runtime's, so that
/// timers and tests that pause it agree with it.
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Both.
pub fn both() -> Now {
    Now {
        wall: now(),
        mono: monotonic(),
    }
}
