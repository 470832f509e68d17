//! Login decisions: accounts, bans and lockdowns, invites, claims on keys, and accounts that are
//! still to be proven.
//!
//! Anyone's public key can be claimed, or registered on the web page. So a claim, and an account
//! made on the page, give nothing until someone has logged in with the private key.

use std::net::IpAddr;

use super::authenticator::{
    AuthDecision, AuthRequest, AuthTicket, Authenticator, ClaimAnswer, InviteRejected, ProvenKey,
    RefusalReason, RetryPrompt, claim_question_again,
};
use super::key_cache::QueryStamp;
use super::{AccessControl, Mode, Snapshot, StoreUnavailable, ban_notice};
use crate::chat::access::{Actor, BanSubject, KeyRecord, PendingKey, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::chat::invite::Code;
use crate::clock;
use crate::store::{Account, Change, ChangeAction, ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

/// The most pending keys from one address or IPv6 /64.
const PENDING_PER_SOURCE: usize = 5;

const ALMOST_FULL: &str = "No account created: the server's disk is almost full. Your invite was \
    not used. Try again later.";
pub(super) const UNAVAILABLE: &str =
    "The server can't look up your key right now. Try again in a minute.";
const LOCKED: &str = "New sign-ups are closed for now. Try again later, or ask an operator.";
const BAD_CODE: &str = "Invalid invite code: mistyped, already used or expired.";
const NO_CODE: &str = "You need an invite code to join. Ask an operator for one.";
const NEEDS_KEY: &str = "An invite needs an SSH key, and your client offered none.";

/// The account that a key belongs to.
pub(super) enum KeyOwner {
    /// None, or there is no key.
    None,
    /// The store just said so.
    Confirmed(Account),
    /// The store doesn't answer, and the key cache says so.
    Cached(Account),
    /// The store doesn't answer, and the key cache can't replace it.
    Unavailable,
}

impl KeyOwner {
    /// The account, if it is known.
    pub fn into_account(self) -> Option<Account> {
        match self {
            KeyOwner::Confirmed(account) | KeyOwner::Cached(account) => Some(account),
            KeyOwner::None | KeyOwner::Unavailable => None,
        }
    }

    fn account(&self) -> Option<&Account> {
        match self {
            KeyOwner::Confirmed(account) | KeyOwner::Cached(account) => Some(account),
            KeyOwner::None | KeyOwner::Unavailable => None,
        }
    }
}

/// A decision, and the owner of the key it was made for.
pub(super) struct LoginDecision {
    pub decision: AuthDecision,
    pub owner: KeyOwner,
}

impl Authenticator for AccessControl {
    fn allows_address(&self, addr: IpAddr) -> bool {
        let subject = BanSubject {
            account: None,
            key: None,
            addr,
            client: &Text::default(),
            // The key is not known yet.
            configured: false,
        };
        self.snapshot().ban(subject, clock::now()).is_none()
    }

    async fn authenticate(&self, who: AuthRequest<'_>) -> AuthDecision {
        let stamp = self.keys.stamp();
        let Ok(LoginDecision { decision, owner }) = self.decide(who, None).await else {
            return refused(RefusalReason::NoAnswer, UNAVAILABLE);
        };
        let is_accepted = matches!(decision, AuthDecision::Accepted(_));
        let is_banned = decision.reason() == Some(RefusalReason::Banned.as_str());
        match (owner, who.key) {
            (KeyOwner::Cached(account), _) if is_accepted => {
                self.outage.logged_in(&account);
                decision
            }
            (KeyOwner::Confirmed(account), Some(key)) if is_accepted => {
                accepted(key, Some(account), stamp, false)
            }
            (KeyOwner::None, Some(key)) if is_accepted => {
                accepted(key, None, stamp, self.is_configured_key(who.key))
            }
            (KeyOwner::None, Some(_)) if !is_banned => {
                self.alert_unknown_key(who).await;
                decision
            }
            _ => decision,
        }
    }

    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name> {
        self.claim_names(who).await
    }

    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        AccessControl::answer_claim(self, who, answer).await
    }

    async fn check_invite(&self, who: AuthRequest<'_>, code: &str) -> Result<(), InviteRejected> {
        let now = clock::now();
        if who.key.is_none() {
            return rejected(NEEDS_KEY, RetryPrompt::Nothing);
        }
        if self.snapshot().locked(now) {
            return rejected(LOCKED, RetryPrompt::Nothing);
        }
        if code.trim().is_empty() {
            return if self.rules().approval {
                Ok(())
            } else {
                rejected(NO_CODE, RetryPrompt::Nothing)
            };
        }
        match self.store.invite_by_hash(&code_hash(code), now).await {
            Ok(Some(_valid)) => Ok(()),
            Ok(None) => rejected(BAD_CODE, RetryPrompt::Code),
            Err(error) => redeem_failed(&error),
        }
    }

    async fn redeem_invite(
        &self,
        who: AuthRequest<'_>,
        code: &str,
        name: &str,
    ) -> Result<(), InviteRejected> {
        let now = clock::now();
        let Some(key) = who.key else {
            return rejected(NEEDS_KEY, RetryPrompt::Nothing);
        };
        if self.snapshot().locked(now) {
            return rejected(LOCKED, RetryPrompt::Nothing);
        }
        let wanted = match name.trim() {
            "" => who.user.as_str(),
            _ => name,
        };
        let name = match Name::new(wanted) {
            Ok(name) => name,
            Err(error) => {
                let notice = format!("{wanted:?} can't be your name: {error}.");
                return rejected(notice, RetryPrompt::Name);
            }
        };
        let key = KeyRecord {
            fingerprint: key.fingerprint.clone(),
            algorithm: key.algorithm.clone(),
            comment: Text::stored(""),
            added: now,
        };
        if code.trim().is_empty() {
            return self.request_approval(who, key, name, now).await;
        }
        let account = new_account(name.clone(), Role::Member, now);
        let id = account.id;
        let redeem = ChangeAction::RedeemInvite {
            hash: code_hash(code),
            account,
            key,
        };
        match self.apply(&Change::by(id, name.clone(), now, redeem)).await {
            Ok(outcome) => {
                if let ChangeOutcome::Redeemed(account) = outcome {
                    let role = account.role;
                    tracing::info!(event = "account_made", account = %account.id, name = %account.name, %role, "account created with an invite");
                }
                Ok(())
            }
            Err(ChangeError::BadCode) => rejected(BAD_CODE, RetryPrompt::Code),
            Err(ChangeError::KeyTaken) => Ok(()),
            Err(ChangeError::Store(StoreError::AlmostFull)) => {
                rejected(ALMOST_FULL, RetryPrompt::Nothing)
            }
            Err(ChangeError::Store(error)) => redeem_failed(&error),
            Err(_) => rejected(format!("The name {name} is taken."), RetryPrompt::Name),
        }
    }
}

impl AccessControl {
    /// Decides on a login. The store is queried first, whatever the key cache says, unless a fresh
    /// ticket has its answer.
    pub(super) async fn decide(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<LoginDecision, StoreUnavailable> {
        let now = clock::now();
        let owner = match (who.key, ticket) {
            (None, _) => KeyOwner::None,
            (Some(key), Some(ticket))
                if ticket.key == key.fingerprint && self.keys.is_fresh(ticket.stamp) =>
            {
                ticket.owner.map_or(KeyOwner::None, KeyOwner::Confirmed)
            }
            (Some(key), _) => self.key_owner(&key.fingerprint, now).await,
        };
        let snapshot = self.snapshot();
        let subject = BanSubject {
            account: owner.account().map(|account| account.id),
            key: who.key.map(|key| &key.fingerprint),
            addr: who.addr.ip(),
            client: who.client,
            configured: self.is_configured_key(who.key),
        };
        let decision = if let Some(ban) = snapshot.ban(subject, now) {
            refused(RefusalReason::Banned, ban_notice(ban, now).as_str())
        } else if let Some(account) = owner.account() {
            // An account that is not proven counts as new.
            if account.proof_by.is_some() && snapshot.locked(now) && !subject.configured {
                refused(RefusalReason::Lockdown, LOCKED)
            } else {
                AuthDecision::Accepted(None)
            }
        } else if matches!(owner, KeyOwner::Unavailable) {
            return Err(StoreUnavailable);
        } else {
            self.decide_without_account(who, &snapshot, now)?
        };
        Ok(LoginDecision { decision, owner })
    }

    /// Decides on a login without an account that no ban matches.
    fn decide_without_account(
        &self,
        who: AuthRequest<'_>,
        snapshot: &Snapshot,
        now: Time,
    ) -> Result<AuthDecision, StoreUnavailable> {
        let rules = self.rules();
        if self.is_configured_key(who.key) {
            return Ok(AuthDecision::Accepted(None));
        }
        if snapshot.locked(now) {
            return Ok(refused(RefusalReason::Lockdown, LOCKED));
        }
        Ok(match (rules.mode, who.key) {
            // The bans are too old to rely on.
            (Mode::Open, None)
                if self.outage.is_on() && !self.keys.is_usable(rules.outage_logins) =>
            {
                return Err(StoreUnavailable);
            }
            (Mode::Open, None) => match snapshot.no_guests(now) {
                Some(notice) => refused(RefusalReason::Lockdown, notice.as_str()),
                None => AuthDecision::Accepted(None),
            },
            (Mode::Open, Some(_)) => AuthDecision::Accepted(None),
            (Mode::Allowlist, Some(key)) => AuthDecision::AskInvite {
                notice: self.unknown_key_notice(key),
                enter: if rules.approval {
                    "ask the operators"
                } else {
                    "leave"
                },
            },
            (Mode::Allowlist, None) => refused(
                RefusalReason::NoKey,
                "This chat only admits registered keys, and your client offered none.\n\
                 Create one with ssh-keygen, and ask an operator for an invite.",
            ),
        })
    }

    /// The account that a key belongs to: by the store, or by the key cache during an outage.
    pub(super) async fn key_owner(&self, key: &Fingerprint, now: Time) -> KeyOwner {
        let stamp = self.keys.stamp();
        if let Ok(account) = self.query(self.unforfeited_account(key, now)).await {
            self.keys.learn(key, account.as_ref(), stamp);
            return account.map_or(KeyOwner::None, KeyOwner::Confirmed);
        }
        let cached = self.keys.owner(key, self.rules().outage_logins);
        let cached = cached.filter(|account| !account.is_forfeit(now));
        cached.map_or(KeyOwner::Unavailable, KeyOwner::Cached)
    }

    /// Whether the configuration makes the key's owner an operator.
    pub(super) fn is_configured_key(&self, key: Option<&ProvenKey>) -> bool {
        key.is_some_and(|key| self.rules().has_operator_key(&key.fingerprint))
    }

    fn unknown_key_notice(&self, key: &ProvenKey) -> String {
        let rules = self.rules();
        let algorithm = key.algorithm.as_str().trim_start_matches("ssh-");
        let mut notice = format!(
            "This chat only admits registered keys.\nYour key:  {} {}\n\
             To get in: ask an operator for an invite, then connect again and enter the code",
            algorithm.to_uppercase(),
            key.fingerprint
        );
        if let Some(url) = &rules.web_url {
            notice.push_str(",\n           or open ");
            notice.push_str(url);
        }
        if rules.approval {
            notice.push_str(",\n           or press Enter to ask the operators for approval");
        }
        notice.push('.');
        notice
    }

    /// Adds a key to the pending ones. Always an error for the client, which isn't in yet.
    async fn request_approval(
        &self,
        who: AuthRequest<'_>,
        key: KeyRecord,
        name: Name,
        now: Time,
    ) -> Result<(), InviteRejected> {
        let reply = |notice: &str| rejected(notice, RetryPrompt::Nothing);
        let rules = self.rules();
        if !rules.approval {
            return reply(NO_CODE);
        }
        let pending = PendingKey {
            key,
            name: name.clone(),
            from: who.addr.ip().to_canonical(),
            at: now,
        };
        let trusted = rules.trusted.contains(pending.from);
        let add = ChangeAction::AddPending {
            pending: pending.clone(),
            per_source: (!trusted).then_some(PENDING_PER_SOURCE),
        };
        let id = AccountId(rand::random());
        match self.apply(&Change::by(id, name.clone(), now, add)).await {
            Ok(ChangeOutcome::Unchanged) => {
                reply("Your request is already pending. Connect again later.")
            }
            Ok(_) => {
                tracing::info!(event = "key_pending", %name, key = %pending.key.fingerprint, "key waiting for approval");
                self.notify_pending(pending).await;
                reply("Request sent to the operators. Connect again later.")
            }
            Err(ChangeError::TooManyPending) => {
                reply("Too many requests are pending. Ask an operator for an invite.")
            }
            Err(ChangeError::TooManyFromSource(count)) => reply(&format!(
                "{count} requests from your address are pending. Ask an operator for an invite."
            )),
            Err(ChangeError::KeyTaken) => reply("Your key is already approved. Connect again."),
            Err(_) => reply(UNAVAILABLE),
        }
    }
}

/// Claims on keys.
impl AccessControl {
    /// The names of the accounts that claim a key, except banned ones. Empty if the store doesn't
    /// answer: a claim never keeps its key's owner out.
    pub(super) async fn claim_names(&self, who: AuthRequest<'_>) -> Vec<Name> {
        let Some(key) = who.key else {
            return Vec::new();
        };
        let claimants = self.claimants(who, key, clock::now()).await;
        let claimants = claimants.unwrap_or_default().into_iter();
        claimants.map(|account| account.name).collect()
    }

    async fn claimants(
        &self,
        who: AuthRequest<'_>,
        key: &ProvenKey,
        now: Time,
    ) -> Result<Vec<Account>, StoreError> {
        let claimants = self.store.claimants(&key.fingerprint, now);
        let mut claimants = self.query(claimants).await?;
        let snapshot = self.snapshot();
        claimants.retain(|account| {
            let subject = BanSubject {
                account: Some(account.id),
                key: None,
                addr: who.addr.ip(),
                client: who.client,
                configured: false,
            };
            snapshot.ban(subject, now).is_none()
        });
        Ok(claimants)
    }

    /// Takes the answer of a claimed key's owner: the name of an account gives the key to it, an
    /// empty answer refuses all claims.
    pub(super) async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        let now = clock::now();
        let unavailable = || ClaimAnswer::Failed(UNAVAILABLE.to_owned());
        let Some(key) = who.key else {
            return ClaimAnswer::Refused;
        };
        let Ok(claimants) = self.claimants(who, key, now).await else {
            return unavailable();
        };
        let names: Vec<Name> = claimants.iter().map(|a| a.name.clone()).collect();
        if answer.trim().is_empty() {
            let refuse = Change {
                at: now,
                actor: Actor::System,
                action: ChangeAction::RefuseKey {
                    key: key.fingerprint.clone(),
                    names,
                },
            };
            return match self.apply(&refuse).await {
                Ok(_) => ClaimAnswer::Refused,
                Err(_) => unavailable(),
            };
        }
        let typed = Name::existing(answer).ok();
        let mut claimants = claimants.iter();
        let Some(account) = claimants.find(|account| typed.as_ref() == Some(&account.name)) else {
            return if names.is_empty() {
                ClaimAnswer::Refused
            } else {
                ClaimAnswer::Again(claim_question_again(&names))
            };
        };
        let confirm = ChangeAction::ConfirmKey {
            account: account.id,
            name: account.name.clone(),
            key: key.fingerprint.clone(),
        };
        let stamp = self.keys.stamp();
        let change = Change::by(account.id, account.name.clone(), now, confirm);
        match self.apply(&change).await {
            Ok(_) => {
                self.keys.learn(&key.fingerprint, Some(account), stamp);
                ClaimAnswer::Accepted
            }
            Err(ChangeError::Store(_)) => unavailable(),
            Err(error) => ClaimAnswer::Failed(format!("Key not added: {error}. Connect again.")),
        }
    }
}

/// Accounts that are still to be proven: the first login with their key does it. If there is none
/// in time, the account is deleted.
impl AccessControl {
    /// Proves an account by a login with its key. Returns whether the account exists and is proven
    /// now.
    pub(super) async fn prove(
        &self,
        account: &Account,
        key: &ProvenKey,
        now: Time,
    ) -> Result<bool, StoreError> {
        if account.proof_by.is_none() {
            return Ok(true);
        }
        let prove = ChangeAction::ProveKey {
            account: account.id,
            key: key.fingerprint.clone(),
        };
        let change = Change::by(account.id, account.name.clone(), now, prove);
        let stamp = self.keys.stamp();
        let proven = self.query(async {
            match self.apply(&change).await {
                Ok(_) => Ok(true),
                Err(ChangeError::Store(error)) => Err(error),
                Err(_forfeit) => Ok(false),
            }
        });
        let proven = proven.await?;
        if proven {
            let account = Account {
                proof_by: None,
                ..account.clone()
            };
            self.keys.learn(&key.fingerprint, Some(&account), stamp);
            tracing::info!(event = "account_proven", account = %account.id, "account proven by its first login");
        }
        Ok(proven)
    }

    /// The account that a key belongs to. One that was not proven in time is deleted first.
    async fn unforfeited_account(
        &self,
        key: &Fingerprint,
        now: Time,
    ) -> Result<Option<Account>, StoreError> {
        match self.store.account_by_key(key).await? {
            Some(account) if account.is_forfeit(now) => {
                self.delete_forfeit(&account, now).await?;
                Ok(None)
            }
            account => Ok(account),
        }
    }

    async fn delete_forfeit(&self, account: &Account, now: Time) -> Result<(), StoreError> {
        let forget = Change {
            at: now,
            actor: Actor::System,
            action: ChangeAction::ForgetAccount {
                account: account.id,
                name: account.name.clone(),
            },
        };
        match self.apply(&forget).await {
            Ok(ChangeOutcome::Unchanged) => Ok(()),
            Ok(_) => {
                tracing::info!(event = "account_expired", account = %account.id, "account deleted: no login with its key in time");
                Ok(())
            }
            Err(ChangeError::Store(error)) => Err(error),
            Err(error) => Err(StoreError::Corrupt(error.to_string())),
        }
    }

    /// Deletes all accounts that were not proven in time, which frees their names.
    pub(super) async fn delete_all_forfeit(&self, now: Time) -> Result<(), StoreError> {
        let unproven = self.store.unproven().await?;
        for account in unproven.iter().filter(|account| account.is_forfeit(now)) {
            self.delete_forfeit(account, now).await?;
        }
        Ok(())
    }
}

/// A new account, never used.
pub(super) fn new_account(name: Name, role: Role, now: Time) -> Account {
    Account::new(AccountId(rand::random()), name, role, now)
}

/// The hash that an invite is stored under. Malformed codes are looked up too, so that they take
/// the same time.
fn code_hash(code: &str) -> String {
    Code::parse(code).map_or_else(String::new, |code| code.hash())
}

fn rejected(notice: impl Into<String>, again: RetryPrompt) -> Result<(), InviteRejected> {
    Err(InviteRejected {
        notice: notice.into(),
        again,
    })
}

fn redeem_failed(error: &StoreError) -> Result<(), InviteRejected> {
    tracing::error!(event = "redeem_failed", %error, "invite lookup failed");
    rejected(UNAVAILABLE, RetryPrompt::Nothing)
}

fn accepted(
    key: &ProvenKey,
    owner: Option<Account>,
    stamp: QueryStamp,
    configured: bool,
) -> AuthDecision {
    AuthDecision::Accepted(Some(Box::new(AuthTicket {
        key: key.fingerprint.clone(),
        owner,
        stamp,
        configured,
    })))
}

fn refused(why: RefusalReason, notice: &str) -> AuthDecision {
    AuthDecision::Refused {
        why,
        notice: notice.to_owned(),
    }
}
