//! Who somebody is: from the key that they proved to have to an account and a name.

use crate::access::Keeper;
use crate::chat::access::{KeyRecord, Role};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name, Time};
use crate::chat::preferences::Preferences;
use crate::store::{Account, ClaimError, Store, StoreError};

use super::machine::Me;
use super::peer::Peer;
use crate::access::door::ProvenKey;
use crate::text::Text;

/// Why somebody has no part in the chat.
#[derive(Debug, thiserror::Error)]
pub enum NotSignedIn {
    /// They may not come in: why.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error("You can't come in at this moment: {0}.")]
    Store(#[from] StoreError),
}

/// How often another guest name is tried before giving up.
const TRIES: usize = 16;

/// Finds the account of a peer who may come in, or makes one. A key that was here before is the same person
/// again; a new key gets the login name if it is free, and a guest name otherwise; without a key
/// there is no account, and the name lasts as long as the session.
pub async fn sign_in(
    store: &dyn Store,
    orders: &dyn Keeper,
    peer: &Peer,
    now: Time,
) -> Result<(Me, Preferences), NotSignedIn> {
    let admission = orders.admit(peer.candidate()).await;
    let admission = admission.map_err(NotSignedIn::Refused)?;
    let Some(key) = &peer.key else {
        let author = Author {
            account: AccountId(rand::random()),
            name: free_guest_name(store).await?,
        };
        let me = Me {
            author,
            guest: true,
            role: Role::Guest,
            key: None,
            remark: None,
        };
        return Ok((me, Preferences::default()));
    };
    if let Some(account) = admission.account {
        return Ok((known(orders, &account, key, None), account.preferences));
    }
    if !admission.may_be_new {
        return Err(NotSignedIn::Refused(
            "Your key is not registered here.".into(),
        ));
    }
    let wanted = Name::new(&peer.user).ok().filter(|name| !name.is_guest());
    if let Some(name) = &wanted
        && let Some(account) = create(store, name.clone(), key, now).await?
    {
        return Ok((known(orders, &account, key, None), account.preferences));
    }
    for _ in 0..TRIES {
        let name = free_guest_name(store).await?;
        if let Some(account) = create(store, name, key, now).await? {
            let reason = match wanted {
                Some(name) => format!("The name {name} is taken."),
                None => format!("{:?} can't be a name here.", peer.user),
            };
            let remark = format!("{reason} /nick NAME takes another one, which stays yours.");
            return Ok((
                known(orders, &account, key, Some(remark)),
                account.preferences,
            ));
        }
    }
    Err(StoreError::Unavailable("no free name was found".into()).into())
}

fn known(orders: &dyn Keeper, account: &Account, key: &ProvenKey, remark: Option<String>) -> Me {
    let key = &key.fingerprint;
    Me {
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

/// Makes an account; `None` if the name was taken in the meantime. If the same key signed in
/// elsewhere in the meantime, that account is the answer.
async fn create(
    store: &dyn Store,
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
    let account = Account {
        role: Role::Member,
        id: AccountId(rand::random()),
        name,
        created: now,
        preferences: Preferences::default(),
    };
    match store.create_account(&account, &record).await {
        Ok(()) => Ok(Some(account)),
        Err(ClaimError::KeyTaken) => store.account_by_key(&key.fingerprint).await,
        Err(ClaimError::Store(error)) => Err(error),
        Err(ClaimError::NameTaken | ClaimError::NoAccount | ClaimError::TooManyNames(_)) => {
            Ok(None)
        }
    }
}

async fn free_guest_name(store: &dyn Store) -> Result<Name, StoreError> {
    for _ in 0..TRIES {
        let name = Name::guest(rand::random());
        if store.account_by_name(&name).await?.is_none() {
            return Ok(name);
        }
    }
    Err(StoreError::Unavailable("no free name was found".into()))
}
