//! Who gets in, who stays out, who keeps order.
//!
//! [`AccessControl`] decides at the door, carries out what operators order, and holds what everybody
//! online is measured by: a [`Snapshot`] of bans, mutes and the lockdown, and whose the keys are.
//! Whenever that changes, here or by another process on the same store, the hub is given the new
//! one and ends the sessions that may not be there any more.
//!
//! Whose a key is, the store is asked at each login. While it does not answer, those whose keys
//! are known come in by what it said last, for a bounded time; nobody else does.

mod admission;
mod authenticate;
pub mod authenticator;
mod authority;
mod carry_out;
pub mod claims;
mod enforce;
mod key_cache;
mod key_index;
mod moderation;
mod news;
pub mod orders;
mod outage;
mod proof;
mod purge;
pub mod status;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::authenticator::{AuthRequest, AuthTicket, ClaimAnswer};
use self::key_cache::KeyCache;
use self::news::PendingNews;
use self::orders::{Order, Report, Requester};
use self::outage::Outage;
use crate::chat::access::{
    Ban, BanSubject, KeyRecord, Lockdown, LockdownScope, Mute, Role, length,
};
use crate::chat::ids::{Fingerprint, Name, Time};
use crate::hub::Handle;
use crate::rate_limit::{KeyedRateLimiter, TrustedNetworks};
use crate::store::{Account, AppliedChange, Change, ChangeError, ChangeOutcome, Store, StoreError};
use crate::text::Text;

/// How long the store may take to answer somebody at the door: less than the edge waits for us.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same while it is known not to answer.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How many orders can be carried out at the same time.
const ORDERS: usize = 1024;

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
    /// The lowest role that may claim keys for its account.
    pub add_keys: Role,
    /// Networks from which any number of keys may wait for an operator.
    pub trusted: TrustedNetworks,
    /// The page where keys are registered.
    pub web_url: Option<String>,
    /// How long an invite is good unless its maker says otherwise, in milliseconds.
    pub invite_life: u64,
    /// How long those whose keys are known come in while the store does not answer.
    pub outage_logins: Duration,
}

impl Rules {
    /// Whether they name a key, which makes its owner an operator.
    pub fn names(&self, key: &Fingerprint) -> bool {
        self.operator_keys.contains(key)
    }
}

/// Somebody who may begin a session.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Their account, if they have one; with `proof_by` if they proved only now that it is theirs.
    pub account: Option<Account>,
    /// Whether an account may be made for their key if it has none.
    pub may_be_new: bool,
}

/// Why somebody may not begin a session. The words are for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// They may not come in.
    #[error("{0}")]
    Refused(String),
    /// The store does not answer, and without it nobody knows whether they may.
    #[error("{}", authenticate::NOT_NOW)]
    NotNow,
}

/// What everybody online is measured by.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Who may not be here.
    pub bans: Vec<Ban>,
    /// Who may not speak.
    pub mutes: Vec<Mute>,
    /// Whether new people, or guests, may not come in.
    pub lockdown: Option<Lockdown>,
    /// When this was read; it lacks what was over then.
    pub read: Time,
}

impl Snapshot {
    /// The ban that hits somebody, if one does.
    pub fn ban(&self, who: BanSubject<'_>, now: Time) -> Option<&Ban> {
        self.bans
            .iter()
            .find(|ban| !ban.is_over(now) && ban.hits(who))
    }

    /// Whether nobody new may come in.
    pub fn locked(&self, now: Time) -> bool {
        self.current_lockdown(now)
            .is_some_and(|lockdown| lockdown.scope.is_everyone())
    }

    /// Why guests may neither come in nor stay, if they may not. The words are for them.
    pub fn no_guests(&self, now: Time) -> Option<Text> {
        let lockdown = self.current_lockdown(now)?;
        if lockdown.scope != LockdownScope::Guests {
            return None;
        }
        let time = match lockdown.until {
            Some(until) => format!("for {}", length(now.left_until(until))),
            None => "for now".to_owned(),
        };
        let words = format!(
            "Guests can't join {time}. Connect with an SSH key to get in (ssh-keygen makes one)."
        );
        Some(Text::stored(&words))
    }

    /// The lockdown that holds, if one does.
    pub fn current_lockdown(&self, now: Time) -> Option<&Lockdown> {
        self.lockdown
            .as_ref()
            .filter(|lockdown| lockdown.holds(now))
    }

    /// Whether the clock shows a time at which other bans hold than those that are here: one of
    /// them is over, or the clock stepped back and one that was over is not.
    fn is_outdated(&self, now: Time) -> bool {
        let bans = self.bans.iter().filter_map(|ban| ban.until);
        let mutes = self.mutes.iter().filter_map(|mute| mute.until);
        let lockdown = self.lockdown.iter().filter_map(|lockdown| lockdown.until);
        let mut ends = bans.chain(mutes).chain(lockdown);
        now < self.read || ends.any(|end| end <= now)
    }
}

/// What sessions need of the one who decides.
#[async_trait]
pub trait AdminService: Send + Sync {
    /// Another number whenever something was read that may end sessions.
    fn changes(&self) -> u64;

    /// Whether somebody may begin a session at this moment. A connection can be older than a ban,
    /// or than the loss of its key, so this is asked for each session, and again once it is
    /// attached if there were [`AdminService::changes`] meanwhile: what changes after that ends it.
    /// With a pass that is still fresh, the store is not asked whose the key is.
    async fn admit(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<Admission, NotAdmitted>;

    /// The names of the accounts that claim a key which is nobody's. None if that can't be found
    /// out now.
    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name>;

    /// Takes the answer of the owner of a claimed key: a name that was typed, or nothing.
    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer;

    /// Makes an account for somebody new, who is known from then on. If their name is taken,
    /// operators are told.
    async fn make_account(
        &self,
        who: AuthRequest<'_>,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<(), ChangeError>;

    /// Whether a guest without an account can be called this: nobody with an account is, as far
    /// as is known.
    async fn is_free(&self, name: &Name) -> bool;

    /// Does what somebody orders, if they may. The error is a sentence for them.
    /// Once begun it is completed, whether or not anybody waits for the answer.
    async fn carry_out(
        self: Arc<Self>,
        requester: Requester,
        order: Order,
    ) -> Result<Report, String>;

    /// The role of somebody with this key and account now.
    fn role(&self, stored: Role, key: Option<&Fingerprint>) -> Role;
}

/// The one who decides. One for the whole program.
pub struct AccessControl {
    store: Arc<dyn Store>,
    hub: Handle,
    rules: RwLock<Arc<Rules>>,
    snapshot: RwLock<Arc<Snapshot>>,
    known: KeyCache,
    outage: Outage,
    /// Alerts to operators, by the name that they are about.
    alerts: Mutex<KeyedRateLimiter<Name>>,
    /// The keys that operators have yet to hear of.
    news: Mutex<PendingNews>,
    refreshing: tokio::sync::Mutex<()>,
    /// One permit for each order that is carried out.
    permits: Arc<Semaphore>,
    /// Whether orders that take long are to end early.
    stopping: AtomicBool,
}

impl AccessControl {
    /// Reads what is in the store, and enforces it from now on.
    pub async fn new(
        store: Arc<dyn Store>,
        hub: Handle,
        rules: Rules,
    ) -> Result<AccessControl, StoreError> {
        let guard = AccessControl {
            store,
            hub,
            rules: RwLock::new(Arc::new(rules)),
            snapshot: RwLock::default(),
            known: KeyCache::default(),
            outage: Outage::default(),
            alerts: Mutex::new(KeyedRateLimiter::new(
                authenticate::ALERTS,
                authenticate::ALERTED,
            )),
            news: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            permits: Arc::new(Semaphore::new(ORDERS)),
            stopping: AtomicBool::new(false),
        };
        guard.refresh().await?;
        Ok(guard)
    }

    /// Other rules from now on. Who is online is measured by them when the watch looks next.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.known.enforce_again();
    }

    /// Whether the store answered when it was last asked about keys and bans, which the watch does
    /// all the time.
    pub fn store_answers(&self) -> bool {
        !self.outage.is_on()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Saves a change, and says so in the log once it is saved.
    async fn apply(&self, change: &Change) -> Result<ChangeOutcome, ChangeError> {
        Ok(log_applied(self.store.apply(change).await?))
    }

    /// Asks the store something that somebody waits for at the door. The error comes soon, and
    /// sooner while the store is known not to answer, so that a client may offer many keys.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let patience = if self.outage.is_on() {
            IMPATIENCE
        } else {
            PATIENCE
        };
        let answer = timeout(patience, question).await.unwrap_or_else(|_| {
            let words = format!("no answer within {patience:?}");
            Err(StoreError::Unavailable(words))
        });
        match &answer {
            // It answers: one record that makes no sense is no outage.
            Err(
                error
                @ (StoreError::Corrupt(_) | StoreError::Rejected(_) | StoreError::Internal(_)),
            ) => {
                tracing::error!(event = "lookup_failed", %error, "the store can't answer this");
            }
            // It answers, and refuses what is new.
            Ok(_) | Err(StoreError::AlmostFull) => {}
            Err(error) => self.outage.failed(error),
        }
        answer
    }
}

/// What somebody is told whom a ban hits.
fn banned(ban: &Ban, now: Time) -> Text {
    let until = match ban.until {
        Some(until) => format!(" for {}", length(now.left_until(until))),
        None => String::new(),
    };
    let reason = match &ban.reason {
        Some(reason) => format!(": {reason}"),
        None => ".".to_owned(),
    };
    Text::stored(&format!("You are banned here{until}{reason}"))
}

/// Says in the log what was saved.
fn log_applied(applied: AppliedChange) -> ChangeOutcome {
    if let Some(audit) = &applied.audit {
        tracing::info!(
            event = "audit",
            actor = %audit.actor,
            actor_kind = audit.actor.kind(),
            action = audit.action.as_str(),
            whom = audit.target.as_str(),
            detail = audit.detail.as_str(),
            "a change was made"
        );
    }
    applied.outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_outdated_when_a_step_of_the_clock_makes_it_so() {
        let lockdown = |until| Lockdown {
            scope: LockdownScope::default(),
            by: "alice".into(),
            until,
        };
        let snapshot = |until| Snapshot {
            lockdown: Some(lockdown(until)),
            read: Time(50),
            ..Snapshot::default()
        };
        // (its end, what the clock shows, whether it is outdated)
        for (until, now, outdated) in [
            (None, 50, false),
            (None, i64::MAX, false),
            (Some(Time(60)), 50, false),
            (Some(Time(60)), 59, false),
            (Some(Time(60)), 60, true),
            (Some(Time(60)), i64::MAX, true),
            // What had ended when it was read may not have ended now.
            (None, 49, true),
            (Some(Time(60)), 0, true),
        ] {
            let found = snapshot(until).is_outdated(Time(now));
            assert_eq!(found, outdated, "until {until:?} at {now}");
        }
    }
}
