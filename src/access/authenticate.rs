//! At the door.

use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::timeout;

use super::key_cache::QueryStamp;
use super::{AccessControl, Mode, Snapshot, banned};
use crate::access::authenticator::{
    AuthDecision, AuthRequest, AuthTicket, Authenticator, ClaimAnswer, InviteRejected, ProvenKey,
    RefusalReason, RetryPrompt,
};
use crate::chat::access::{BanSubject, KeyRecord, PendingKey, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::chat::invite::Code;
use crate::clock;
use crate::rate_limit::Quota;
use crate::store::{Account, Action, Change, ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// How often operators are alerted about one name.
pub(super) const ALERTS: Quota = Quota::every(Duration::from_secs(600), 1);
/// How many keys from one source can wait for an operator.
const WAITING_PER_SOURCE: usize = 5;
/// How long it may take to find out whom a name belongs to.
const ALERT_PATIENCE: Duration = Duration::from_secs(1);
/// How many names have alerts of their own; those beyond share one.
pub(super) const ALERTED: usize = 1_000;

const ALMOST_FULL: &str =
    "No account can be made now: the server's disk is almost full. Your invite was not used.";
pub(super) const NOT_NOW: &str =
    "The server can't look up your key at this moment. Try again in a minute.";
const LOCKED: &str =
    "Nobody new is let in for the time being. Try again later, or ask an operator.";
const BAD_CODE: &str = "Invalid invite code: mistyped, already used or expired.";
const NO_CODE: &str = "Without a code nobody comes in. Ask an operator for an invite.";

/// The store does not answer, and without it nobody knows what to do.
pub(super) struct NotNow;

/// Whose a key is.
pub(super) enum Owner {
    /// Nobody's, or there is no key.
    None,
    /// The store says so.
    Told(Account),
    /// The store said so before, and does not answer now.
    Remembered(Account),
    /// The store does not answer, and it is not known well enough.
    Unknowable,
}

impl Owner {
    /// The account, if it is known.
    pub fn into_account(self) -> Option<Account> {
        match self {
            Owner::Told(account) | Owner::Remembered(account) => Some(account),
            Owner::None | Owner::Unknowable => None,
        }
    }

    fn account(&self) -> Option<&Account> {
        match self {
            Owner::Told(account) | Owner::Remembered(account) => Some(account),
            Owner::None | Owner::Unknowable => None,
        }
    }
}

/// What is to be done with somebody, and who they are.
pub(super) struct Looked {
    pub decision: AuthDecision,
    owner: Owner,
}

impl Looked {
    /// Their account, if they have one.
    pub fn into_account(self) -> Option<Account> {
        self.owner.into_account()
    }

    /// The account that lets them in although the store does not answer.
    fn remembered(&self) -> Option<&Account> {
        match (&self.decision, &self.owner) {
            (AuthDecision::Accepted(_), Owner::Remembered(account)) => Some(account),
            _ => None,
        }
    }
}

impl Authenticator for AccessControl {
    fn serves(&self, addr: IpAddr) -> bool {
        let who = BanSubject {
            account: None,
            key: None,
            addr,
            client: &Text::default(),
            // Who they are, nobody knows yet.
            configured: false,
        };
        self.snapshot().ban(who, clock::now()).is_none()
    }

    async fn judge(&self, who: AuthRequest<'_>) -> AuthDecision {
        let asked = self.known.asks();
        let Ok(looked) = self.look(who, None).await else {
            return refused(RefusalReason::NoAnswer, NOT_NOW);
        };
        if let Some(account) = looked.remembered() {
            self.outage.logged_in(account);
        }
        match (looked.decision, looked.owner, who.key) {
            (AuthDecision::Accepted(_), Owner::Told(account), Some(key)) => {
                welcome(key, Some(account), asked, false)
            }
            (AuthDecision::Accepted(_), Owner::None, Some(key)) => {
                welcome(key, None, asked, self.is_named(who.key))
            }
            (
                banned @ AuthDecision::Refused {
                    why: RefusalReason::Banned,
                    ..
                },
                ..,
            ) => banned,
            (decision, Owner::None, Some(_)) => {
                self.alert(who).await;
                decision
            }
            (decision, ..) => decision,
        }
    }

    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name> {
        self.claims_on(who).await
    }

    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        AccessControl::answer_claim(self, who, answer).await
    }

    async fn check(&self, who: AuthRequest<'_>, code: &str) -> Result<(), InviteRejected> {
        let now = clock::now();
        if who.key.is_none() {
            return not("An invite needs a key.", RetryPrompt::Nothing);
        }
        if self.snapshot().locked(now) {
            return not(LOCKED, RetryPrompt::Nothing);
        }
        if code.trim().is_empty() {
            return if self.rules().approval {
                Ok(())
            } else {
                not(NO_CODE, RetryPrompt::Nothing)
            };
        }
        match self.store.invite_by_hash(&hash(code), now).await {
            Ok(Some(_good)) => Ok(()),
            Ok(None) => not(BAD_CODE, RetryPrompt::Code),
            Err(error) => {
                tracing::error!(event = "redeem_failed", %error, "an invite could not be looked up");
                not(NOT_NOW, RetryPrompt::Nothing)
            }
        }
    }

    async fn redeem(
        &self,
        who: AuthRequest<'_>,
        code: &str,
        name: &str,
    ) -> Result<(), InviteRejected> {
        let now = clock::now();
        let Some(key) = who.key else {
            return not("An invite needs a key.", RetryPrompt::Nothing);
        };
        if self.snapshot().locked(now) {
            return not(LOCKED, RetryPrompt::Nothing);
        }
        let wanted = if name.trim().is_empty() {
            who.user.as_str()
        } else {
            name
        };
        let name = match Name::new(wanted) {
            Ok(name) => name,
            Err(error) => {
                return not(
                    format!("{wanted:?} can't be your name: {error}."),
                    RetryPrompt::Name,
                );
            }
        };
        let record = KeyRecord {
            fingerprint: key.fingerprint.clone(),
            algorithm: key.algorithm.clone(),
            comment: Text::stored(""),
            added: now,
        };
        if code.trim().is_empty() {
            return self.ask_operator(who, record, name, now).await;
        }
        let hash = hash(code);
        let account = new_account(name.clone(), Role::Member, now);
        let id = account.id;
        let redeem = Action::RedeemInvite {
            hash,
            account,
            key: record,
        };
        match self.apply(&Change::by(id, name.clone(), now, redeem)).await {
            Ok(outcome) => {
                if let ChangeOutcome::Redeemed(account) = outcome {
                    let role = account.role;
                    tracing::info!(event = "account_made", account = %account.id, name = %account.name, %role, "somebody came in with an invite");
                }
                Ok(())
            }
            Err(ChangeError::BadCode) => not(BAD_CODE, RetryPrompt::Code),
            Err(ChangeError::KeyTaken) => Ok(()),
            Err(ChangeError::Store(StoreError::AlmostFull)) => {
                not(ALMOST_FULL, RetryPrompt::Nothing)
            }
            Err(ChangeError::Store(error)) => {
                tracing::error!(event = "redeem_failed", %error, "an invite could not be looked up");
                not(NOT_NOW, RetryPrompt::Nothing)
            }
            Err(_) => not(format!("\"{name}\" is taken."), RetryPrompt::Name),
        }
    }
}

impl AccessControl {
    /// What is to be done with somebody. The store is asked first, whatever is known; unless it
    /// just was, and they have a pass.
    pub(super) async fn look(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<Looked, NotNow> {
        let now = clock::now();
        let owner = match (who.key, ticket) {
            (None, _) => Owner::None,
            (Some(key), Some(ticket))
                if ticket.key == key.fingerprint && self.known.is_fresh(ticket.asked) =>
            {
                ticket.owner.map_or(Owner::None, Owner::Told)
            }
            (Some(key), _) => self.owner(&key.fingerprint, now).await,
        };
        let snapshot = self.snapshot();
        let subject = BanSubject {
            account: owner.account().map(|account| account.id),
            key: who.key.map(|key| &key.fingerprint),
            addr: who.addr.ip(),
            client: who.client,
            configured: self.is_named(who.key),
        };
        let decision = if let Some(ban) = snapshot.ban(subject, now) {
            refused(RefusalReason::Banned, banned(ban, now).as_str())
        } else if let Some(account) = owner.account() {
            // Whoever has not proven that it is theirs was never here: they are new.
            if account.proof_by.is_some() && snapshot.locked(now) && !self.is_named(who.key) {
                refused(RefusalReason::Lockdown, LOCKED)
            } else {
                AuthDecision::Accepted(None)
            }
        } else if matches!(owner, Owner::Unknowable) {
            return Err(NotNow);
        } else {
            self.look_at_stranger(who, &snapshot, now)?
        };
        Ok(Looked { decision, owner })
    }

    /// What is to be done with somebody who has no account and is not banned.
    fn look_at_stranger(
        &self,
        who: AuthRequest<'_>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<AuthDecision, NotNow> {
        let rules = self.rules();
        if self.is_named(who.key) {
            return Ok(AuthDecision::Accepted(None));
        }
        if snapshot.locked(now) {
            return Ok(refused(RefusalReason::Lockdown, LOCKED));
        }
        Ok(match (rules.mode, who.key) {
            // By bans that are long out of date nobody is judged.
            (Mode::Open, None)
                if self.outage.is_on() && !self.known.is_good(rules.outage_logins) =>
            {
                return Err(NotNow);
            }
            (Mode::Open, None) => match snapshot.no_guests(now) {
                Some(words) => refused(RefusalReason::Lockdown, words.as_str()),
                None => AuthDecision::Accepted(None),
            },
            (Mode::Open, Some(_)) => AuthDecision::Accepted(None),
            (Mode::Allowlist, Some(key)) => AuthDecision::AskInvite {
                notice: self.unknown_key(key),
                enter: if rules.approval {
                    "ask the operators"
                } else {
                    "leave"
                },
            },
            (Mode::Allowlist, None) => refused(
                RefusalReason::NoKey,
                "This chat only admits registered keys, and you offered none.\n\
                         Make one with ssh-keygen, and ask an operator for an invite.",
            ),
        })
    }

    /// Whose a key is. An account that nobody proved to be theirs in time is nobody's.
    pub(super) async fn owner(&self, key: &Fingerprint, now: Time) -> Owner {
        let asked = self.known.asks();
        if let Ok(account) = self.ask(self.unforfeited(key, now)).await {
            self.known.learn(key, account.as_ref(), asked);
            return account.map_or(Owner::None, Owner::Told);
        }
        let known = self.known.owner(key, self.rules().outage_logins);
        let known = known.filter(|account| !account.is_forfeit(now));
        known.map_or(Owner::Unknowable, Owner::Remembered)
    }

    /// Whether the configuration makes the owner of the key an operator.
    pub(super) fn is_named(&self, key: Option<&ProvenKey>) -> bool {
        let rules = self.rules();
        key.is_some_and(|key| rules.names(&key.fingerprint))
    }

    /// What the owner of an unknown key is told.
    fn unknown_key(&self, key: &ProvenKey) -> String {
        let rules = self.rules();
        let algorithm = key
            .algorithm
            .as_str()
            .trim_start_matches("ssh-")
            .to_uppercase();
        let mut notice = format!(
            "This chat only admits registered keys.\nYour key:  {algorithm} {}\n\
             To get in: ask an operator for an invite, then connect again and enter the code",
            key.fingerprint
        );
        if let Some(url) = &rules.web_url {
            notice.push_str(",\n           or open ");
            notice.push_str(url);
        }
        if rules.approval {
            notice.push_str(
                ",\n           or enter no code: then the operators are asked to let you in",
            );
        }
        notice.push('.');
        notice
    }

    async fn ask_operator(
        &self,
        who: AuthRequest<'_>,
        key: KeyRecord,
        name: Name,
        now: Time,
    ) -> Result<(), InviteRejected> {
        let no = |notice: &str| not(notice, RetryPrompt::Nothing);
        if !self.rules().approval {
            return no(NO_CODE);
        }
        let fingerprint = key.fingerprint.clone();
        let pending = PendingKey {
            key,
            name: name.clone(),
            from: who.addr.ip().to_canonical(),
            at: now,
        };
        let id = AccountId(rand::random());
        let trusted = self.rules().trusted.contains(pending.from);
        let ask = Action::AddPending {
            pending: pending.clone(),
            per_source: (!trusted).then_some(WAITING_PER_SOURCE),
        };
        match self.apply(&Change::by(id, name.clone(), now, ask)).await {
            Ok(ChangeOutcome::Unchanged) => {
                no("The operators have been asked already. Connect again in a while.")
            }
            Ok(_) => {
                self.news(pending).await;
                tracing::info!(event = "key_pending", %name, key = %fingerprint, "a key waits for an operator");
                no("The operators have been asked. Connect again in a while.")
            }
            Err(ChangeError::TooManyPending) => {
                no("Too many wait already. Ask an operator for an invite.")
            }
            Err(ChangeError::TooManyFromSource(count)) => no(&format!(
                "{count} keys from your address are waiting already. Ask an operator for an invite."
            )),
            Err(ChangeError::KeyTaken) => no("You are let in already. Connect again."),
            Err(_) => no(NOT_NOW),
        }
    }

    /// Tells operators when an unknown key comes under a name that belongs to somebody.
    pub(super) async fn alert(&self, who: AuthRequest<'_>) {
        let (Some(key), Ok(name)) = (who.key, Name::existing(who.user.as_str())) else {
            return;
        };
        // Who waits at the door does not wait for this for long.
        let owner = timeout(ALERT_PATIENCE, self.store.account_by_name(&name)).await;
        let Ok(Ok(Some(owner))) = owner else {
            return;
        };
        let due = self
            .alerts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(owner.name.clone(), clock::monotonic());
        if due.is_ok() {
            let from = who.addr.ip();
            let words = format!(
                "An unknown key came as {name}, which belongs to {}: {} from {from}",
                owner.name, key.fingerprint
            );
            tracing::warn!(event = "name_with_unknown_key", name = %owner.name, key = %key.fingerprint, addr = %from, "an unknown key came under a known name");
            self.hub.notify_operators(Text::stored(&words)).await;
        }
    }
}

/// An account as it is before anybody has used it.
pub(super) fn new_account(name: Name, role: Role, now: Time) -> Account {
    Account::new(AccountId(rand::random()), name, role, now)
}

/// What an invite is kept by. What is no code at all is looked up like any other, so that it takes
/// the same time.
fn hash(code: &str) -> String {
    Code::parse(code).map_or_else(String::new, |code| code.hash())
}

fn not(notice: impl Into<String>, again: RetryPrompt) -> Result<(), InviteRejected> {
    Err(InviteRejected {
        notice: notice.into(),
        again,
    })
}

fn welcome(
    key: &ProvenKey,
    owner: Option<Account>,
    asked: QueryStamp,
    named: bool,
) -> AuthDecision {
    AuthDecision::Accepted(Some(Box::new(AuthTicket {
        key: key.fingerprint.clone(),
        owner,
        asked,
        named,
    })))
}

fn refused(why: RefusalReason, notice: &str) -> AuthDecision {
    AuthDecision::Refused {
        why,
        notice: notice.to_owned(),
    }
}
