//! The format of an archive: JSON lines, one object each.
//!
//! The first line is a header with the version of the format, the last a trailer with the number of
//! records between them. Raise [`VERSION`] with any change to a line, unless every older archive
//! still reads the same. An unknown field is an error, because importing without it would lose
//! something.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedCounters, ArchivedMarker,
    ArchivedMessage, ArchivedRoom, MAX_NUMBER,
};
use crate::chat::access::Ban;
use crate::chat::ids::{Name, Seq, Time};
use crate::chat::invite::{Invite, MAX_USES};
use crate::chat::preferences::Preferences;
use crate::chat::serial::read_line;
use crate::store::MAX_NAMES;
use crate::store::change::MAX_KEYS;
use crate::text::{clean_line, clip};

#[cfg(test)]
mod tests;

/// The version of the format.
pub const VERSION: u64 = 1;

/// The longest line that is read or written, in bytes. The largest possible account takes a third
/// of it.
pub const MAX_LINE: usize = 1 << 20;

/// The longest error message, in terminal cells.
const MAX_ERROR: usize = 300;

/// The longest name of a time zone or a theme, in bytes.
const MAX_SETTING: usize = 64;

/// A line of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveLine {
    /// The first or the last line.
    Frame(ArchiveFrame),
    /// A line between them.
    Record(ArchiveRecord),
}

/// The first and the last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum ArchiveFrame {
    /// The first line.
    #[serde(rename = "archive")]
    Header {
        /// The version of the format.
        v: u64,
        /// When the archive was written.
        at: Time,
        /// The program that wrote it.
        #[serde(deserialize_with = "read_line")]
        program: String,
    },
    /// The last line. An archive without it is incomplete.
    #[serde(rename = "end")]
    Trailer {
        /// The number of records.
        records: u64,
    },
}

/// The fields of header and trailer that every version of the format has.
#[derive(Deserialize)]
struct FrameStart {
    r#type: String,
    v: Option<u64>,
}

/// Why a line can't be read or written: one clean line of bounded length, safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LineError(String);

impl LineError {
    fn new(message: impl fmt::Display) -> LineError {
        LineError(clip(&clean_line(&message.to_string()), MAX_ERROR).to_owned())
    }

    /// The line isn't the expected JSON. Drops serde's position: its line is always 1.
    #[allow(clippy::needless_pass_by_value, reason = "for map_err")]
    fn json(error: serde_json::Error) -> LineError {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        LineError::new(message.strip_suffix(&position).unwrap_or(&message))
    }
}

impl ArchiveLine {
    /// Reads the first line and checks that this program can read the others.
    pub fn first(raw: &[u8]) -> Result<ArchiveLine, LineError> {
        match serde_json::from_slice(raw) {
            Ok(FrameStart { r#type, v: Some(v) }) if r#type == "archive" => match v {
                VERSION => ArchiveLine::read(raw),
                v => Err(LineError::new(format!(
                    "the archive has format {v}, but this ssh-chat reads format {VERSION}: use \
                     the version that wrote it, or a newer one"
                ))),
            },
            _ => Err(LineError::new(
                "not an archive: the first line doesn't start with {\"type\":\"archive\". Use a \
                 file that ssh-chat export wrote",
            )),
        }
    }

    /// Reads any line. Uses memory in proportion to the length of `raw`, which the caller bounds.
    pub fn read(raw: &[u8]) -> Result<ArchiveLine, LineError> {
        match serde_json::from_slice(raw) {
            Ok(record) => validate(record)
                .map(ArchiveLine::Record)
                .map_err(LineError::new),
            Err(_) if is_frame(raw) => serde_json::from_slice(raw)
                .map(ArchiveLine::Frame)
                .map_err(LineError::json),
            Err(error) => Err(LineError::json(error)),
        }
    }

    /// The line with its line feed. An error if it would be longer than [`MAX_LINE`].
    pub fn write(&self) -> Result<String, LineError> {
        let line = match self {
            ArchiveLine::Frame(frame) => serde_json::to_string(frame),
            ArchiveLine::Record(record) => serde_json::to_string(record),
        };
        let line = line.map_err(LineError::json)? + "\n";
        if line.len() > MAX_LINE {
            let length = line.len();
            return Err(LineError::new(format!(
                "the record has {length} bytes; an import reads at most {MAX_LINE}"
            )));
        }
        Ok(line)
    }
}

fn is_frame(raw: &[u8]) -> bool {
    let start = serde_json::from_slice(raw);
    start.is_ok_and(|FrameStart { r#type, .. }| r#type == "archive" || r#type == "end")
}

/// The names of the fields in which two records differ.
pub(super) fn differing_fields(one: &ArchiveRecord, other: &ArchiveRecord) -> Vec<String> {
    let fields = |record: &ArchiveRecord| match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (one, other) = (fields(one), fields(other));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let names = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    names.cloned().collect()
}

/// Rejects a record whose fields are out of bounds or contradict each other.
fn validate(mut record: ArchiveRecord) -> Result<ArchiveRecord, String> {
    if let ArchiveRecord::Account(account) = &mut record {
        account.sort();
    }
    let number = largest_number(&record);
    if number > MAX_NUMBER {
        return Err(format!("{number} is more than {MAX_NUMBER}"));
    }
    match &record {
        ArchiveRecord::Account(account) => validate_account(account)?,
        ArchiveRecord::Invite(invite) => validate_invite(invite)?,
        ArchiveRecord::Ban(ban) if ban.id == 0 => return Err("`id` starts at 1".to_owned()),
        ArchiveRecord::Audit(audit) if audit.number == 0 => {
            return Err("`number` starts at 1".to_owned());
        }
        ArchiveRecord::Audit(audit)
            if ArchivedAudit::new(audit.number, audit.audit()) != *audit =>
        {
            return Err(
                "`actor`, `actor_kind` and `actor_account` contradict each other".to_owned(),
            );
        }
        ArchiveRecord::Message(message) => validate_message(message)?,
        _ => {}
    }
    Ok(record)
}

/// The largest of the numbers that [`MAX_NUMBER`] bounds.
fn largest_number(record: &ArchiveRecord) -> u64 {
    match record {
        ArchiveRecord::Mark(ArchivedMarker { seq, .. }) => seq.0,
        ArchiveRecord::Room(ArchivedRoom { slow, .. }) => slow.map_or(0, |slow| {
            u64::try_from(slow.as_millis()).unwrap_or(u64::MAX)
        }),
        ArchiveRecord::Numbers(ArchivedCounters { ban: number })
        | ArchiveRecord::Ban(Ban { id: number, .. })
        | ArchiveRecord::Audit(ArchivedAudit { number, .. }) => *number,
        // Its target is smaller.
        ArchiveRecord::Message(message) => message.seq.0,
        ArchiveRecord::Account(_)
        | ArchiveRecord::Invite(_)
        | ArchiveRecord::Pending(_)
        | ArchiveRecord::Mute(_)
        | ArchiveRecord::Lockdown(_) => 0,
    }
}

fn validate_invite(invite: &Invite) -> Result<(), String> {
    let Invite {
        left, uses, hash, ..
    } = invite;
    let is_digit = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if hash.len() != 64 || !hash.bytes().all(is_digit) {
        return Err("`hash` isn't 64 hexadecimal digits in lower case".to_owned());
    }
    if left > uses || *uses > MAX_USES {
        return Err(format!(
            "an invite can't have {left} of {uses} uses left (at most {MAX_USES})"
        ));
    }
    Ok(())
}

fn validate_account(account: &ArchivedAccount) -> Result<(), String> {
    let ArchivedAccount { name, names, .. } = account;
    if !names.contains(name) {
        return Err(format!(
            "the name {name} is not among the account's `names`"
        ));
    }
    let skeletons: BTreeSet<String> = names.iter().map(Name::skeleton).collect();
    if skeletons.len() < names.len() {
        return Err("two of the account's `names` look alike".to_owned());
    }
    let keys: BTreeSet<_> = account.keys.iter().map(|key| &key.fingerprint).collect();
    if keys.len() < account.keys.len() {
        return Err("one key is twice in the account's `keys`".to_owned());
    }
    if names.len() > MAX_NAMES || keys.len() > MAX_KEYS {
        let (names, keys) = (names.len(), keys.len());
        return Err(format!(
            "an account has at most {MAX_NAMES} names and {MAX_KEYS} keys, not {names} and {keys}"
        ));
    }
    let Preferences {
        tz, theme, ignored, ..
    } = &account.preferences;
    let is_invalid = |raw: &String| raw.len() > MAX_SETTING || clean_line(raw) != *raw;
    if tz.iter().chain(theme).any(is_invalid) {
        return Err("`tz` or `theme` is longer than 64 bytes or has control characters".to_owned());
    }
    if ignored.len() > Preferences::MAX_IGNORED {
        let (count, max) = (ignored.len(), Preferences::MAX_IGNORED);
        return Err(format!("at most {max} people can be ignored, not {count}"));
    }
    for ignored in ignored {
        Name::stored(&ignored.name).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn validate_message(message: &ArchivedMessage) -> Result<(), String> {
    let is_earlier = |target: Seq| target > Seq(0) && target < message.seq;
    if message.seq == Seq(0) {
        Err("`seq` starts at 1".to_owned())
    } else if !message.body.target().is_none_or(is_earlier) {
        Err("`target` is not an earlier message".to_owned())
    } else {
        Ok(())
    }
}
