//! A log line that must not become a flood.

use std::time::{Duration, Instant};

use crate::rate_limit::{Quota, RateLimiter};

/// How many lines of one kind there may be.
const LINES: Quota = Quota::every(Duration::from_secs(60), 1);

/// Lets one of many equal lines through per minute and counts the others.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    lines: RateLimiter,
    held_back: u64,
}

impl Seldom {
    /// Something happened. If a line is due, how many went without one since the last.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.lines.take(LINES, now).is_ok() {
            Some(std::mem::take(&mut self.held_back))
        } else {
            self.held_back = self.held_back.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_and_the_rest_counted() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        let steps = [
            (0, Some(0)),
            (1, None),
            (59, None),
            (60, Some(2)),
            (61, None),
            (200, Some(1)),
            (260, Some(0)),
        ];
        for (second, expected) in steps {
            let now = start + Duration::from_secs(second);
            assert_eq!(seldom.due(now), expected, "at {second} s");
        }
    }
}
