//! Access control: who can join, who is banned or muted, and who may order what.
//!
//! [`AccessControl`] decides on logins, executes operators' orders, and holds what everyone online
//! is checked against: a [`Snapshot`] of bans, mutes and the lockdown, and the cache of known keys.
//! When these change, here or in another process on the same store, it has the hub end the sessions
//! that may not stay.
//!
//! Each login queries the store for the key's owner. During an outage of the store, known keys can
//! log in by what it said last, for a limited time; nobody else can.
//!
//! Protocol: [`AccessControl::new`] reads the store; spawn [`AccessControl::watch`]. The SSH server
//! decides on logins through [`Authenticator`](authenticator::Authenticator). A session calls
//! [`AdminService::admit`] before it attaches to the hub, and again after that if
//! [`AdminService::changes`] has changed meanwhile; orders go through [`AdminService::execute`].
//! On shutdown, [`AccessControl::finish_orders`] waits for the orders in progress.

mod admission;
pub mod authenticator;
mod execute;
mod key_cache;
mod login;
mod moderation;
mod notify;
pub mod orders;
mod refresh;
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
use self::notify::PendingNotice;
use self::orders::{Order, OrderReply, Requester};
use self::refresh::Outage;
use crate::chat::access::{
    Ban, BanSubject, KeyRecord, Lockdown, LockdownScope, Mute, Role, length,
};
use crate::chat::ids::{Fingerprint, Name, Time};
use crate::hub::Handle;
use crate::rate_limit::{KeyedRateLimiter, TrustedNetworks};
use crate::store::{Account, AppliedChange, Change, ChangeError, ChangeOutcome, Store, StoreError};
use crate::text::Text;

/// How long a login waits for the store: less than the SSH server waits for the decision.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// The same during an outage.
const OUTAGE_QUERY_TIMEOUT: Duration = Duration::from_millis(500);
/// The most orders that are executed at the same time.
const MAX_ORDERS: usize = 1024;

/// Who can join without an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everyone.
    Open,
    /// Registered keys only.
    Allowlist,
}

/// The configured rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who can join without an invite.
    pub mode: Mode,
    /// Keys whose owners are operators, whatever the store says.
    pub operator_keys: Vec<Fingerprint>,
    /// Whether users without an invite can ask the operators for approval.
    pub approval: bool,
    /// The lowest role that can add keys to its account.
    pub add_keys: Role,
    /// Networks without a limit of pending keys.
    pub trusted: TrustedNetworks,
    /// The page where keys are registered.
    pub web_url: Option<String>,
    /// How long an invite is valid by default, in milliseconds.
    pub invite_life: u64,
    /// How long known keys can log in during an outage of the store.
    pub outage_logins: Duration,
}

impl Rules {
    /// Whether the configuration makes the key's owner an operator.
    pub fn has_operator_key(&self, key: &Fingerprint) -> bool {
        self.operator_keys.contains(key)
    }
}

/// The permission to begin a session.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The account, if there is one. If this login proved it, `proof_by` is still set.
    pub account: Option<Account>,
    /// Whether an account may be created for the key if it has none.
    pub may_be_new: bool,
}

/// Why a session may not begin. Displayed as a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It's refused.
    #[error("{0}")]
    Refused(String),
    /// The store doesn't answer.
    #[error("{}", login::UNAVAILABLE)]
    Unavailable,
}

/// The store doesn't answer, and the key cache can't replace it.
struct StoreUnavailable;

/// The bans, mutes and lockdown that everyone online is checked against.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The bans.
    pub bans: Vec<Ban>,
    /// The mutes.
    pub mutes: Vec<Mute>,
    /// The lockdown, if there is one.
    pub lockdown: Option<Lockdown>,
    /// When it was read. What had expired then is not in it.
    pub read: Time,
}

impl Snapshot {
    /// The first ban that matches.
    pub fn ban(&self, subject: BanSubject<'_>, now: Time) -> Option<&Ban> {
        self.bans
            .iter()
            .find(|ban| !ban.is_over(now) && ban.matches(subject))
    }

    /// Whether new users are blocked.
    pub fn locked(&self, now: Time) -> bool {
        self.current_lockdown(now)
            .is_some_and(|lockdown| lockdown.scope.is_everyone())
    }

    /// The notice to guests if they can neither join nor stay.
    pub fn no_guests(&self, now: Time) -> Option<Text> {
        let lockdown = self.current_lockdown(now)?;
        if lockdown.scope != LockdownScope::Guests {
            return None;
        }
        let time = match lockdown.until {
            Some(until) => format!("for {}", length(now.left_until(until))),
            None => "for now".to_owned(),
        };
        let notice = format!(
            "Guests can't join {time}. Connect with an SSH key to get in (ssh-keygen makes one)."
        );
        Some(Text::stored(&notice))
    }

    /// The lockdown, if it has not expired.
    pub fn current_lockdown(&self, now: Time) -> Option<&Lockdown> {
        self.lockdown
            .as_ref()
            .filter(|lockdown| lockdown.holds(now))
    }

    /// Whether the wall clock shows a time for which other entries are current: one has expired, or
    /// the clock stepped back, so that one that had expired has not.
    fn is_outdated(&self, now: Time) -> bool {
        let bans = self.bans.iter().filter_map(|ban| ban.until);
        let mutes = self.mutes.iter().filter_map(|mute| mute.until);
        let lockdown = self.lockdown.iter().filter_map(|lockdown| lockdown.until);
        let mut ends = bans.chain(mutes).chain(lockdown);
        now < self.read || ends.any(|end| end <= now)
    }
}

/// Access control as sessions use it.
#[async_trait]
pub trait AdminService: Send + Sync {
    /// A number that changes whenever something was read that may end sessions.
    fn changes(&self) -> u64;

    /// Whether a session may begin now. A connection can be older than a ban, or than the loss of
    /// its key, so this is called for each session, and again once it is attached if
    /// [`AdminService::changes`] has changed meanwhile. Later changes end the session. A fresh
    /// ticket saves the query to the store.
    async fn admit(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<Admission, NotAdmitted>;

    /// The names of the accounts that claim a key without an account. Empty if the store doesn't
    /// answer.
    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name>;

    /// Takes the answer of a claimed key's owner: a typed name, or nothing.
    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer;

    /// Creates an account. If the name is taken, operators are alerted.
    async fn create_account(
        &self,
        who: AuthRequest<'_>,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<(), ChangeError>;

    /// Whether a guest can have this name: no known account has it.
    async fn is_name_free(&self, name: &Name) -> bool;

    /// Executes an order, if the requester may give it. The error is a sentence for them. Once
    /// started, the order is completed even if the caller stops waiting.
    async fn execute(
        self: Arc<Self>,
        requester: Requester,
        order: Order,
    ) -> Result<OrderReply, String>;

    /// The current role of a user with this stored role and key.
    fn role(&self, stored: Role, key: Option<&Fingerprint>) -> Role;
}

/// Access control, once per process. The module documents the protocol.
pub struct AccessControl {
    store: Arc<dyn Store>,
    hub: Handle,
    rules: RwLock<Arc<Rules>>,
    snapshot: RwLock<Arc<Snapshot>>,
    keys: KeyCache,
    outage: Outage,
    /// The rates of alerts to operators, by the name they are about.
    alerts: Mutex<KeyedRateLimiter<Name>>,
    pending_notice: Mutex<PendingNotice>,
    refreshing: tokio::sync::Mutex<()>,
    /// A permit for each order in progress.
    permits: Arc<Semaphore>,
    /// Whether long orders must stop early.
    stopping: AtomicBool,
}

impl AccessControl {
    /// Reads the store, and enforces it from now on.
    pub async fn new(
        store: Arc<dyn Store>,
        hub: Handle,
        rules: Rules,
    ) -> Result<AccessControl, StoreError> {
        let access = AccessControl {
            store,
            hub,
            rules: RwLock::new(Arc::new(rules)),
            snapshot: RwLock::default(),
            keys: KeyCache::default(),
            outage: Outage::default(),
            alerts: Mutex::new(KeyedRateLimiter::new(
                notify::ALERT_RATE,
                notify::ALERT_NAMES,
            )),
            pending_notice: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_ORDERS)),
            stopping: AtomicBool::new(false),
        };
        access.refresh().await?;
        Ok(access)
    }

    /// Changes the rules. The watch enforces them on those online.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.keys.require_enforcement();
    }

    /// Whether the store answered the last query; the watch keeps this current.
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

    /// Saves a change, and logs it once it's saved.
    async fn apply(&self, change: &Change) -> Result<ChangeOutcome, ChangeError> {
        Ok(log_applied(self.store.apply(change).await?))
    }

    /// Awaits a query that a login waits for. Times out after 3 seconds; during an outage after
    /// half a second, so that a client can offer many keys.
    async fn query<T>(
        &self,
        query: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let limit = if self.outage.is_on() {
            OUTAGE_QUERY_TIMEOUT
        } else {
            QUERY_TIMEOUT
        };
        let answer = timeout(limit, query).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {limit:?}");
            Err(StoreError::Unavailable(reason))
        });
        match &answer {
            // The store answered: one corrupt record is not an outage.
            Err(
                error
                @ (StoreError::Corrupt(_) | StoreError::Rejected(_) | StoreError::Internal(_)),
            ) => {
                tracing::error!(event = "lookup_failed", %error, "store lookup failed");
            }
            // A store that is almost full still answers queries.
            Ok(_) | Err(StoreError::AlmostFull) => {}
            Err(error) => self.outage.failed(error),
        }
        answer
    }
}

/// The notice to a banned user.
fn ban_notice(ban: &Ban, now: Time) -> Text {
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

/// Logs an applied change.
fn log_applied(applied: AppliedChange) -> ChangeOutcome {
    if let Some(audit) = &applied.audit {
        tracing::info!(
            event = "audit",
            actor = %audit.actor,
            actor_kind = audit.actor.kind(),
            action = audit.action.as_str(),
            subject = audit.target.as_str(),
            detail = audit.detail.as_str(),
            "access changed"
        );
    }
    applied.outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_outdated_when_the_clock_steps() {
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
            // What had expired when it was read may not have expired now.
            (None, 49, true),
            (Some(Time(60)), 0, true),
        ] {
            let found = snapshot(until).is_outdated(Time(now));
            assert_eq!(found, outdated, "until {until:?} at {now}");
        }
    }
}
