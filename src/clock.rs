//! The one place that reads the wall clock. Everything pure gets the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::chat::ids::Time;

/// Now.
pub fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
