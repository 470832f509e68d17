//! Whether the store answers, and what is logged of it: a line when it does not any more, and one
//! when it does again, however many ask meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::store::{Account, StoreError};

/// The time in which the store does not answer, if it is now.
#[derive(Default)]
pub(super) struct Outage(Mutex<Option<Current>>);

struct Current {
    since: Instant,
    /// How many logged in by what was known before.
    logins: u64,
    /// Whether nobody can any more.
    closed: bool,
}

impl Outage {
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store failed and was not found well since.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// The store did not do what it was asked.
    pub fn failed(&self, error: &StoreError) {
        self.lock().get_or_insert_with(|| {
            tracing::error!(
                event = "access_unknown",
                %error,
                "keys and bans can't be read; what was known before holds for a while"
            );
            Current {
                since: Instant::now(),
                logins: 0,
                closed: false,
            }
        });
    }

    /// Somebody logged in by what was known before.
    pub fn logged_in(&self, account: &Account) {
        let mut outage = self.lock();
        let Some(current) = &mut *outage else {
            return;
        };
        current.logins += 1;
        let (name, account) = (account.name.as_str(), account.id);
        if current.logins == 1 {
            tracing::warn!(event = "login_from_snapshot", %account, name, "somebody was let in by what was known before; so are others, until the store answers");
        } else {
            tracing::debug!(event = "login_from_snapshot", %account, name, "somebody was let in by what was known before");
        }
    }

    /// What was known before is too old by now.
    pub fn closed(&self) {
        let mut outage = self.lock();
        if let Some(current) = &mut *outage
            && !std::mem::replace(&mut current.closed, true)
        {
            tracing::error!(
                event = "access_closed",
                seconds = current.since.elapsed().as_secs(),
                logins = current.logins,
                "what was known of keys and bans is too old or outdated; nobody is let in until the store answers"
            );
        }
    }

    /// All is read again that had to be.
    pub fn ended(&self) {
        if let Some(current) = self.lock().take() {
            tracing::info!(
                event = "access_known_again",
                seconds = current.since.elapsed().as_secs(),
                logins = current.logins,
                "keys and bans are known again"
            );
        }
    }
}
