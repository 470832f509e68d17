//! Who somebody is: from the key that they proved to have to an account and a name.

use crate::access::Orders;
use crate::chat::access::{KeyRecord, Role};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name, Time};
use crate::chat::preferences::Preferences;
use crate::store::{Account, ClaimError, Store, StoreError};

use super::machine::Me;
use super::peer::Peer;
use crate::access::door::ProvenKey;
use crate::text::Text;

/// How often another guest name is tried before giving up.
const TRIES: usize = 16;

/// Finds the account of a peer, or makes one. A key that was here before is the same person
/// again; a new key gets the login name if it is free, and a guest name otherwise; without a key
/// there is no account, and the name lasts as long as the session.
pub async fn sign_in(
    store: &dyn Store,
    orders: &dyn Orders,
    peer: &Peer,
    now: Time,
) -> Result<(Me, Preferences), StoreError> {
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
    if let Some(account) = store.account_by_key(&key.fingerprint).await? {
        return Ok((known(orders, &account, key, None), account.preferences));
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
    Err(StoreError::Unavailable("no free name was found".into()))
}

fn known(orders: &dyn Orders, account: &Account, key: &ProvenKey, remark: Option<String>) -> Me {
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
