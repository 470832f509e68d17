//! Signing in: from an authenticated key to an account and a name.

use std::time::Duration;

use crate::access::{AdminService, NotAdmitted};
use crate::chat::access::{KeyRecord, Role, length};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name, Now, Time};
use crate::chat::preferences::Preferences;
use crate::store::{Account, ChangeError, Store, StoreError};

use super::context::SessionUser;
use super::peer::Peer;
use super::usage::{Newcomer, Usage};
use crate::access::authenticator::ProvenKey;
use crate::text::{Text, clip};

/// Why a user can't sign in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Access is denied.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The store failed.
    #[error("Can't sign in right now: {0}.")]
    Store(#[from] StoreError),
    /// Too many new accounts or guests from the same address.
    #[error(
        "Too many {who} from your address. Try again in {}, or {instead}.",
        length(u64::try_from(.wait.as_millis()).unwrap_or(u64::MAX))
    )]
    TooMany {
        /// New accounts or guests.
        who: &'static str,
        /// How long to wait.
        wait: Duration,
        /// What isn't limited.
        instead: &'static str,
    },
}

const NOT_REGISTERED: &str = "Your key is not registered here.";

/// The number of guest names tried before giving up.
const MAX_TRIES: usize = 16;
/// How much of an invalid login name is repeated, in terminal cells.
const SHOWN_CELLS: usize = 40;

/// Finds or creates the account of a client, and returns it with its preferences. A known key is
/// the same user again. A new key gets the login name if it's free, or else a guest name. Without a
/// key there is no account, and the name lasts as long as the session.
pub async fn sign_in(
    store: &dyn Store,
    orders: &dyn AdminService,
    usage: &Usage,
    peer: &Peer,
    now: Now,
) -> Result<(SessionUser, Preferences), SignInError> {
    let admission = orders
        .admit(peer.auth_request(), peer.take_ticket())
        .await?;
    let Some(key) = &peer.key else {
        take_newcomer(usage, Newcomer::Guest, peer, now)?;
        let author = Author {
            account: AccountId(rand::random()),
            name: guest_name(orders).await?,
        };
        let me = SessionUser {
            author,
            guest: true,
            role: Role::Guest,
            key: None,
            remark: None,
        };
        return Ok((me, Preferences::default()));
    };
    if let Some(account) = admission.account {
        let remark = account.proof_by.map(|_just_proven| {
            format!(
                "The name {} was requested on the web and is now yours, because you connected with its \
                 key. If you didn't request it, choose another with /nick NAME.",
                account.name
            )
        });
        let me = known(orders, &account, key, remark);
        return Ok((me, account.preferences));
    }
    if !admission.may_be_new {
        return Err(NotAdmitted::Refused(NOT_REGISTERED.into()).into());
    }
    // Operators named in the configuration aren't limited by others at their address.
    if orders.role(Role::Member, Some(&key.fingerprint)) != Role::Operator {
        take_newcomer(usage, Newcomer::Account, peer, now)?;
    }
    let now = now.wall;
    let wanted = Name::new(peer.user.as_str());
    if let Ok(name) = &wanted
        && let Some(account) = create(store, orders, peer, name.clone(), key, now).await?
    {
        let me = known(orders, &account, key, None);
        return Ok((me, account.preferences));
    }
    for _ in 0..MAX_TRIES {
        let name = free_guest_name(store).await?;
        if let Some(account) = create(store, orders, peer, name.clone(), key, now).await? {
            let reason = match wanted {
                Ok(name) => format!("The name {name} is taken."),
                Err(error) => format!(
                    "{:?} can't be your name: {error}.",
                    clip(peer.user.as_str(), SHOWN_CELLS)
                ),
            };
            let remark = format!("{reason} Choose another with /nick NAME; it stays yours.");
            // Not if the same key signed in elsewhere just now, and got the name.
            let me = known(
                orders,
                &account,
                key,
                (account.name == name).then_some(remark),
            );
            return Ok((me, account.preferences));
        }
    }
    Err(no_free_name().into())
}

/// Takes a new account or guest from the rate limit of the address.
fn take_newcomer(
    usage: &Usage,
    newcomer: Newcomer,
    peer: &Peer,
    now: Now,
) -> Result<(), SignInError> {
    let addr = peer.addr.ip();
    let Err(wait) = usage.take_newcomer(newcomer, addr, now.mono) else {
        return Ok(());
    };
    let (who, instead) = match newcomer {
        Newcomer::Account => ("new accounts", "ask an operator for an invite"),
        Newcomer::Guest => ("guests", "connect with a key (ssh-keygen makes one)"),
    };
    tracing::info!(event = "newcomer_refused", who, %addr, "sign-in rate limited");
    Err(SignInError::TooMany { who, wait, instead })
}

/// Checks again whether a user is admitted, now that later changes will find their session. Returns
/// their role.
pub(super) async fn still_admitted(
    orders: &dyn AdminService,
    peer: &Peer,
    me: &SessionUser,
) -> Result<Role, NotAdmitted> {
    let admission = orders.admit(peer.auth_request(), None).await?;
    let Some(key) = &peer.key else {
        return Ok(me.role);
    };
    match admission.account {
        Some(account) if account.id == me.author.account => {
            Ok(orders.role(account.role, Some(&key.fingerprint)))
        }
        // On an open server the key could get a new account, but not this one.
        _ => Err(NotAdmitted::Refused(NOT_REGISTERED.into())),
    }
}

fn known(
    orders: &dyn AdminService,
    account: &Account,
    key: &ProvenKey,
    remark: Option<String>,
) -> SessionUser {
    let key = &key.fingerprint;
    SessionUser {
        author: Author {
            account: account.id,
            name: account.name.clone(),
        },
        guest: false,
        role: orders.role(account.role, Some(key)),
        key: Some(key.clone()),
        remark,
    }
}

/// Creates an account; `None` if the name was taken meanwhile. Returns the existing account if the
/// same key signed in elsewhere meanwhile.
async fn create(
    store: &dyn Store,
    orders: &dyn AdminService,
    peer: &Peer,
    name: Name,
    key: &ProvenKey,
    now: Time,
) -> Result<Option<Account>, StoreError> {
    let record = KeyRecord {
        fingerprint: key.fingerprint.clone(),
        algorithm: key.algorithm.clone(),
        comment: Text::stored(""),
        added: now,
    };
    let account = Account::new(AccountId(rand::random()), name, Role::Member, now);
    let created = orders.create_account(peer.auth_request(), &account, &record);
    match created.await {
        Ok(()) => Ok(Some(account)),
        Err(ChangeError::KeyTaken) => store.account_by_key(&key.fingerprint).await,
        Err(ChangeError::Store(error)) => Err(error),
        Err(_name_taken) => Ok(None),
    }
}

/// A name for a user without an account. Doesn't need the store.
async fn guest_name(orders: &dyn AdminService) -> Result<Name, StoreError> {
    for _ in 0..MAX_TRIES {
        let name = Name::guest(rand::random());
        if orders.is_name_free(&name).await {
            return Ok(name);
        }
    }
    Err(no_free_name())
}

fn no_free_name() -> StoreError {
    StoreError::Unavailable("no free name found".into())
}

async fn free_guest_name(store: &dyn Store) -> Result<Name, StoreError> {
    for _ in 0..MAX_TRIES {
        let name = Name::guest(rand::random());
        if store.account_by_name(&name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(no_free_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Admission;
    use crate::access::authenticator::{AuthRequest, AuthTicket, ClaimAnswer};
    use crate::access::orders::{Order, OrderReply, Requester};
    use crate::chat::ids::Fingerprint;
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex};

    /// An open server that gives the same answer to every request.
    struct FixedAdmission(Result<Option<Account>, NotAdmitted>);

    #[async_trait]
    impl AdminService for FixedAdmission {
        fn changes(&self) -> u64 {
            0
        }

        async fn admit(
            &self,
            _: AuthRequest<'_>,
            _: Option<Box<AuthTicket>>,
        ) -> Result<Admission, NotAdmitted> {
            self.0.clone().map(|account| Admission {
                account,
                may_be_new: true,
            })
        }

        async fn claims(&self, _: AuthRequest<'_>) -> Vec<Name> {
            Vec::new()
        }

        async fn answer_claim(&self, _: AuthRequest<'_>, _: &str) -> ClaimAnswer {
            ClaimAnswer::Refused
        }

        async fn create_account(
            &self,
            _: AuthRequest<'_>,
            _: &Account,
            _: &KeyRecord,
        ) -> Result<(), ChangeError> {
            Ok(())
        }

        async fn is_name_free(&self, _: &Name) -> bool {
            true
        }

        async fn execute(self: Arc<Self>, _: Requester, _: Order) -> Result<OrderReply, String> {
            Err("no".to_owned())
        }

        fn role(&self, stored: Role, _: Option<&Fingerprint>) -> Role {
            stored
        }
    }

    /// Being admitted isn't enough: it has to be the account of the session.
    #[tokio::test]
    async fn a_session_continues_for_its_account_only() {
        let key = ProvenKey {
            fingerprint: Fingerprint::new("SHA256:x"),
            algorithm: Text::stored_line("ssh-ed25519"),
        };
        let name = || Name::new("ann").unwrap();
        let account = |id, role| Account::new(AccountId(id), name(), role, Time(0));
        let peer = |key| Peer {
            span: tracing::Span::none(),
            addr: "192.0.2.1:1".parse().unwrap(),
            user: Text::stored_line("ann"),
            key,
            client: Text::stored_line("SSH-2.0-Test"),
            ticket: Mutex::default(),
        };
        let hers = account(1, Role::Member);
        let admin = FixedAdmission(Ok(None));
        let me = known(&admin, &hers, &key, None);
        let refused = Err(NotAdmitted::Refused(NOT_REGISTERED.to_owned()));
        for (found, expected) in [
            (Ok(Some(hers)), Ok(Role::Member)),
            (Ok(Some(account(1, Role::Operator))), Ok(Role::Operator)),
            (Ok(Some(account(2, Role::Member))), refused.clone()),
            (Ok(None), refused),
            (Err(NotAdmitted::Unavailable), Err(NotAdmitted::Unavailable)),
        ] {
            let case = format!("{found:?}");
            let still = still_admitted(&FixedAdmission(found), &peer(Some(key.clone())), &me).await;
            assert_eq!(still, expected, "{case}");
        }
        let guest = still_admitted(&admin, &peer(None), &me).await;
        assert_eq!(guest, Ok(me.role), "a guest has no account");
    }
}
