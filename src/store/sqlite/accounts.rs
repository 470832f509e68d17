//! Accounts with their names, roles, settings, read markers and keys, and claims on keys.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::columns::{blob, line, place, to_account_id, to_name, to_role, unsigned};
use super::messages::conversation_id;
use crate::chat::access::{KeyRecord, Role, WAITS};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, Seq, Time};
use crate::chat::preferences::Preferences;
use crate::store::change::{MAX_CLAIMS, MAX_KEYS};
use crate::store::people::AccountWithKeys;
use crate::store::{
    Account, ChangeError, ChangeOutcome, MAX_NAMES, ReadMarker, StoreError, stored_role,
};
use crate::text::Text;

/// The columns for [`to_account`], of `accounts a`.
pub(super) const COLUMNS: &str = "a.id, a.name, a.role, a.created, a.preferences, a.proof_by";

/// The tables whose rows are deleted with their account.
const BELONGINGS: [&str; 5] = ["names", "keys", "claims", "marks", "mutes"];

pub(super) fn by_key(db: &Connection, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM keys k JOIN accounts a ON a.id = k.account
         WHERE k.fingerprint = ?1"
    ))?
    .query_and_then([key.as_str()], to_account)?
    .next()
    .transpose()
}

pub(super) fn by_id(db: &Connection, id: AccountId) -> Result<Option<Account>, StoreError> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM accounts a WHERE a.id = ?1"))?
        .query_and_then([blob(id)], to_account)?
        .next()
        .transpose()
}

pub(super) fn by_name(db: &Connection, name: &Name) -> Result<Option<Account>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM names n JOIN accounts a ON a.id = n.account
         WHERE n.skeleton = ?1"
    ))?
    .query_and_then([name.skeleton()], to_account)?
    .next()
    .transpose()
}

/// All accounts by name with their keys.
pub(super) fn all_with_keys(
    db: &Connection,
) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, k.fingerprint, k.algorithm, k.comment, k.added
         FROM accounts a LEFT JOIN keys k ON k.account = a.id
         ORDER BY a.name, a.id, k.added, k.fingerprint"
    ))?;
    let mut rows = statement.query([])?;
    let mut all: Vec<Result<AccountWithKeys, StoreError>> = Vec::new();
    let mut before: Option<[u8; 16]> = None;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if before.replace(id) != Some(id) {
            all.push(isolate_corrupt(to_account(row))?.map(|account| (account, Vec::new())));
        }
        let Some(last) = all.last_mut() else { continue };
        let key: Option<String> = row.get("fingerprint")?;
        if let (Ok((_, keys)), Some(_)) = (&mut *last, key) {
            match isolate_corrupt(to_key(row))? {
                Ok(key) => keys.push(key),
                Err(error) => *last = Err(error),
            }
        }
    }
    Ok(all)
}

/// Separates a corrupt record from a failure of the store.
fn isolate_corrupt<T>(found: Result<T, StoreError>) -> Result<Result<T, StoreError>, StoreError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error @ StoreError::Corrupt(_)) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// The unproven accounts.
pub(super) fn unproven(db: &Connection) -> Result<Vec<Account>, StoreError> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM accounts a WHERE a.proof_by IS NOT NULL ORDER BY a.proof_by"
    ))?
    .query_and_then([], to_account)?
    .collect()
}

/// Creates an account. No effect if it exists with this name and key, so that a caller without an
/// answer may repeat the call.
pub(super) fn create(
    db: &Connection,
    account: &Account,
    key: &KeyRecord,
) -> Result<ChangeOutcome, ChangeError> {
    let id = blob(account.id);
    let name_owner = name_owner(db, &account.name)?;
    if name_owner.is_some_and(|owner| owner != id) {
        return Err(ChangeError::NameTaken);
    }
    let key_owner = key_owner(db, &key.fingerprint)?;
    if key_owner.is_some_and(|owner| owner != id) {
        return Err(ChangeError::KeyTaken);
    }
    if name_owner.is_some() && key_owner.is_some() {
        return Ok(ChangeOutcome::Unchanged);
    }
    // The id exists with another name or key.
    if exists(db, account.id)? {
        return Err(ChangeError::NameTaken);
    }
    insert(db, account)?;
    own_name(db, account.id, &account.name)?;
    insert_key(db, account.id, key)?;
    Ok(ChangeOutcome::Done)
}

/// Inserts a new account's row, without its names and keys.
pub(super) fn insert(db: &Connection, account: &Account) -> Result<(), StoreError> {
    let preferences = to_json(&account.preferences)?;
    db.prepare_cached(
        "INSERT INTO accounts (id, name, role, created, preferences, proof_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        blob(account.id),
        account.name.as_str(),
        stored_role(account.role)?,
        account.created.0,
        preferences,
        account.proof_by.map(|by| by.0),
    ))?;
    Ok(())
}

/// Changes an account's role.
pub(super) fn set_role(
    db: &Connection,
    account: AccountId,
    role: Role,
) -> Result<ChangeOutcome, ChangeError> {
    if !exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    let changed = db
        .prepare_cached("UPDATE accounts SET role = ?2 WHERE id = ?1 AND role <> ?2")?
        .execute((blob(account), stored_role(role)?))?;
    if changed == 0 {
        return Ok(ChangeOutcome::Unchanged);
    }
    // Only a demotion can get here, and the error rolls it back. Unproven operators don't count.
    let none_left = db
        .prepare_cached(
            "SELECT 1 FROM accounts WHERE id = ?1 AND proof_by IS NULL AND NOT EXISTS
             (SELECT 1 FROM accounts WHERE role = 'operator' AND proof_by IS NULL)",
        )?
        .exists([blob(account)])?;
    if none_left {
        return Err(ChangeError::LastOperator);
    }
    Ok(ChangeOutcome::Done)
}

pub(super) fn rename(
    db: &Connection,
    account: AccountId,
    name: &Name,
) -> Result<ChangeOutcome, ChangeError> {
    let id = blob(account);
    if !exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    match name_owner(db, name)? {
        Some(owner) if owner == id => {}
        Some(_) => return Err(ChangeError::NameTaken),
        None => {
            let names = names(db, account)?;
            if names.len() >= MAX_NAMES {
                return Err(ChangeError::TooManyNames(names));
            }
        }
    }
    let changed = db
        .prepare_cached("UPDATE accounts SET name = ?2 WHERE id = ?1 AND name <> ?2")?
        .execute((id, name.as_str()))?;
    if changed == 0 {
        return Ok(ChangeOutcome::Unchanged);
    }
    own_name(db, account, name)?;
    Ok(ChangeOutcome::Done)
}

/// Proves an account: someone logged in with its key.
pub(super) fn prove(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let proven = db
        .prepare_cached("UPDATE accounts SET proof_by = NULL WHERE id = ?1 AND proof_by > ?2")?
        .execute((blob(account), now.0))?;
    if proven > 0 {
        return Ok(ChangeOutcome::Done);
    }
    let was_before = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by IS NULL")?
        .exists([blob(account)])?;
    if was_before {
        Ok(ChangeOutcome::Unchanged)
    } else {
        Err(ChangeError::Forfeit)
    }
}

pub(super) fn forget(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    let forfeit = db
        .prepare_cached("SELECT 1 FROM accounts WHERE id = ?1 AND proof_by <= ?2")?
        .exists((blob(account), now.0))?;
    if !forfeit {
        return Ok(ChangeOutcome::Unchanged);
    }
    for table in BELONGINGS {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1"))?
            .execute([blob(account)])?;
    }
    db.prepare_cached("DELETE FROM accounts WHERE id = ?1")?
        .execute([blob(account)])?;
    Ok(ChangeOutcome::Done)
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
) -> Result<Option<ReadMarker>, StoreError> {
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
            Ok(ReadMarker {
                seq: Seq(unsigned(seq)?),
                at: Time(at),
            })
        })
        .transpose()
}

/// Moves read markers forward. Ignores those of guests, who have no account.
pub(super) fn save_marks(
    db: &Connection,
    marks: &[(AccountId, Conversation, ReadMarker)],
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

pub(super) fn exists(db: &Connection, account: AccountId) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM accounts WHERE id = ?1")?
        .exists([blob(account)])
}

/// The account that owns a name, or one that looks like it.
pub(super) fn name_owner(db: &Connection, name: &Name) -> rusqlite::Result<Option<[u8; 16]>> {
    db.prepare_cached("SELECT account FROM names WHERE skeleton = ?1")?
        .query_row([name.skeleton()], |row| row.get(0))
        .optional()
}

/// Makes a free name, or one of its own, this account's. Replaces its name that looks the same.
pub(super) fn own_name(db: &Connection, account: AccountId, name: &Name) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO names (skeleton, name, account) VALUES (?1, ?2, ?3)
         ON CONFLICT (skeleton) DO UPDATE SET name = excluded.name",
    )?
    .execute((name.skeleton(), name.as_str(), blob(account)))?;
    Ok(())
}

/// All names that an account owns.
pub(super) fn names(db: &Connection, account: AccountId) -> Result<Vec<Name>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT name FROM names WHERE account = ?1 ORDER BY name")?;
    let mut rows = statement.query([blob(account)])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let raw: String = row.get(0)?;
        names.push(to_name(&raw, || format!("account {account}"))?);
    }
    Ok(names)
}

/// Reads a row with [`COLUMNS`].
pub(super) fn to_account(row: &Row<'_>) -> Result<Account, StoreError> {
    let id = to_account_id(row.get(0)?);
    let what = || format!("account {id}");
    let (name, role): (String, String) = (row.get(1)?, row.get(2)?);
    let preferences: String = row.get(4)?;
    Ok(Account {
        id,
        name: to_name(&name, what)?,
        role: to_role(&role, what)?,
        created: Time(row.get(3)?),
        preferences: serde_json::from_str(&preferences).map_err(|error| {
            StoreError::Corrupt(format!("account {id} has invalid preferences: {error}"))
        })?,
        proof_by: row.get::<_, Option<i64>>(5)?.map(Time),
    })
}

fn to_json(preferences: &Preferences) -> Result<String, StoreError> {
    serde_json::to_string(preferences)
        .map_err(|error| StoreError::Internal(format!("preferences can't be written: {error}")))
}

/// The keys of an account, the oldest first.
pub(super) fn keys_of(db: &Connection, account: AccountId) -> Result<Vec<KeyRecord>, StoreError> {
    db.prepare_cached(
        "SELECT fingerprint, algorithm, comment, added FROM keys WHERE account = ?1
         ORDER BY added, fingerprint",
    )?
    .query_and_then([blob(account)], to_key)?
    .collect()
}

pub(super) fn add_key(
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
) -> Result<ChangeOutcome, ChangeError> {
    if !exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    match key_owner(db, &key.fingerprint)? {
        Some(owner) if owner == blob(account) => return Ok(ChangeOutcome::Unchanged),
        Some(_) => return Err(ChangeError::KeyTaken),
        None => {}
    }
    if key_count(db, account)? >= MAX_KEYS {
        return Err(ChangeError::TooManyKeys);
    }
    insert_key(db, account, key)?;
    Ok(ChangeOutcome::Done)
}

pub(super) fn remove_key(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
    last: bool,
) -> Result<ChangeOutcome, ChangeError> {
    let removed = db
        .prepare_cached("DELETE FROM keys WHERE fingerprint = ?1 AND account = ?2")?
        .execute((key.as_str(), blob(account)))?;
    if removed == 0 {
        if withdraw_claim(db, account, key)? {
            return Ok(ChangeOutcome::Done);
        }
        return Err(ChangeError::NoKey);
    }
    // The error rolls the removal back.
    if !last && key_count(db, account)? == 0 {
        return Err(ChangeError::LastKey);
    }
    Ok(ChangeOutcome::Done)
}

/// The account that owns a key.
pub(super) fn key_owner(db: &Connection, key: &Fingerprint) -> rusqlite::Result<Option<[u8; 16]>> {
    db.prepare_cached("SELECT account FROM keys WHERE fingerprint = ?1")?
        .query_row([key.as_str()], |row| row.get(0))
        .optional()
}

/// Adds a free key to an account. It's no longer pending.
pub(super) fn insert_key(
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
) -> rusqlite::Result<()> {
    insert_key_into("keys", db, account, key)?;
    db.prepare_cached("DELETE FROM pending WHERE fingerprint = ?1")?
        .execute([key.fingerprint.as_str()])?;
    Ok(())
}

/// Inserts a row into `keys` or `claims`.
pub(super) fn insert_key_into(
    table: &'static str,
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT INTO {table} (fingerprint, account, algorithm, comment, added)
         VALUES (?1, ?2, ?3, ?4, ?5)"
    ))?
    .execute((
        key.fingerprint.as_str(),
        blob(account),
        key.algorithm.as_str(),
        key.comment.as_str(),
        key.added.0,
    ))?;
    Ok(())
}

/// Reads a key from the columns that `keys`, `claims` and `pending` have.
pub(super) fn to_key(row: &Row<'_>) -> Result<KeyRecord, StoreError> {
    let fingerprint: String = row.get("fingerprint")?;
    let comment: String = row.get("comment")?;
    Ok(KeyRecord {
        fingerprint: Fingerprint::stored(&fingerprint),
        algorithm: line(row, "algorithm")?,
        comment: Text::stored(&comment),
        added: Time(row.get("added")?),
    })
}

pub(super) fn key_count(db: &Connection, account: AccountId) -> Result<usize, StoreError> {
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM keys WHERE account = ?1")?
        .query_row([blob(account)], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Claims a key for an account, unless it already does or the key is an account's.
pub(super) fn claim_key(
    db: &Connection,
    account: AccountId,
    key: &KeyRecord,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    if !exists(db, account)? {
        return Err(ChangeError::NoAccount);
    }
    match key_owner(db, &key.fingerprint)? {
        Some(owner) if owner == blob(account) => return Ok(ChangeOutcome::Unchanged),
        Some(_) => return Err(ChangeError::KeyTaken),
        None => {}
    }
    let claimed = claims_of(db, account, now)?;
    let mut fingerprints = claimed.iter().map(|key| &key.fingerprint);
    if fingerprints.any(|claimed| *claimed == key.fingerprint) {
        return Ok(ChangeOutcome::Unchanged);
    }
    if key_count(db, account)? + claimed.len() >= MAX_KEYS {
        return Err(ChangeError::TooManyKeys);
    }
    if claimants(db, &key.fingerprint, now)?.len() >= MAX_CLAIMS {
        return Err(ChangeError::TooManyClaims);
    }
    db.prepare_cached("DELETE FROM claims WHERE added + ?1 <= ?2")?
        .execute((WAITS.cast_signed(), now.0))?;
    insert_key_into("claims", db, account, key)?;
    Ok(ChangeOutcome::Done)
}

/// Adds a claimed key to its claimant.
pub(super) fn confirm_claim(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
    now: Time,
) -> Result<ChangeOutcome, ChangeError> {
    if key_owner(db, key)? == Some(blob(account)) {
        return Ok(ChangeOutcome::Unchanged);
    }
    let claimed = claims_of(db, account, now)?;
    let claimed = claimed.into_iter().find(|claim| claim.fingerprint == *key);
    let claimed = claimed.ok_or(ChangeError::NotFound)?;
    let key = KeyRecord {
        added: now,
        ..claimed
    };
    add_key(db, account, &key)
}

/// The keys that an account claims, the oldest claim first.
pub(super) fn claims_of(
    db: &Connection,
    account: AccountId,
    now: Time,
) -> Result<Vec<KeyRecord>, StoreError> {
    db.prepare_cached(
        "SELECT fingerprint, algorithm, comment, added FROM claims
         WHERE account = ?1 AND added + ?2 > ?3 ORDER BY added, fingerprint",
    )?
    .query_and_then((blob(account), WAITS.cast_signed(), now.0), to_key)?
    .collect()
}

/// The accounts that claim a key, the oldest claim first.
pub(super) fn claimants(
    db: &Connection,
    key: &Fingerprint,
    now: Time,
) -> Result<Vec<Account>, StoreError> {
    let columns = COLUMNS;
    db.prepare_cached(&format!(
        "SELECT {columns} FROM claims c JOIN accounts a ON a.id = c.account
         WHERE c.fingerprint = ?1 AND c.added + ?2 > ?3 ORDER BY c.added, a.id"
    ))?
    .query_and_then((key.as_str(), WAITS.cast_signed(), now.0), to_account)?
    .collect()
}

/// Ends all claims on a key. Returns whether there were any.
pub(super) fn end_claims(db: &Connection, key: &Fingerprint) -> rusqlite::Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM claims WHERE fingerprint = ?1")?
        .execute([key.as_str()])?;
    Ok(ended > 0)
}

/// Ends an account's claim on a key. Returns whether there was one.
pub(super) fn withdraw_claim(
    db: &Connection,
    account: AccountId,
    key: &Fingerprint,
) -> rusqlite::Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM claims WHERE fingerprint = ?1 AND account = ?2")?
        .execute((key.as_str(), blob(account)))?;
    Ok(ended > 0)
}
