//! Values of columns that several tables have.

use rusqlite::Row;

use crate::chat::access::{Issuer, Role};
use crate::chat::ids::{AccountId, Conversation, Name, Seq, Time};
use crate::store::StoreError;
use crate::text::Text;

/// A role; `owner` names the record for the error.
pub(super) fn to_role(raw: &str, owner: impl Fn() -> String) -> Result<Role, StoreError> {
    raw.parse()
        .map_err(|error| StoreError::Corrupt(format!("{} has an invalid role: {error}", owner())))
}

/// A name; `owner` names the record for the error.
pub(super) fn to_name(raw: &str, owner: impl Fn() -> String) -> Result<Name, StoreError> {
    Name::stored(raw).map_err(|error| {
        StoreError::Corrupt(format!("{} has the invalid name {raw:?}: {error}", owner()))
    })
}

/// A conversation's key.
pub(super) fn to_conversation(key: &str) -> Result<Conversation, StoreError> {
    key.parse()
        .map_err(|_| StoreError::Corrupt(format!("invalid conversation key {key:?}")))
}

/// One line that is only ever shown, sanitised again.
pub(super) fn line(row: &Row<'_>, column: &str) -> rusqlite::Result<Text> {
    Ok(Text::stored_line(&row.get::<_, String>(column)?))
}

/// The person who issued a ban, mute, lockdown or invite.
pub(super) fn issuer(row: &Row<'_>) -> rusqlite::Result<Issuer> {
    Ok(Issuer::stored(&row.get::<_, String>("made_by")?))
}

/// A reason, sanitised again.
pub(super) fn reason(row: &Row<'_>) -> rusqlite::Result<Option<Text>> {
    let raw: Option<String> = row.get("reason")?;
    Ok(raw.as_deref().map(Text::stored))
}

/// When something ends, if it does.
pub(super) fn until(row: &Row<'_>) -> rusqlite::Result<Option<Time>> {
    Ok(row.get::<_, Option<i64>>("until")?.map(Time))
}

/// A small number.
pub(super) fn count(row: &Row<'_>, column: &str) -> Result<u32, StoreError> {
    let raw: i64 = row.get(column)?;
    u32::try_from(raw).map_err(|_| StoreError::Corrupt(format!("{column} has the value {raw}")))
}

/// A message number as `SQLite` stores it. None is beyond `i64::MAX`.
pub(super) fn place(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// A number that can't be negative unless the file is corrupt.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("a number is negative: {number}")))
}

/// An account's id as `SQLite` stores it.
pub(super) fn blob(account: AccountId) -> [u8; 16] {
    account.0.to_be_bytes()
}

/// The account with this stored id.
pub(super) fn to_account_id(blob: [u8; 16]) -> AccountId {
    AccountId(u128::from_be_bytes(blob))
}
