//! What operators hear of keys that ask to come in: one line at once, and then one for all that
//! asked meanwhile, at most each minute.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::AccessControl;
use crate::chat::access::PendingKey;
use crate::clock;
use crate::rate_limit::{Quota, RateLimiter};
use crate::text::Text;

/// How often operators hear of keys.
const LINES: Quota = Quota::every(Duration::from_secs(60), 1);

/// Keys that asked since the last line about them.
#[derive(Debug, Default)]
pub(super) struct PendingNews {
    lines: RateLimiter,
    count: usize,
    last: Option<PendingKey>,
}

impl PendingNews {
    /// A key asks.
    fn add(&mut self, pending: PendingKey) {
        self.count += 1;
        self.last = Some(pending);
    }

    /// The line that is due, if one is.
    fn line(&mut self, now: Instant) -> Option<String> {
        self.last.as_ref()?;
        self.lines.take(LINES, now).ok()?;
        let count = std::mem::take(&mut self.count);
        let PendingKey {
            key, name, from, ..
        } = self.last.take()?;
        Some(if count == 1 {
            let key = key.fingerprint;
            format!(
                "{name} asks to come in with the key {key} from {from}. \
                 /approve {name} or /deny {name}"
            )
        } else {
            format!("{count} keys ask to come in, the last as {name} from {from}: /pending")
        })
    }
}

impl AccessControl {
    /// Has operators hear of a key, now or soon.
    pub(super) async fn news(&self, pending: PendingKey) {
        self.lock_news().add(pending);
        self.tell_news().await;
    }

    /// Tells operators of the keys that they have yet to hear of, if it is time.
    pub(super) async fn tell_news(&self) {
        let line = self.lock_news().line(clock::monotonic());
        if let Some(line) = line {
            self.hub.notify_operators(Text::stored(&line)).await;
        }
    }

    fn lock_news(&self) -> MutexGuard<'_, PendingNews> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::access::KeyRecord;
    use crate::chat::ids::{Fingerprint, Name, Time};

    fn pending(who: &str) -> PendingKey {
        PendingKey {
            key: KeyRecord {
                fingerprint: Fingerprint::new("SHA256:x"),
                algorithm: Text::stored_line("ssh-ed25519"),
                comment: Text::stored(""),
                added: Time(0),
            },
            name: Name::new(who).unwrap(),
            from: "203.0.113.7".parse().unwrap(),
            at: Time(0),
        }
    }

    #[test]
    fn many_keys_make_one_line_a_minute() {
        let start = Instant::now();
        let mut news = PendingNews::default();
        let mut heard = Vec::new();
        // (second, who asks)
        for (second, asks) in [
            (0, Some("bob")),
            (1, Some("carol")),
            (2, Some("dave")),
            (59, None),
            (60, None),
            (61, None),
            (119, Some("erin")),
            (120, None),
            (500, None),
            (501, Some("frank")),
        ] {
            if let Some(who) = asks {
                news.add(pending(who));
            }
            let line = news.line(start + Duration::from_secs(second));
            heard.extend(line.map(|line| (second, line)));
        }
        let one = |who| {
            format!(
                "{who} asks to come in with the key SHA256:x from 203.0.113.7. \
                 /approve {who} or /deny {who}"
            )
        };
        let two = "2 keys ask to come in, the last as dave from 203.0.113.7: /pending";
        let expected = [
            (0, one("bob")),
            (60, two.to_owned()),
            (120, one("erin")),
            (501, one("frank")),
        ];
        assert_eq!(heard, expected);
    }
}
