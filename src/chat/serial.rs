//! How the chat's types are serialised: the JSON of archives and of stored settings.
//!
//! Most are one string, written with `Display` and read by the same rules as any other input. Text
//! that would have to be cut is an error, so that nothing is lost silently.

use std::fmt;
use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Time};
use crate::text::{MAX_BYTES, MAX_CHARS, Text, clean_line};

/// Implements `Serialize` and `Deserialize` for types that are one string, each read by an expression.
macro_rules! string_serde {
    ($($type:ty: $read:expr;)+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::chat::serial::read_string(deserializer, $read)
            }
        }
    )+};
}
pub(super) use string_serde;

string_serde! {
    AccountId: str::parse;
    Name: Name::stored;
    RoomName: RoomName::new;
    Conversation: |raw| raw.parse::<Conversation>()
        .map_err(|_| "a conversation is room/NAME or direct/ID/ID");
    Fingerprint: str::parse;
    Text: |raw| bounded(raw, MAX_CHARS).map(Text::stored);
}

/// Reads a string with `read`.
pub(super) fn read_string<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let raw = String::deserialize(deserializer)?;
    read(&raw).map_err(Error::custom)
}

/// Rejects text that would be cut.
pub(super) fn bounded(raw: &str, max_chars: usize) -> Result<&str, String> {
    let (chars, bytes) = (raw.chars().count(), raw.len());
    if chars > max_chars || bytes > MAX_BYTES {
        return Err(format!(
            "a text has {chars} characters ({bytes} bytes); the limit is {max_chars} \
             ({MAX_BYTES} bytes)"
        ));
    }
    Ok(raw)
}

/// Reads one line that is only ever shown: cleaned, at most [`MAX_BYTES`].
pub(crate) fn read_line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    read_string(deserializer, |raw| bounded(raw, MAX_BYTES).map(clean_line))
}

/// From the year 0 to 9999: what RFC 3339 can express, in milliseconds since 1970.
const RFC_3339: Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// RFC 3339 in UTC with milliseconds; outside its range, milliseconds since 1970.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(at) if RFC_3339.contains(&self.0) => {
                serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
            }
            _ => serializer.serialize_i64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-11-22T14:02:09.123Z")
    }

    fn visit_str<E: Error>(self, raw: &str) -> Result<Time, E> {
        DateTime::parse_from_rfc3339(raw)
            .map(|at| Time(at.timestamp_millis()))
            .map_err(|_| E::invalid_value(Unexpected::Str(raw), &self))
    }

    fn visit_i64<E: Error>(self, millis: i64) -> Result<Time, E> {
        Ok(Time(millis))
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Time, E> {
        i64::try_from(millis)
            .map(Time)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(millis), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_reads_back() {
        for (millis, written) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (1_795_356_129_123, "\"2026-11-22T14:02:09.123Z\""),
            (-1, "\"1969-12-31T23:59:59.999Z\""),
            (RFC_3339.start, "\"0000-01-01T00:00:00.000Z\""),
            (RFC_3339.start - 1, "-62167219200001"),
            (RFC_3339.end - 1, "\"9999-12-31T23:59:59.999Z\""),
            (RFC_3339.end, "253402300800000"),
            (i64::MIN, "-9223372036854775808"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(serde_json::to_string(&Time(millis)).unwrap(), written);
            let read: Time = serde_json::from_str(written).unwrap();
            assert_eq!(read, Time(millis));
        }
        for bad in [
            "\"yesterday\"",
            "\"2026-11-22\"",
            "9223372036854775808",
            "1.5",
            "null",
        ] {
            assert!(serde_json::from_str::<Time>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_cleaned_but_not_cut() {
        let json = |raw: &str| serde_json::to_string(raw).unwrap();
        let text = |raw: &str| serde_json::from_str::<Text>(&json(raw));
        let line = |raw: &str| read_line(&mut serde_json::Deserializer::from_str(&json(raw)));
        assert_eq!(text("a\u{1b}[2Jb\r\nc ").unwrap().as_str(), "a[2Jb\nc");
        assert_eq!(line("a\n\u{202e}b").unwrap(), "a b");
        for (raw, good) in [
            ("x".repeat(MAX_CHARS), true),
            ("x".repeat(MAX_CHARS + 1), false),
            ("\u{10fffd}".repeat(MAX_CHARS), true),
            (format!("{}x", "\u{10fffd}".repeat(MAX_CHARS)), false),
        ] {
            assert_eq!(text(&raw).is_ok(), good);
        }
        assert!(line(&"x".repeat(MAX_BYTES)).is_ok());
        assert!(line(&"x".repeat(MAX_BYTES + 1)).is_err());
    }
}
