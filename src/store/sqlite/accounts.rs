//! People: accounts, names, keys, settings, and how far they have read.

use rusqlite::{Connection, OptionalExtension, Row};

use super::messages::{blob, conversation_id, place, unsigned};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, Seq, Time};
use crate::chat::preferences::Preferences;
use crate::store::{Account, ClaimError, MAX_NAMES, Mark, StoreError};

pub(super) fn by_key(db: &Connection, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
    db.prepare_cached(
        "SELECT a.id, a.name, a.created, a.preferences
         FROM keys k JOIN accounts a ON a.id = k.account WHERE k.fingerprint = ?1",
    )?
    .query_row([key.as_str()], raw)
    .optional()?
    .map(to_account)
    .transpose()
}

pub(super) fn by_name(db: &Connection, name: &Name) -> Result<Option<Account>, StoreError> {
    db.prepare_cached(
        "SELECT a.id, a.name, a.created, a.preferences
         FROM names n JOIN accounts a ON a.id = n.account WHERE n.skeleton = ?1",
    )?
    .query_row([name.skeleton()], raw)
    .optional()?
    .map(to_account)
    .transpose()
}

/// Makes an account. Made again just the same, it is the one that is there: so a caller that got
/// no answer may repeat the call.
pub(super) fn create(
    db: &Connection,
    account: &Account,
    key: &Fingerprint,
) -> Result<(), ClaimError> {
    let id = blob(account.id);
    let name_owner = owner(db, &account.name)?;
    if name_owner.is_some_and(|owner| owner != id) {
        return Err(ClaimError::NameTaken);
    }
    let key_owner: Option<[u8; 16]> = db
        .prepare_cached("SELECT account FROM keys WHERE fingerprint = ?1")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()?;
    if key_owner.is_some_and(|owner| owner != id) {
        return Err(ClaimError::KeyTaken);
    }
    if name_owner.is_some() && key_owner.is_some() {
        return Ok(());
    }
    let preferences = to_json(&account.preferences)?;
    db.prepare_cached(
        "INSERT INTO accounts (id, name, created, preferences) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute((id, account.name.as_str(), account.created.0, preferences))?;
    own(db, account.id, &account.name)?;
    db.prepare_cached("INSERT INTO keys (fingerprint, account, added) VALUES (?1, ?2, ?3)")?
        .execute((key.as_str(), id, account.created.0))?;
    Ok(())
}

pub(super) fn rename(db: &Connection, account: AccountId, name: &Name) -> Result<(), ClaimError> {
    let id = blob(account);
    if !exists(db, account)? {
        return Err(ClaimError::NoAccount);
    }
    match owner(db, name)? {
        Some(owner) if owner == id => {}
        Some(_) => return Err(ClaimError::NameTaken),
        None => {
            let names = names(db, account)?;
            if names.len() >= MAX_NAMES {
                return Err(ClaimError::TooManyNames(names));
            }
        }
    }
    own(db, account, name)?;
    db.prepare_cached("UPDATE accounts SET name = ?2 WHERE id = ?1")?
        .execute((id, name.as_str()))?;
    Ok(())
}

pub(super) fn save_preferences(
    db: &Connection,
    account: AccountId,
    preferences: &Preferences,
) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE accounts SET preferences = ?2 WHERE id = ?1")?
        .execute((blob(account), to_json(preferences)?))?;
    Ok(())
}

pub(super) fn mark(
    db: &Connection,
    account: AccountId,
    conversation: &Conversation,
) -> Result<Option<Mark>, StoreError> {
    let found: Option<(i64, i64)> = db
        .prepare_cached(
            "SELECT seq, at FROM marks
             WHERE account = ?1
               AND conversation = (SELECT id FROM conversations WHERE key = ?2)",
        )?
        .query_row((blob(account), conversation.to_string()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found
        .map(|(seq, at)| {
            Ok(Mark {
                seq: Seq(unsigned(seq)?),
                at: Time(at),
            })
        })
        .transpose()
}

/// Moves marks forward. Those of guests, who have no account, are not kept.
pub(super) fn save_marks(
    db: &Connection,
    marks: &[(AccountId, Conversation, Mark)],
) -> Result<(), StoreError> {
    for (account, conversation, mark) in marks {
        if !exists(db, *account)? {
            continue;
        }
        let conversation = conversation_id(db, conversation)?;
        db.prepare_cached(
            "INSERT INTO marks (account, conversation, seq, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, conversation)
             DO UPDATE SET seq = excluded.seq, at = max(at, excluded.at)
             WHERE excluded.seq >= seq",
        )?
        .execute((blob(*account), conversation, place(mark.seq), mark.at.0))?;
    }
    Ok(())
}

fn exists(db: &Connection, account: AccountId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")?
        .exists([blob(account)])
}

/// Whose a name is, or one that looks like it.
fn owner(db: &Connection, name: &Name) -> rusqlite::Result<Option<[u8; 16]>> {
    db.prepare_cached("SELECT account FROM names WHERE skeleton = ?1")?
        .query_row([name.skeleton()], |row| row.get(0))
        .optional()
}

/// Writes down that a free name, or one of its own, is this account's. Of those that look the
/// same the latest is kept.
fn own(db: &Connection, account: AccountId, name: &Name) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO names (skeleton, name, account) VALUES (?1, ?2, ?3)
         ON CONFLICT (skeleton) DO UPDATE SET name = excluded.name",
    )?
    .execute((name.skeleton(), name.as_str(), blob(account)))?;
    Ok(())
}

fn names(db: &Connection, account: AccountId) -> Result<Vec<Name>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT name FROM names WHERE account = ?1 ORDER BY name")?;
    let mut rows = statement.query([blob(account)])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let raw: String = row.get(0)?;
        names.push(to_name(&raw, account)?);
    }
    Ok(names)
}

fn raw(row: &Row<'_>) -> rusqlite::Result<([u8; 16], String, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn to_account(
    (id, name, created, preferences): ([u8; 16], String, i64, String),
) -> Result<Account, StoreError> {
    let id = AccountId(u128::from_be_bytes(id));
    Ok(Account {
        id,
        name: to_name(&name, id)?,
        created: Time(created),
        preferences: serde_json::from_str(&preferences).map_err(|error| {
            StoreError::Corrupt(format!("account {id} has bad preferences: {error}"))
        })?,
    })
}

fn to_name(raw: &str, account: AccountId) -> Result<Name, StoreError> {
    Name::stored(raw).map_err(|error| {
        StoreError::Corrupt(format!(
            "account {account} has the bad name {raw:?}: {error}"
        ))
    })
}

fn to_json(preferences: &Preferences) -> Result<String, StoreError> {
    serde_json::to_string(preferences)
        .map_err(|error| StoreError::Corrupt(format!("preferences can't be written: {error}")))
}
