//! The lines of an archive: JSON, one object a line.
//!
//! The first says what the archive is and in which version of the format, the last one how many
//! records stand between them. Whoever changes the shape of a line raises [`VERSION`],
//! unless all that was written before reads as before: a field that this version does not know is
//! refused, since with it something would be lost.

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

/// The longest line that is read or written, in bytes: an account with all the keys and settings
/// that it can have takes a third of it.
pub const MAX_LINE: usize = 1 << 20;

/// How much is said of what is wrong with a line, in terminal cells.
const MAX_WORDS: usize = 300;

/// The longest name of a zone or a theme, in bytes.
const MAX_SETTING: usize = 64;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveLine {
    /// The first or the last.
    Frame(ArchiveFrame),
    /// What stands between them.
    Record(ArchiveRecord),
}

/// The lines around the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ArchiveFrame {
    /// The first: what this is.
    Archive {
        /// The version of the format.
        v: u64,
        /// When it was made.
        at: Time,
        /// What made it.
        #[serde(deserialize_with = "read_line")]
        program: String,
    },
    /// The last, without which an archive is not whole.
    End {
        /// How many records there are.
        records: u64,
    },
}

/// What the lines around the records have in every version of the format.
#[derive(Deserialize)]
struct Opening {
    r#type: String,
    v: Option<u64>,
}

/// What is wrong with a line. May be shown: it is one clean line of bounded length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LineError(String);

impl LineError {
    fn new(why: impl fmt::Display) -> LineError {
        LineError(clip(&clean_line(&why.to_string()), MAX_WORDS).to_owned())
    }

    /// That it is not the JSON that it should be. The place in it is always in "line 1", which
    /// says nothing here.
    #[allow(clippy::needless_pass_by_value, reason = "for map_err")]
    fn json(error: serde_json::Error) -> LineError {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let words = error.to_string();
        LineError::new(words.strip_suffix(&place).unwrap_or(&words))
    }
}

impl ArchiveLine {
    /// Reads the first line, which tells whether the others can be read.
    pub fn first(raw: &[u8]) -> Result<ArchiveLine, LineError> {
        match serde_json::from_slice(raw) {
            Ok(Opening { r#type, v: Some(v) }) if r#type == "archive" => match v {
                VERSION => ArchiveLine::read(raw),
                v => Err(LineError::new(format!(
                    "the archive has format {v}, and this ssh-chat reads {VERSION}: use the one \
                     that made it, or a newer one"
                ))),
            },
            _ => Err(LineError::new(
                "this is no archive: one begins with {\"type\":\"archive\", as ssh-chat export \
                 writes it",
            )),
        }
    }

    /// Reads any line. Memory is bounded by the length of `raw`, which the caller bounds.
    pub fn read(raw: &[u8]) -> Result<ArchiveLine, LineError> {
        match serde_json::from_slice(raw) {
            Ok(record) => sound(record)
                .map(ArchiveLine::Record)
                .map_err(LineError::new),
            Err(_) if is_frame(raw) => serde_json::from_slice(raw)
                .map(ArchiveLine::Frame)
                .map_err(LineError::json),
            Err(error) => Err(LineError::json(error)),
        }
    }

    /// The line, with its end. Fails if it would be longer than [`MAX_LINE`].
    pub fn write(&self) -> Result<String, LineError> {
        let line = match self {
            ArchiveLine::Frame(frame) => serde_json::to_string(frame),
            ArchiveLine::Record(record) => serde_json::to_string(record),
        };
        let line = line.map_err(LineError::json)? + "\n";
        if line.len() > MAX_LINE {
            let length = line.len();
            return Err(LineError::new(format!(
                "a record has {length} bytes, and at most {MAX_LINE} can be read again"
            )));
        }
        Ok(line)
    }
}

fn is_frame(raw: &[u8]) -> bool {
    let opening = serde_json::from_slice(raw);
    opening.is_ok_and(|Opening { r#type, .. }| r#type == "archive" || r#type == "end")
}

/// The fields in which two records differ.
pub(super) fn differences(one: &ArchiveRecord, other: &ArchiveRecord) -> Vec<String> {
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

/// Refuses a record whose fields can't be true together.
fn sound(mut record: ArchiveRecord) -> Result<ArchiveRecord, String> {
    if let ArchiveRecord::Account(person) = &mut record {
        person.sort();
    }
    let number = largest_number(&record);
    if number > MAX_NUMBER {
        return Err(format!("{number} is more than {MAX_NUMBER}"));
    }
    match &record {
        ArchiveRecord::Account(person) => person_is_sound(person)?,
        ArchiveRecord::Invite(invite) => invite_is_sound(invite)?,
        ArchiveRecord::Ban(ban) if ban.id == 0 => return Err("bans are counted from 1".to_owned()),
        ArchiveRecord::Audit(order) if order.number == 0 => {
            return Err("audit entries are counted from 1".to_owned());
        }
        ArchiveRecord::Audit(order)
            if ArchivedAudit::new(order.number, order.audit()) != *order =>
        {
            return Err("its actor, actor_kind and actor_account contradict each other".to_owned());
        }
        ArchiveRecord::Message(entry) => entry_is_sound(entry)?,
        _ => {}
    }
    Ok(record)
}

/// The largest number in a record. What every reader of JSON keeps exactly is at most
/// [`MAX_NUMBER`].
fn largest_number(record: &ArchiveRecord) -> u64 {
    match record {
        ArchiveRecord::Mark(ArchivedMarker { seq, .. }) => seq.0,
        ArchiveRecord::Room(ArchivedRoom { slow, .. }) => slow.map_or(0, |slow| {
            u64::try_from(slow.as_millis()).unwrap_or(u64::MAX)
        }),
        ArchiveRecord::Numbers(ArchivedCounters { ban: number })
        | ArchiveRecord::Ban(Ban { id: number, .. })
        | ArchiveRecord::Audit(ArchivedAudit { number, .. }) => *number,
        // The target comes before it.
        ArchiveRecord::Message(entry) => entry.seq.0,
        ArchiveRecord::Account(_)
        | ArchiveRecord::Invite(_)
        | ArchiveRecord::Pending(_)
        | ArchiveRecord::Mute(_)
        | ArchiveRecord::Lockdown(_) => 0,
    }
}

fn invite_is_sound(invite: &Invite) -> Result<(), String> {
    let Invite {
        left, uses, hash, ..
    } = invite;
    let is_digit = |b| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if hash.len() != 64 || !hash.bytes().all(is_digit) {
        return Err("a hash has 64 hexadecimal digits".to_owned());
    }
    if left > uses || *uses > MAX_USES {
        return Err(format!("{left} of {uses} uses can't be left"));
    }
    Ok(())
}

fn person_is_sound(person: &ArchivedAccount) -> Result<(), String> {
    let ArchivedAccount { name, names, .. } = person;
    if !names.contains(name) {
        return Err(format!("{name} is not among the account's names"));
    }
    let skeletons: BTreeSet<String> = names.iter().map(Name::skeleton).collect();
    if skeletons.len() < names.len() {
        return Err("two of the account's names look alike".to_owned());
    }
    let keys: BTreeSet<_> = person.keys.iter().map(|key| &key.fingerprint).collect();
    if keys.len() < person.keys.len() {
        return Err("the account has a key twice".to_owned());
    }
    if names.len() > MAX_NAMES || keys.len() > MAX_KEYS {
        let (names, keys) = (names.len(), keys.len());
        return Err(format!(
            "an account has at most {MAX_NAMES} names and {MAX_KEYS} keys, not {names} and {keys}"
        ));
    }
    let Preferences {
        tz, theme, ignored, ..
    } = &person.preferences;
    let odd = |raw: &String| raw.len() > MAX_SETTING || clean_line(raw) != *raw;
    if tz.iter().chain(theme).any(odd) {
        return Err("the zone or the theme can't be one".to_owned());
    }
    if ignored.len() > Preferences::MAX_IGNORED {
        let (count, most) = (ignored.len(), Preferences::MAX_IGNORED);
        return Err(format!("at most {most} people can be ignored, not {count}"));
    }
    for ignored in ignored {
        Name::stored(&ignored.name).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn entry_is_sound(entry: &ArchivedMessage) -> Result<(), String> {
    let before = |target: Seq| target > Seq(0) && target < entry.seq;
    if entry.seq == Seq(0) {
        Err("places in a log begin with 1".to_owned())
    } else if !entry.kept.target().is_none_or(before) {
        Err("`target` is no place before this one".to_owned())
    } else {
        Ok(())
    }
}
