//! What becomes of a form: judged, then redeemed in one step of the store.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout};

use super::form::{Form, Problems};
use crate::chat::access::{Actor, KeyRecord, Role};
use crate::chat::ids::{AccountId, Name, Time};
use crate::chat::invite::Code;
use crate::clock;
use crate::keys::{KeyLineError, read_public_key};
use crate::store::{Account, Action, Change, ChangeError, ChangeOutcome, Store, StoreError};

/// How long somebody has to come in with the key that they gave, in milliseconds: a week.
const PROOF: u64 = 7 * 86_400_000;
/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it takes until a code is found wrong. Always the same, so that nobody learns from it
/// whether a code was ever good.
const WRONG: Duration = Duration::from_millis(500);

const NO_CODE: &str =
    "There is no invite code. Enter the one that you were sent, or ask an operator for one.";
const BAD_CODE: &str =
    "That code is not good: mistyped, used up or expired. Try again, or ask for a new one.";
const LOCKED: &str = "New sign-ups are closed for now. Try again later, or ask an operator.";
const NOT_NOW: &str = "The server can't look this up at this moment. Send the form again in a minute: if it was \
     taken after all, nothing is done twice.";
const PRIVATE: &str = "You sent a PRIVATE key. It was thrown away here, and is in no log. Read what stands beside \
     the field before you go on.";

/// Redeems invites.
pub(super) struct Desk {
    store: Arc<dyn Store>,
}

/// Somebody whose key is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Welcome {
    pub name: Name,
    pub role: Role,
    pub key: KeyRecord,
    /// Until when they have to come in for the first time. `None` if they have already.
    pub proof_by: Option<Time>,
}

/// What becomes of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    In(Welcome),
    Not(StatusCode, Problems),
}

/// A form with nothing wrong in it, as far as can be said without the store.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// The hash of the code; of one that can't be any, something that is no hash either.
    hash: String,
    name: Name,
    key: KeyRecord,
}

impl Desk {
    pub fn new(store: Arc<dyn Store>) -> Desk {
        Desk { store }
    }

    /// Lets somebody in, or says why not. `join` is what they type when they are in.
    pub async fn serve(&self, form: &Form, join: &str) -> Outcome {
        let judged = Instant::now() + WRONG;
        let now = clock::now();
        let request = match judge(form, now) {
            Ok(request) => request,
            Err(problems) => return Outcome::Not(StatusCode::UNPROCESSABLE_ENTITY, problems),
        };
        // What takes so long may have been done all the same, as with a store that says so.
        let late = || Err(StoreError::Unavailable("no answer in time".into()));
        let answer = timeout(PATIENCE, self.redeem(&request, now)).await;
        let answer =
            answer.unwrap_or_else(|_| late().map_err(ChangeError::from).map_err(Refused::from));
        match answer {
            Ok(account) => {
                tracing::info!(event = "web_redeemed", account = %account.id, role = %account.role, "somebody registered a key on the web page");
                Outcome::In(Welcome {
                    name: account.name,
                    role: account.role,
                    key: request.key,
                    proof_by: account.proof_by,
                })
            }
            Err(refused) => {
                if refused == Refused::Code {
                    tracing::info!(
                        event = "web_invite_wrong",
                        "an invite code on the web page did not let somebody in"
                    );
                    sleep_until(judged).await;
                }
                refused.outcome(&request, join)
            }
        }
    }

    async fn redeem(&self, request: &Request, now: Time) -> Result<Account, Refused> {
        let lockdown = self.store.lockdown(now).await?;
        if lockdown.is_some_and(|lockdown| lockdown.scope.is_everyone()) {
            return Err(Refused::Locked);
        }
        let Request { hash, name, key } = request;
        let account = Account {
            proof_by: Some(now.plus(PROOF)),
            ..Account::new(request.account(), name.clone(), Role::Member, now)
        };
        let redeem = Change {
            at: now,
            actor: Actor::Web,
            action: Action::RedeemInvite {
                hash: hash.clone(),
                account: account.clone(),
                key: key.clone(),
            },
        };
        match self.store.apply(&redeem).await?.outcome {
            ChangeOutcome::Redeemed(made) | ChangeOutcome::RedeemedBefore(made) => Ok(made),
            _ => Ok(account),
        }
    }
}

/// Why somebody is not let in with a form that looks right.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Locked,
    Code,
    Claim(ChangeError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        Refused::Claim(error.into())
    }
}

impl From<ChangeError> for Refused {
    fn from(error: ChangeError) -> Refused {
        match error {
            ChangeError::BadCode => Refused::Code,
            error => Refused::Claim(error),
        }
    }
}

impl Refused {
    fn outcome(self, request: &Request, join: &str) -> Outcome {
        let mut problems = Problems::default();
        let status = match self {
            Refused::Locked => {
                problems.all = Some(LOCKED.to_owned());
                StatusCode::FORBIDDEN
            }
            Refused::Code => {
                problems.code = Some(BAD_CODE.to_owned());
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Refused::Claim(ChangeError::KeyTaken) => {
                problems.key = Some(format!(
                    "This key is registered already, and your invite was not used. Type {join} and \
                     you are in."
                ));
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Refused::Claim(ChangeError::Store(error)) => {
                tracing::error!(event = "redeem_failed", %error, "an invite could not be looked up");
                problems.all = Some(NOT_NOW.to_owned());
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refused::Claim(_) => {
                let name = &request.name;
                problems.name = Some(format!(
                    "The name {name} is taken, or looks like one that is. Choose another."
                ));
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Outcome::Not(status, problems)
    }
}

impl Request {
    /// The number of the account: the same for the same form, so that one that is sent twice makes
    /// one account. Nobody can guess it who does not have the code.
    fn account(&self) -> AccountId {
        let mut digest = Sha256::new_with_prefix("ssh-chat web account");
        for part in [
            &self.hash,
            self.key.fingerprint.as_str(),
            self.name.as_str(),
        ] {
            digest.update([0]);
            digest.update(part);
        }
        let digest = digest.finalize();
        let bytes = digest.first_chunk().copied().unwrap_or_default();
        AccountId(u128::from_be_bytes(bytes))
    }
}

/// Looks for all that is wrong in a form.
fn judge(form: &Form, now: Time) -> Result<Request, Problems> {
    let mut problems = Problems::default();
    if form.code.is_empty() {
        problems.code = Some(NO_CODE.to_owned());
    }
    let name = match Name::new(&form.name) {
        Ok(name) => Some(name),
        Err(error) => {
            problems.name = Some(sentence(&error));
            None
        }
    };
    let key = read_public_key(&form.key, now);
    let key = key.map_err(|error| problems.key = Some(sentence(&error)));
    if let Some(field) = form.private {
        problems.all = Some(PRIVATE.to_owned());
        let place = match field {
            "code" => &mut problems.code,
            "name" => &mut problems.name,
            _ => &mut problems.key,
        };
        *place = Some(sentence(&KeyLineError::Private));
    }
    match (name, key, problems.none()) {
        (Some(name), Ok(key), true) => Ok(Request {
            // What is no code at all is looked up like any other, so that it takes the same time.
            hash: Code::parse(&form.code).map_or_else(String::new, |code| code.hash()),
            name,
            key,
        }),
        _ => Err(problems),
    }
}

/// A fact and what to do about it, as a sentence.
fn sentence(error: &impl std::error::Error) -> String {
    let words = error.to_string();
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

#[cfg(test)]
mod tests;
