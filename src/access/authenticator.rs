//! The interface between SSH authentication and access control.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use super::key_cache::QueryStamp;
use crate::chat::ids::{Fingerprint, Name};
use crate::store::Account;
use crate::text::Text;

/// How many answers the owner of a claimed key has per connection.
pub const MAX_CLAIM_ANSWERS: usize = 3;

/// A public key whose private key the client has proven to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The algorithm, such as `ssh-ed25519`.
    pub algorithm: Text,
}

/// A login, as far as it's proven.
#[derive(Debug, Clone, Copy)]
pub struct AuthRequest<'a> {
    /// The remote address.
    pub addr: SocketAddr,
    /// The login name.
    pub user: &'a Text,
    /// The client's version string (RFC 4253 §4.2).
    pub client: &'a Text,
    /// The proven key; `None` without one.
    pub key: Option<&'a ProvenKey>,
}

/// What the store said about an accepted key. It's valid for a second, so that the session that
/// follows the login doesn't query the store again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthTicket {
    pub(super) key: Fingerprint,
    /// The key's account, if it has one.
    pub(super) owner: Option<Account>,
    pub(super) stamp: QueryStamp,
    /// Whether the configuration names the key.
    pub(super) configured: bool,
}

impl AuthTicket {
    /// Whether the key has no account.
    pub fn is_new(&self) -> bool {
        self.owner.is_none()
    }
}

/// The decision on a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthDecision {
    /// Accepted. There is no ticket for a login without a key, or by the key cache.
    Accepted(Option<Box<AuthTicket>>),
    /// An invite is needed: ask for a code.
    AskInvite {
        /// Why, and what to do. Several lines; the first is the reason.
        notice: String,
        /// What an empty code does, such as `leave`.
        enter: &'static str,
    },
    /// Refused.
    Refused {
        /// Why, for metrics and logs.
        why: RefusalReason,
        /// Why, and what to do. Several lines.
        notice: String,
    },
}

/// Why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// A ban matches.
    Banned,
    /// A lockdown blocks new users or guests.
    Lockdown,
    /// A key is needed, and none was offered.
    NoKey,
    /// The store doesn't answer.
    NoAnswer,
    /// Too many logins from the address failed, and the key is unknown.
    Penalty,
}

impl RefusalReason {
    /// The label in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalReason::Banned => "banned",
            RefusalReason::Lockdown => "lockdown",
            RefusalReason::NoKey => "no_key",
            RefusalReason::NoAnswer => "no_answer",
            RefusalReason::Penalty => "penalty",
        }
    }
}

impl AuthDecision {
    /// Whether a login with a key was accepted because the key is known: it belongs to an account,
    /// or the configuration names it. An open server accepts unknown keys too.
    pub fn knows_the_key(&self) -> bool {
        match self {
            AuthDecision::Accepted(Some(ticket)) => ticket.owner.is_some() || ticket.configured,
            AuthDecision::Accepted(None) => true,
            AuthDecision::AskInvite { .. } | AuthDecision::Refused { .. } => false,
        }
    }

    /// The label of the reason why the login was not accepted.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            AuthDecision::Accepted(_) => None,
            AuthDecision::AskInvite { .. } => Some("unknown_key"),
            AuthDecision::Refused { why, .. } => Some(why.as_str()),
        }
    }
}

/// An invite code or a name that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRejected {
    /// What was wrong, and what to do.
    pub notice: String,
    /// What to ask for again.
    pub again: RetryPrompt,
}

/// What to ask for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPrompt {
    /// Nothing: the login failed.
    Nothing,
    /// The code.
    Code,
    /// The name; the code is valid.
    Name,
}

/// The result of an answer to [`claim_question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The key belongs to the named account now.
    Accepted,
    /// All claims on the key were refused.
    Refused,
    /// None of the accounts was named: ask again, with this question.
    Again(String),
    /// The store failed: why, and what to do. The claims remain.
    Failed(String),
}

/// The notice before [`claim_question`]. One line.
pub const CLAIM_NOTICE: &str =
    "Accept only for an account of yours: its owner can read what you write.";

/// The question to the owner of a key that these accounts claim.
pub fn claim_question(names: &[Name]) -> String {
    let (plural, wants) = match names {
        [_] => ("", "wants"),
        _ => ("s", "want"),
    };
    let (listed, how) = (listed(names), how_to_answer(names));
    format!("The account{plural} {listed} {wants} to add this key. {how}")
}

/// The question again, after an answer that is none of the names.
pub(super) fn claim_question_again(names: &[Name]) -> String {
    let (listed, how) = (listed(names), how_to_answer(names));
    match names {
        [_] => format!("That's not {listed}. {how}"),
        _ => format!("That's none of {listed}. {how}"),
    }
}

fn how_to_answer(names: &[Name]) -> String {
    match names {
        [name] => format!("Type {name} to accept, or press Enter to refuse: "),
        _ => "Type one of the names to accept, or press Enter to refuse all: ".to_owned(),
    }
}

fn listed(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// Decides on logins. Calls may wait for the store; the caller sets a deadline.
///
/// Protocol: [`allows_address`](Authenticator::allows_address) for each connection, then
/// [`authenticate`](Authenticator::authenticate) for each proven key, or for a login without one. After
/// [`AuthDecision::AskInvite`], [`check_invite`](Authenticator::check_invite) the code and
/// [`redeem_invite`](Authenticator::redeem_invite) it with a name. For an accepted key without an account, ask
/// about its [`claims`](Authenticator::claims).
pub trait Authenticator: Send + Sync + 'static {
    /// Whether connections from this address are served at all. Never waits.
    fn allows_address(&self, addr: IpAddr) -> bool;

    /// Decides on a login.
    fn authenticate(&self, who: AuthRequest<'_>) -> impl Future<Output = AuthDecision> + Send;

    /// The names of the accounts that claim a proven key without an account. Empty if the store
    /// doesn't answer.
    fn claims(&self, who: AuthRequest<'_>) -> impl Future<Output = Vec<Name>> + Send;

    /// Takes the answer of a claimed key's owner: a typed name, or nothing.
    fn answer_claim(
        &self,
        who: AuthRequest<'_>,
        answer: &str,
    ) -> impl Future<Output = ClaimAnswer> + Send;

    /// Whether an invite code is valid, without using it. An empty one is if users may ask the
    /// operators for approval.
    fn check_invite(
        &self,
        who: AuthRequest<'_>,
        code: &str,
    ) -> impl Future<Output = Result<(), InviteRejected>> + Send;

    /// Redeems an invite code for a proven key, with a name. An empty code asks the operators for
    /// approval, where that is allowed.
    fn redeem_invite(
        &self,
        who: AuthRequest<'_>,
        code: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), InviteRejected>> + Send;
}
