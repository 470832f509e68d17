//! Registration: validates a form, then redeems the invite in one transaction of the store.

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
use crate::store::{Account, Change, ChangeAction, ChangeError, ChangeOutcome, Store, StoreError};

/// How long the owner has to log in with the key for the first time: a week, in milliseconds.
const PROOF_PERIOD: u64 = 7 * 86_400_000;
/// The timeout for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// The response time for an invalid code. Constant, so that it doesn't reveal whether the code ever
/// existed.
const INVALID_CODE_DELAY: Duration = Duration::from_millis(500);

const NO_CODE: &str =
    "Invite code missing. Enter the code you were sent, or ask an operator for one.";
const BAD_CODE: &str =
    "Invalid invite code: mistyped, already used or expired. Try again, or ask for a new one.";
const LOCKED: &str = "New sign-ups are closed for now. Try again later, or ask an operator.";
const STORE_FAILED: &str = "Not registered: the server can't reach its data store. Submit the form again in a \
     minute. If the first attempt went through after all, nothing happens twice.";
const PRIVATE_KEY: &str = "You sent a PRIVATE key. It was discarded and isn't in any log. Read the message at the \
     field before you go on.";

/// Redeems invites.
pub(super) struct Registrar {
    store: Arc<dyn Store>,
}

/// An account with its registered key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    pub name: Name,
    pub role: Role,
    pub key: KeyRecord,
    /// The deadline for the first login; `None` if there was one.
    pub proof_by: Option<Time>,
}

/// The result of submitting a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Registered(Registered),
    Rejected(StatusCode, Problems),
}

/// A valid form, as far as can be checked without the store.
#[derive(Debug, PartialEq, Eq)]
struct ValidForm {
    /// The hash of the code; empty, and so never found, if the code is malformed.
    hash: String,
    name: Name,
    key: KeyRecord,
}

impl Registrar {
    pub fn new(store: Arc<dyn Store>) -> Registrar {
        Registrar { store }
    }

    /// Registers the key in a form. `join` is the command that the error messages suggest.
    pub async fn register(&self, form: &Form, join: &str) -> Outcome {
        let respond_at = Instant::now() + INVALID_CODE_DELAY;
        let now = clock::now();
        let request = match validate(form, now) {
            Ok(request) => request,
            Err(problems) => return Outcome::Rejected(StatusCode::UNPROCESSABLE_ENTITY, problems),
        };
        // A call that timed out may still have been committed.
        let answer = timeout(STORE_TIMEOUT, self.redeem(&request, now)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(StoreError::Unavailable("timed out".into()).into()));
        match answer {
            Ok(account) => {
                tracing::info!(event = "web_redeemed", account = %account.id, role = %account.role, "key registered on the key page");
                Outcome::Registered(Registered {
                    name: account.name,
                    role: account.role,
                    key: request.key,
                    proof_by: account.proof_by,
                })
            }
            Err(rejection) => {
                if rejection == Rejection::Store(ChangeError::BadCode) {
                    tracing::info!(
                        event = "web_invite_wrong",
                        "invalid invite code on the key page"
                    );
                    sleep_until(respond_at).await;
                }
                rejection.outcome(&request, join)
            }
        }
    }

    async fn redeem(&self, request: &ValidForm, now: Time) -> Result<Account, Rejection> {
        let lockdown = self.store.lockdown(now).await?;
        if lockdown.is_some_and(|lockdown| lockdown.scope.is_everyone()) {
            return Err(Rejection::Lockdown);
        }
        let ValidForm { hash, name, key } = request;
        let account = Account {
            proof_by: Some(now.plus(PROOF_PERIOD)),
            ..Account::new(request.account(), name.clone(), Role::Member, now)
        };
        let redeem = Change {
            at: now,
            actor: Actor::Web,
            action: ChangeAction::RedeemInvite {
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

/// Why a valid form is rejected.
#[derive(Debug, PartialEq, Eq)]
enum Rejection {
    Lockdown,
    Store(ChangeError),
}

impl<E: Into<ChangeError>> From<E> for Rejection {
    fn from(error: E) -> Rejection {
        Rejection::Store(error.into())
    }
}

impl Rejection {
    fn outcome(self, request: &ValidForm, join: &str) -> Outcome {
        let mut problems = Problems::default();
        let status = match self {
            Rejection::Lockdown => {
                problems.general = Some(LOCKED.to_owned());
                StatusCode::FORBIDDEN
            }
            Rejection::Store(ChangeError::BadCode) => {
                problems.code = Some(BAD_CODE.to_owned());
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Rejection::Store(ChangeError::KeyTaken) => {
                problems.key = Some(format!(
                    "This key is already registered. Your invite was not used: run {join} to log in."
                ));
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Rejection::Store(ChangeError::Store(error)) => {
                tracing::error!(event = "redeem_failed", %error, "registration failed");
                problems.general = Some(STORE_FAILED.to_owned());
                StatusCode::SERVICE_UNAVAILABLE
            }
            Rejection::Store(_) => {
                let name = &request.name;
                problems.name = Some(format!(
                    "The name {name} is taken, or too similar to one that is. Choose another."
                ));
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Outcome::Rejected(status, problems)
    }
}

impl ValidForm {
    /// Derives the account id from the form, so that a form that's submitted twice creates one
    /// account. It can't be guessed without the code.
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

/// Validates a form, collecting all problems.
fn validate(form: &Form, now: Time) -> Result<ValidForm, Problems> {
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
        problems.general = Some(PRIVATE_KEY.to_owned());
        let problem = match field {
            "code" => &mut problems.code,
            "name" => &mut problems.name,
            _ => &mut problems.key,
        };
        *problem = Some(sentence(&KeyLineError::Private));
    }
    match (name, key, problems.is_empty()) {
        (Some(name), Ok(key), true) => Ok(ValidForm {
            // A malformed code is looked up like any other, so that it takes the same time.
            hash: Code::parse(&form.code).map_or_else(String::new, |code| code.hash()),
            name,
            key,
        }),
        _ => Err(problems),
    }
}

/// Formats an error as a sentence.
fn sentence(error: &impl std::error::Error) -> String {
    let words = error.to_string();
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

#[cfg(test)]
mod tests;
