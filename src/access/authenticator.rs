//! The seam between authentication and the rules about who may come in.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

use super::key_cache::QueryStamp;
use crate::chat::ids::{Fingerprint, Name};
use crate::store::Account;
use crate::text::Text;

/// A public key of which the client proved to have the private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    /// By which it is known.
    pub fingerprint: Fingerprint,
    /// `ssh-ed25519`, …
    pub algorithm: Text,
}

/// Somebody who wants to come in, as far as is proven.
#[derive(Debug, Clone, Copy)]
pub struct AuthRequest<'a> {
    /// Where they connect from.
    pub addr: SocketAddr,
    /// The login name they requested.
    pub user: &'a Text,
    /// Their client's version line.
    pub client: &'a Text,
    /// Their key; `None` if they came without one.
    pub key: Option<&'a ProvenKey>,
}

/// What the store said about the key of somebody who is welcome. It is good for a moment: the
/// session that they begin right away need not ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthTicket {
    /// The key that it is about.
    pub(super) key: Fingerprint,
    /// Whose it is; `None` if nobody's.
    pub(super) owner: Option<Account>,
    /// When that was asked.
    pub(super) asked: QueryStamp,
    /// Whether the configuration names it.
    pub(super) named: bool,
}

impl AuthTicket {
    /// Whether the key was nobody's.
    pub fn is_new(&self) -> bool {
        self.owner.is_none()
    }
}

/// What is to be done with somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthDecision {
    /// They may come in. Without a pass, they have no key, or one that is known although the store
    /// does not answer.
    Accepted(Option<Box<AuthTicket>>),
    /// They may come in with an invite, so ask for one.
    AskInvite {
        /// Why they can't come in as they are, and what to do. Several lines, of which the first
        /// is the reason.
        notice: String,
        /// What it is to enter no code, such as `leave`.
        enter: &'static str,
    },
    /// They may not come in.
    Refused {
        /// Why, in a word.
        why: RefusalReason,
        /// Why, and what to do. Several lines.
        notice: String,
    },
}

/// Why somebody may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// They are banned.
    Banned,
    /// Nobody new comes in for a while.
    Lockdown,
    /// They came without a key, and need one.
    NoKey,
    /// The store does not answer, and without it nobody knows.
    NoAnswer,
    /// Too many logins from their address failed, and their key is not known.
    Penalty,
}

impl RefusalReason {
    /// The word for it in metrics.
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
    /// Whether somebody with a key is welcome because it's known: that of an account, or of an
    /// operator whom the configuration names. A server that is open lets in others, too.
    pub fn knows_the_key(&self) -> bool {
        match self {
            AuthDecision::Accepted(Some(ticket)) => ticket.owner.is_some() || ticket.named,
            AuthDecision::Accepted(None) => true,
            AuthDecision::AskInvite { .. } | AuthDecision::Refused { .. } => false,
        }
    }

    /// Why they are not in, in a word; nothing if they are.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            AuthDecision::Accepted(_) => None,
            AuthDecision::AskInvite { .. } => Some("unknown_key"),
            AuthDecision::Refused { why, .. } => Some(why.as_str()),
        }
    }
}

/// A code and a name that did not open the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRejected {
    /// What was wrong, and what to do.
    pub notice: String,
    /// What to ask for again.
    pub again: RetryPrompt,
}

/// What somebody who was not let in is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPrompt {
    /// Nothing: they stay outside.
    Nothing,
    /// The code.
    Code,
    /// The name; the code is good.
    Name,
}

/// What came of an answer to [`claim_question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// The key belongs to the account that was named.
    Accepted,
    /// All claims on the key ended.
    Refused,
    /// None of the accounts was named: the words ask again.
    Again(String),
    /// It could not be done now: why, and what to do. The claims are as they were.
    Failed(String),
}

/// What the owner of a claimed key is told before the question. One line.
pub const CLAIM_NOTICE: &str =
    "Accept only for an account of yours: its owner can read what you write.";

/// What the owner of a claimed key is asked, given the names of the accounts that claim it.
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
        [_] => format!("That is not {listed}. {how}"),
        _ => format!("That is none of {listed}. {how}"),
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

/// Decides who may come in. Calls may wait for the store; the caller sets a deadline.
pub trait Authenticator: Send + Sync + 'static {
    /// Whether connections from there are served at all. Never waits.
    fn serves(&self, addr: IpAddr) -> bool;

    /// What is to be done with somebody.
    fn judge(&self, who: AuthRequest<'_>) -> impl Future<Output = AuthDecision> + Send;

    /// The names of the accounts that claim a proven key which is nobody's. None if that can't be
    /// found out now.
    fn claims(&self, who: AuthRequest<'_>) -> impl Future<Output = Vec<Name>> + Send;

    /// Takes the answer of the owner of a claimed key: a name that was typed, or nothing.
    fn answer_claim(
        &self,
        who: AuthRequest<'_>,
        answer: &str,
    ) -> impl Future<Output = ClaimAnswer> + Send;

    /// Whether an invite code is good for somebody with a proven key, without using it. An empty
    /// one is where asking an operator is allowed.
    fn check(
        &self,
        who: AuthRequest<'_>,
        code: &str,
    ) -> impl Future<Output = Result<(), InviteRejected>> + Send;

    /// Tries an invite code and a name for somebody with a proven key. If that works, they may
    /// come in. An empty code asks an operator, where that is allowed.
    fn redeem(
        &self,
        who: AuthRequest<'_>,
        code: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), InviteRejected>> + Send;
}
