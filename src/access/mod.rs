//! Who gets in, who stays out, who keeps order.
//!
//! [`Guard`] decides at the door, carries out what operators order, and holds what everybody
//! online is measured by: a [`Snapshot`] of bans, mutes and the lockdown. Whenever that changes,
//! here or by another process on the same store, the hub is given the new one and ends the
//! sessions that may not be there any more.

mod admission;
mod carry_out;
pub mod door;
mod judge;
mod moderation;
pub mod orders;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use self::door::Candidate;
use self::judge::Alerts;
use self::orders::{Actor, Order, Report};
use crate::chat::access::{Ban, Lockdown, Mute, Role, Suspect};
use crate::chat::ids::{Fingerprint, Time};
use crate::clock;
use crate::hub::Handle;
use crate::store::{Account, Store, StoreError};
use crate::text::Text;

/// Who may come in without being let in by somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Anybody.
    Open,
    /// Registered keys only.
    Allowlist,
}

/// What an operator of the machine can set.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who may come in.
    pub mode: Mode,
    /// Keys whose owners are operators, whatever the store says.
    pub operator_keys: Vec<Fingerprint>,
    /// Whether a key without an invite may ask an operator.
    pub approval: bool,
    /// The page where keys are registered.
    pub web_url: Option<String>,
    /// How long an invite is good unless its maker says otherwise, in milliseconds.
    pub invite_life: u64,
}

/// Somebody who may begin a session.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Their account, if they have one.
    pub account: Option<Account>,
    /// Whether an account may be made for their key if it has none.
    pub may_be_new: bool,
}

/// What everybody online is measured by.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Who may not be here.
    pub bans: Vec<Ban>,
    /// Who may not speak.
    pub mutes: Vec<Mute>,
    /// Whether nobody new may come in.
    pub lockdown: Option<Lockdown>,
}

impl Snapshot {
    /// The ban that hits somebody, if one does.
    pub fn ban(&self, who: Suspect<'_>, now: Time) -> Option<&Ban> {
        self.bans
            .iter()
            .find(|ban| !ban.is_over(now) && ban.hits(who))
    }

    /// Whether nobody new may come in.
    pub fn locked(&self, now: Time) -> bool {
        self.lockdown
            .as_ref()
            .is_some_and(|lockdown| lockdown.until.is_none_or(|until| now < until))
    }

    /// When the first of all this ends.
    fn next_end(&self) -> Option<Time> {
        let bans = self.bans.iter().filter_map(|ban| ban.until);
        let mutes = self.mutes.iter().filter_map(|mute| mute.until);
        let lockdown = self.lockdown.iter().filter_map(|lockdown| lockdown.until);
        bans.chain(mutes).chain(lockdown).min()
    }
}

/// What sessions need of the one who decides.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Whether somebody may begin a session at this moment. A connection can be older than a ban,
    /// or than the loss of its key, so this is asked for each session, and again once it is
    /// attached: what changes after that ends it. The error is a sentence for them.
    async fn admit(&self, who: Candidate<'_>) -> Result<Admission, String>;

    /// Does what somebody orders, if they may. The error is a sentence for them.
    async fn carry_out(&self, actor: &Actor, order: Order) -> Result<Report, String>;

    /// The role of somebody with this key and account now.
    fn role(&self, stored: Role, key: Option<&Fingerprint>) -> Role;
}

/// The one who decides. One for the whole program.
pub struct Guard {
    store: Arc<dyn Store>,
    hub: Handle,
    rules: RwLock<Arc<Rules>>,
    snapshot: RwLock<Arc<Snapshot>>,
    revision: AtomicU64,
    alerts: Mutex<Alerts>,
    refreshing: tokio::sync::Mutex<()>,
}

impl Guard {
    /// Reads what is in the store, and enforces it from now on.
    pub async fn new(
        store: Arc<dyn Store>,
        hub: Handle,
        rules: Rules,
    ) -> Result<Guard, StoreError> {
        let guard = Guard {
            store,
            hub,
            rules: RwLock::new(Arc::new(rules)),
            snapshot: RwLock::default(),
            revision: AtomicU64::new(0),
            alerts: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
        };
        guard.refresh().await?;
        Ok(guard)
    }

    /// Other rules from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads bans, mutes and the lockdown again, and has the hub enforce them, and what became
    /// of keys and roles, on everybody who is online.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        // One at a time, or an older snapshot could take the place of a newer one.
        let _turn = self.refreshing.lock().await;
        let now = clock::now();
        // Read before the rest: a change in between is seen as one next time.
        let revision = self.store.revision().await?;
        let snapshot = Arc::new(Snapshot {
            bans: self.store.bans(now).await?,
            mutes: self.store.mutes(now).await?,
            lockdown: self.store.lockdown(now).await?,
        });
        *self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        self.enforce(&snapshot, now).await?;
        // Only now: what could not be enforced is tried again by the watch.
        self.revision.store(revision, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the sessions of those who may not be here any more, and tells the hub who may do
    /// what.
    async fn enforce(&self, snapshot: &Snapshot, now: Time) -> Result<(), StoreError> {
        self.hub.set_mutes(snapshot.mutes.clone()).await;
        for online in self.hub.online().await {
            let who = Suspect {
                account: Some(online.account),
                key: online.key.as_ref(),
                addr: online.addr,
                client: &online.client,
            };
            if let Some(ban) = snapshot.ban(who, now) {
                self.hub.dismiss(online.session, banned(ban, now)).await;
                continue;
            }
            let Some(key) = &online.key else {
                continue;
            };
            match self.store.account_by_key(key).await? {
                Some(account) if account.id == online.account => {
                    let role = self.role(account.role, Some(key));
                    if role != online.role {
                        self.hub.set_role(online.account, role).await;
                    }
                }
                _ => {
                    let reason = "This key does not belong to your account any more.";
                    self.hub.dismiss(online.session, Text::stored(reason)).await;
                }
            }
        }
        Ok(())
    }

    /// Watches the store for changes by others, for ever: what is revoked elsewhere ends here
    /// within about `every`.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut failing = false;
        loop {
            tokio::time::sleep(every).await;
            let over = self
                .snapshot()
                .next_end()
                .is_some_and(|end| end <= clock::now());
            let result = match self.store.revision().await {
                Ok(revision) if !over && revision == self.revision.load(Ordering::Relaxed) => {
                    Ok(())
                }
                Ok(_) => self.refresh().await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(
                        event = "access_unknown",
                        %error,
                        "bans and revoked keys can't be read; what was known before holds"
                    );
                }
                Err(_) => {}
            }
        }
    }
}

/// What somebody is told whom a ban hits.
fn banned(ban: &Ban, now: Time) -> Text {
    let until = match ban.until {
        Some(until) => format!(" for {}", length(until.since(now))),
        None => String::new(),
    };
    let reason = match &ban.reason {
        Some(reason) => format!(": {reason}"),
        None => ".".to_owned(),
    };
    Text::stored(&format!("You are banned here{until}{reason}"))
}

/// A length of time in words.
fn length(millis: u64) -> String {
    let minutes = millis.div_ceil(60_000);
    match minutes {
        0..=1 => "a minute".to_owned(),
        2..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}
