//! Keeps access control in step with the store: reads what changed, here or in another process, and
//! enforces it on everyone who is online.
//!
//! No session slips through. One that is attached before [`AccessControl::refresh`] lists the
//! sessions is checked by it; one that is attached later sees that the key cache's generation has
//! changed since it was admitted, and is admitted again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key_cache::KeyIndex;
use super::{AccessControl, AdminService as _, Snapshot, ban_notice};
use crate::chat::access::BanSubject;
use crate::chat::ids::{SessionId, Time};
use crate::clock;
use crate::rate_limit::{Quota, RateLimiter};
use crate::store::{Account, StoreError};
use crate::text::Text;

/// How often accounts that were not proven in time are deleted.
const SWEEP_RATE: Quota = Quota::every(Duration::from_secs(60), 1);

const KEY_REVOKED: &str = "Your key no longer belongs to your account.";

impl AccessControl {
    /// Reads the bans, mutes, lockdown and keys, and has the hub enforce them on everyone online.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        // One at a time, or an older snapshot could replace a newer one.
        let _turn = self.refreshing.lock().await;
        let now = clock::now();
        let stamp = self.keys.stamp();
        let online = self.hub.online().await;
        let before = online.iter().map(|online| online.session).collect();
        // Read first: a change during the other reads shows as a new revision next time.
        let revision = self.store.revision().await?;
        let snapshot = Arc::new(Snapshot {
            bans: self.store.bans(now).await?,
            mutes: self.store.mutes(now).await?,
            lockdown: self.store.lockdown(now).await?,
            read: now,
        });
        let accounts = self.store.accounts_with_keys().await?;
        let owners: Arc<KeyIndex> = Arc::new(accounts.into_iter().flatten().collect());
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        let replaced = self.keys.replace(Arc::clone(&owners), revision, stamp);
        self.enforce(&snapshot, &owners, &before, now).await?;
        // Only now, so that a failed attempt is repeated.
        self.keys.mark_enforced(replaced);
        self.outage.ended();
        Ok(())
    }

    /// Dismisses sessions that may no longer be online, and updates roles and mutes. `before` are
    /// the sessions from before the keys were read.
    async fn enforce(
        &self,
        snapshot: &Snapshot,
        owners: &KeyIndex,
        before: &HashSet<SessionId>,
        now: Time,
    ) -> Result<(), StoreError> {
        self.hub.set_mutes(snapshot.mutes.clone()).await;
        let no_guests = snapshot.no_guests(now);
        let mut enforced = Ok(());
        let rules = self.rules();
        for online in self.hub.online().await {
            let key = online.key.as_ref();
            let configured = key.is_some_and(|key| rules.has_operator_key(key));
            if let Some(ban) = snapshot.ban(BanSubject::online(&online, configured), now) {
                let notice = ban_notice(ban, now);
                self.hub.dismiss(online.session, notice).await;
                continue;
            }
            let Some(key) = key else {
                if let Some(reason) = &no_guests {
                    self.hub.dismiss(online.session, reason.clone()).await;
                }
                continue;
            };
            let mut owner = owners.get(key);
            // The key of a session that was attached during the reads may be newer than them.
            if owner.is_none() && !before.contains(&online.session) {
                if enforced.is_err() {
                    continue;
                }
                match self.store.account_by_key(key).await {
                    Ok(found) => owner = found,
                    Err(error) => {
                        enforced = Err(error);
                        continue;
                    }
                }
            }
            match owner {
                Some(account) if account.id == online.account => {
                    let role = self.role(account.role, Some(key));
                    if role != online.role {
                        self.hub.set_role(online.account, role).await;
                    }
                }
                _ => {
                    let reason = Text::stored(KEY_REVOKED);
                    self.hub.dismiss(online.session, reason).await;
                }
            }
        }
        enforced
    }

    /// Watches the store for changes by other processes, forever. What was revoked elsewhere ends
    /// here within about `every`. Also sends notices about pending keys that are due, and deletes
    /// accounts that were not proven in time.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut sweeps = RateLimiter::default();
        loop {
            tokio::time::sleep(every).await;
            if sweeps.take(SWEEP_RATE, clock::monotonic()).is_ok() {
                // If the store doesn't answer, the next sweep deletes them.
                let _retried = self.delete_all_forfeit(clock::now()).await;
            }
            self.send_pending_notice().await;
            match self.refresh_if_changed().await {
                Ok(()) => self.outage.ended(),
                Err(error) => {
                    self.outage.failed(&error);
                    if !self.keys.is_usable(self.rules().outage_logins) {
                        self.outage.logins_ended();
                    }
                }
            }
        }
    }

    async fn refresh_if_changed(&self) -> Result<(), StoreError> {
        let stamp = self.keys.stamp();
        let revision = self.store.revision().await?;
        let is_current = self.keys.confirm(revision, stamp);
        if is_current && !self.snapshot().is_outdated(clock::now()) {
            return Ok(());
        }
        self.refresh().await
    }
}

/// Tracks outages of the store, and logs each one's beginning and end once, however many logins
/// happen meanwhile.
#[derive(Default)]
pub(super) struct Outage(Mutex<Option<CurrentOutage>>);

struct CurrentOutage {
    since: Instant,
    /// How many logins the key cache allowed.
    logins: u64,
    /// Whether the key cache can't be used any more.
    logins_ended: bool,
}

impl Outage {
    fn lock(&self) -> MutexGuard<'_, Option<CurrentOutage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store failed, and has not been read successfully since.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Records a failure of the store.
    pub fn failed(&self, error: &StoreError) {
        self.lock().get_or_insert_with(|| {
            tracing::error!(
                event = "access_unknown",
                %error,
                "store unavailable: keys and bans can't be read; using the key cache for now"
            );
            CurrentOutage {
                since: Instant::now(),
                logins: 0,
                logins_ended: false,
            }
        });
    }

    /// Records a login by the key cache.
    pub fn logged_in(&self, account: &Account) {
        let mut outage = self.lock();
        let Some(current) = &mut *outage else {
            return;
        };
        current.logins += 1;
        let (name, account) = (account.name.as_str(), account.id);
        if current.logins == 1 {
            tracing::warn!(event = "login_from_snapshot", %account, name, "login allowed by the key cache; further ones are logged at debug level until the store answers");
        } else {
            tracing::debug!(event = "login_from_snapshot", %account, name, "login allowed by the key cache");
        }
    }

    /// Records that the key cache can't be used any more.
    pub fn logins_ended(&self) {
        let mut outage = self.lock();
        if let Some(current) = &mut *outage
            && !std::mem::replace(&mut current.logins_ended, true)
        {
            tracing::error!(
                event = "access_closed",
                seconds = current.since.elapsed().as_secs(),
                logins = current.logins,
                "key cache expired or outdated: logins refused until the store answers"
            );
        }
    }

    /// Records that everything was read again.
    pub fn ended(&self) {
        if let Some(current) = self.lock().take() {
            tracing::info!(
                event = "access_known_again",
                seconds = current.since.elapsed().as_secs(),
                logins = current.logins,
                "store available again: keys and bans are current"
            );
        }
    }
}
