//! Notices to operators: of logins with an unknown key under an account's name, and of keys that
//! wait for approval.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::AccessControl;
use super::authenticator::AuthRequest;
use crate::chat::access::PendingKey;
use crate::chat::ids::Name;
use crate::clock;
use crate::rate_limit::{Quota, RateLimiter};
use crate::text::Text;

/// The rate of alerts about one name.
pub(super) const ALERT_RATE: Quota = Quota::every(Duration::from_secs(600), 1);
/// How many names have a rate of their own; those beyond share one.
pub(super) const ALERT_NAMES: usize = 1_000;
/// How long the lookup of a name's owner may delay a login.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);
/// The rate of notices about pending keys.
const PENDING_RATE: Quota = Quota::every(Duration::from_secs(60), 1);

/// Pending keys that operators have not been notified of.
#[derive(Debug, Default)]
pub(super) struct PendingNotice {
    rate: RateLimiter,
    count: usize,
    last: Option<PendingKey>,
}

impl PendingNotice {
    fn add(&mut self, pending: PendingKey) {
        self.count += 1;
        self.last = Some(pending);
    }

    /// The notice that is due: about one key at once, then about all that followed, at most once a
    /// minute.
    fn take(&mut self, now: Instant) -> Option<String> {
        self.last.as_ref()?;
        self.rate.take(PENDING_RATE, now).ok()?;
        let count = std::mem::take(&mut self.count);
        let PendingKey {
            key, name, from, ..
        } = self.last.take()?;
        Some(if count == 1 {
            let key = key.fingerprint;
            format!(
                "{name} wants to join with the key {key} from {from}. /approve {name} or /deny {name}"
            )
        } else {
            format!(
                "{count} keys are waiting for approval, the last as {name} from {from}: /pending"
            )
        })
    }
}

impl AccessControl {
    /// Notifies operators of a pending key, now or soon.
    pub(super) async fn notify_pending(&self, pending: PendingKey) {
        self.pending_notice().add(pending);
        self.send_pending_notice().await;
    }

    /// Sends the notice about pending keys, if one is due.
    pub(super) async fn send_pending_notice(&self) {
        let notice = self.pending_notice().take(clock::monotonic());
        if let Some(notice) = notice {
            self.hub.notify_operators(Text::stored(&notice)).await;
        }
    }

    fn pending_notice(&self) -> MutexGuard<'_, PendingNotice> {
        self.pending_notice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Alerts operators if an unknown key came under the name of an account.
    pub(super) async fn alert_unknown_key(&self, who: AuthRequest<'_>) {
        let (Some(key), Ok(name)) = (who.key, Name::existing(who.user.as_str())) else {
            return;
        };
        let owner = timeout(ALERT_TIMEOUT, self.store.account_by_name(&name)).await;
        let Ok(Ok(Some(owner))) = owner else {
            return;
        };
        let due = self
            .alerts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(owner.name.clone(), clock::monotonic());
        if due.is_ok() {
            let (key, from) = (&key.fingerprint, who.addr.ip());
            tracing::warn!(event = "name_with_unknown_key", name = %owner.name, %key, addr = %from, "login with an unknown key under an account's name");
            let notice = format!(
                "Login with an unknown key as {name}, which belongs to {}: {key} from {from}",
                owner.name
            );
            self.hub.notify_operators(Text::stored(&notice)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::access::KeyRecord;
    use crate::chat::ids::{Fingerprint, Time};

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
    fn many_keys_make_one_notice_a_minute() {
        let start = Instant::now();
        let mut notice = PendingNotice::default();
        let mut sent = Vec::new();
        // (second, who requests approval)
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
                notice.add(pending(who));
            }
            let due = notice.take(start + Duration::from_secs(second));
            sent.extend(due.map(|text| (second, text)));
        }
        let one = |who| {
            format!(
                "{who} wants to join with the key SHA256:x from 203.0.113.7. \
                 /approve {who} or /deny {who}"
            )
        };
        let two = "2 keys are waiting for approval, the last as dave from 203.0.113.7: /pending";
        let expected = [
            (0, one("bob")),
            (60, two.to_owned()),
            (120, one("erin")),
            (501, one("frank")),
        ];
        assert_eq!(sent, expected);
    }
}
