//! An authenticator with scripted decisions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use russh::keys::{HashAlg, PrivateKey};
use tokio::sync::watch;

use crate::access::authenticator::{
    AuthDecision, AuthRequest, Authenticator, ClaimAnswer, InviteRejected, RefusalReason,
    RetryPrompt,
};
use crate::chat::ids::Name;

/// A valid code.
pub(super) const GOOD: &str = "GOOD-CODE";
/// A code whose check times out.
pub(super) const SLOW: &str = "SLOW-CODE";
/// A code that is used up between check and redemption.
pub(super) const USED: &str = "USED-CODE";
/// A name that is taken.
pub(super) const TAKEN: &str = "bob";

/// An authenticator with scripted decisions.
pub(super) struct Scripted {
    /// Whether all addresses are banned.
    pub(super) banned: bool,
    /// To keys that are not in `keys`.
    pub(super) strangers: AuthDecision,
    /// To keys, by fingerprint.
    pub(super) keys: HashMap<String, AuthDecision>,
    /// Who claims keys, by fingerprint.
    pub(super) claims: HashMap<String, Vec<&'static str>>,
    /// To people without a key.
    pub(super) guests: AuthDecision,
    /// Whether it says nothing to anybody, ever.
    pub(super) silent: bool,
    /// The number of calls that never return.
    pub(super) waiting: watch::Sender<usize>,
    /// All calls, see [`Scripted::seen`].
    pub(super) asked: Mutex<Vec<String>>,
}

impl Default for Scripted {
    /// Lets everybody in.
    fn default() -> Scripted {
        Scripted {
            banned: false,
            strangers: AuthDecision::Accepted(None),
            keys: HashMap::new(),
            claims: HashMap::new(),
            guests: AuthDecision::Accepted(None),
            silent: false,
            waiting: watch::Sender::new(0),
            asked: Mutex::default(),
        }
    }
}

pub(super) fn refused(notice: &str) -> AuthDecision {
    AuthDecision::Refused {
        why: RefusalReason::Banned,
        notice: notice.to_owned(),
    }
}

/// A authenticator that knows one key and asks all others for an invite.
pub(super) fn for_members(known: &PrivateKey) -> Scripted {
    Scripted {
        strangers: AuthDecision::AskInvite {
            notice: "Who are you?\nYou may be asked.".to_owned(),
            enter: "leave",
        },
        keys: [(fingerprint(known), AuthDecision::Accepted(None))].into(),
        guests: refused("Not without a key."),
        ..Scripted::default()
    }
}

fn not(notice: &str, again: RetryPrompt) -> Result<(), InviteRejected> {
    Err(InviteRejected {
        notice: notice.to_owned(),
        again,
    })
}

pub(super) fn fingerprint(key: &PrivateKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

impl Scripted {
    /// All calls, in order.
    pub(super) fn seen(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap()
    }

    fn note(&self, who: AuthRequest<'_>, what: &str) {
        assert!(who.client.as_str().starts_with("SSH-2.0-russh"), "{who:?}");
        assert!(who.addr.ip().is_loopback(), "{who:?}");
        self.seen().push(format!("{}{what}", who.user));
    }

    async fn never<T>(&self) -> T {
        self.waiting.send_modify(|n| *n += 1);
        std::future::pending().await
    }
}

impl Authenticator for Scripted {
    fn allows_address(&self, _addr: IpAddr) -> bool {
        !self.banned
    }

    async fn authenticate(&self, who: AuthRequest<'_>) -> AuthDecision {
        let key = who.key.map(|key| key.fingerprint.as_str());
        self.note(who, &format!(" {}", key.unwrap_or("none")));
        if self.silent {
            self.never::<()>().await;
        }
        match key {
            None => self.guests.clone(),
            Some(key) => self.keys.get(key).unwrap_or(&self.strangers).clone(),
        }
    }

    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name> {
        let key = who.key.map(|key| key.fingerprint.as_str());
        let names = key.and_then(|key| self.claims.get(key));
        let names = names.into_iter().flatten();
        names.map(|name| Name::new(name).unwrap()).collect()
    }

    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        self.note(who, &format!(" claim {answer:?}"));
        match answer {
            "" => ClaimAnswer::Refused,
            SLOW => self.never().await,
            TAKEN => ClaimAnswer::Failed("Not now.".to_owned()),
            answer if self.claims(who).await.iter().any(|n| n.as_str() == answer) => {
                ClaimAnswer::Accepted
            }
            _ => ClaimAnswer::Again("Which? ".to_owned()),
        }
    }

    async fn check_invite(&self, who: AuthRequest<'_>, code: &str) -> Result<(), InviteRejected> {
        assert!(who.key.is_some());
        self.note(who, &format!(" code {code:?}"));
        match code {
            GOOD | USED | "" => Ok(()),
            SLOW => self.never().await,
            _ => not("That code opens nothing.", RetryPrompt::Code),
        }
    }

    async fn redeem_invite(
        &self,
        who: AuthRequest<'_>,
        code: &str,
        name: &str,
    ) -> Result<(), InviteRejected> {
        assert!(who.key.is_some());
        self.note(who, &format!(" code {code:?} name {name:?}"));
        match (code, name) {
            (GOOD, TAKEN) => not("It is taken.", RetryPrompt::Name),
            (GOOD, SLOW) => self.never().await,
            (GOOD, _) => Ok(()),
            ("", _) => not("An operator was asked.", RetryPrompt::Nothing),
            _ => not("That code opens nothing.", RetryPrompt::Code),
        }
    }
}
