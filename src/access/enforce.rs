//! What changed, here or elsewhere, is read and holds for everybody who is online.
//!
//! Nobody slips through: who is attached before [`AccessControl::refresh`] looks who is online is found by
//! it, and who is attached later finds that what is known was replaced since they were admitted,
//! and is admitted once more, by what it has read.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::key_index::KeyIndex;
use super::{AccessControl, AdminService as _, Snapshot, banned};
use crate::chat::access::BanSubject;
use crate::chat::ids::{SessionId, Time};
use crate::clock;
use crate::rate_limit::{Quota, RateLimiter};
use crate::store::StoreError;
use crate::text::Text;

/// How often accounts that nobody proved to be theirs are looked for.
const SWEEPS: Quota = Quota::every(Duration::from_secs(60), 1);

const NOT_YOURS: &str = "This key does not belong to your account any more.";

impl AccessControl {
    /// Reads bans, mutes, the lockdown and the keys again, and has the hub enforce them on
    /// everybody who is online.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        // One at a time, or an older snapshot could take the place of a newer one.
        let _turn = self.refreshing.lock().await;
        let now = clock::now();
        let asked = self.known.asks();
        let online = self.hub.online().await;
        let before = online.iter().map(|online| online.session).collect();
        // Read before the rest: a change in between is seen as one next time.
        let revision = self.store.revision().await?;
        let snapshot = Arc::new(Snapshot {
            bans: self.store.bans(now).await?,
            mutes: self.store.mutes(now).await?,
            lockdown: self.store.lockdown(now).await?,
            read: now,
        });
        let all = self.store.accounts_with_keys().await?;
        let owners: Arc<KeyIndex> = Arc::new(all.into_iter().flatten().collect());
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        let replaced = self.known.replace(Arc::clone(&owners), revision, asked);
        self.enforce(&snapshot, &owners, &before, now).await?;
        // Only now: what could not be enforced is tried again by the watch.
        self.known.enforced(replaced);
        self.outage.ended();
        Ok(())
    }

    /// Ends the sessions of those who may not be here any more, and tells the hub who may do
    /// what. `before` are the sessions from before the keys were read.
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
            let who = BanSubject {
                account: Some(online.account),
                key: online.key.as_ref(),
                addr: online.addr,
                client: &online.client,
                configured: online.key.as_ref().is_some_and(|key| rules.names(key)),
            };
            if let Some(ban) = snapshot.ban(who, now) {
                self.hub.dismiss(online.session, banned(ban, now)).await;
                continue;
            }
            let Some(key) = &online.key else {
                if let Some(reason) = &no_guests {
                    self.hub.dismiss(online.session, reason.clone()).await;
                }
                continue;
            };
            let mut owner = owners.get(key);
            // Who came while the keys were read may have a key that is newer than that.
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
                    let reason = Text::stored(NOT_YOURS);
                    self.hub.dismiss(online.session, reason).await;
                }
            }
        }
        enforced
    }

    /// Watches the store for changes by others, for ever: what is revoked elsewhere ends here
    /// within about `every`. It also tells operators of keys that asked meanwhile, and confirms what is known, for the time when the store does not
    /// answer. And it forgets accounts that nobody proved to be theirs.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut sweeps = RateLimiter::default();
        loop {
            tokio::time::sleep(every).await;
            if sweeps.take(SWEEPS, clock::monotonic()).is_ok() {
                // What is left for lack of an answer goes next time.
                let _later = self.forget_unproven(clock::now()).await;
            }
            self.tell_news().await;
            match self.look_again().await {
                Ok(()) => self.outage.ended(),
                Err(error) => {
                    self.outage.failed(&error);
                    if !self.known.is_good(self.rules().outage_logins) {
                        self.outage.closed();
                    }
                }
            }
        }
    }

    async fn look_again(&self) -> Result<(), StoreError> {
        let asked = self.known.asks();
        let revision = self.store.revision().await?;
        let holds = self.known.holds(revision, asked);
        if holds && !self.snapshot().is_outdated(clock::now()) {
            return Ok(());
        }
        self.refresh().await
    }
}
