//! What the columns of several tables hold, written and read.

use rusqlite::Row;

use crate::chat::access::{Issuer, Role};
use crate::chat::ids::{Name, Time};
use crate::store::StoreError;
use crate::text::Text;

/// The role that was kept of `what`.
pub(super) fn to_role(raw: &str, what: impl Fn() -> String) -> Result<Role, StoreError> {
    raw.parse()
        .map_err(|error| StoreError::Corrupt(format!("{} has a bad role: {error}", what())))
}

/// The name that was kept of `what`.
pub(super) fn to_name(raw: &str, what: impl Fn() -> String) -> Result<Name, StoreError> {
    Name::stored(raw).map_err(|error| {
        StoreError::Corrupt(format!("{} has the bad name {raw:?}: {error}", what()))
    })
}

/// Words of one line that are only ever shown, sanitised again.
pub(super) fn line(row: &Row<'_>, column: &str) -> rusqlite::Result<Text> {
    Ok(Text::stored_line(&row.get::<_, String>(column)?))
}

/// Who issued it.
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

/// How many of something there are.
pub(super) fn count(row: &Row<'_>, column: &str) -> Result<u32, StoreError> {
    let raw: i64 = row.get(column)?;
    u32::try_from(raw).map_err(|_| StoreError::Corrupt(format!("{raw} is no number of {column}")))
}
