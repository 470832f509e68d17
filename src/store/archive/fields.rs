//! The values in the lines of an archive: how they are written, and that they are read by the same
//! rules as everything that comes from outside.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use ipnet::IpNet;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MAX_NUMBER;
use crate::chat::access::{ClientPrefix, Issuer, Role, stored_address};
use crate::chat::ids::{Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::text::{MAX_BYTES, MAX_CHARS, Text, clean_line};

/// A value that is checked when it is read. Written with `#[serde(with = "fields")]`.
pub(super) trait Field: Sized {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

pub(super) fn serialize<T: Field, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.write(serializer)
}

pub(super) fn deserialize<'de, T: Field, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// A field within something that `serde` reads and writes itself.
struct Within<T>(T);

impl<T: Field> Serialize for Within<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<'de, T: Field> Deserialize<'de> for Within<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Within<T>, D::Error> {
        T::read(deserializer).map(Within)
    }
}

impl<T: Field> Field for Option<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Within).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value: Option<Within<T>> = Option::deserialize(deserializer)?;
        Ok(value.map(|within| within.0))
    }
}

impl<T: Field> Field for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Within))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: Vec<Within<T>> = Vec::deserialize(deserializer)?;
        Ok(values.into_iter().map(|within| within.0).collect())
    }
}

/// Fields that are strings, and how each is read.
macro_rules! strings {
    ($($type:ty: $read:expr;)+) => {$(
        impl Field for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                string(deserializer, $read)
            }
        }
    )+};
}

strings! {
    Name: Name::stored;
    RoomName: RoomName::new;
    Conversation: |raw| raw.parse::<Conversation>()
        .map_err(|_| "a conversation is room/NAME or direct/ID/ID");
    Text: |raw| bounded(raw, MAX_CHARS).map(Text::stored);
    // Words of one line that are only ever shown.
    String: |raw| bounded(raw, MAX_BYTES).map(clean_line);
    Fingerprint: str::parse;
    Issuer: |raw| bounded(raw, MAX_BYTES).map(Issuer::stored);
    // Every client's version begins with nothing.
    ClientPrefix: |raw| match bounded(raw, MAX_BYTES)? {
        "" => Err("every client's version begins with nothing".to_owned()),
        raw => Ok(ClientPrefix::stored(raw)),
    };
    IpNet: str::parse;
    IpAddr: |raw| bounded(raw, MAX_BYTES).map(stored_address);
    Role: str::parse;
}

/// Reads a string and makes something of it.
fn string<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let raw = Cow::<str>::deserialize(deserializer)?;
    read(&raw).map_err(de::Error::custom)
}

/// Refuses what would be cut.
fn bounded(raw: &str, max_chars: usize) -> Result<&str, String> {
    let (chars, bytes) = (raw.chars().count(), raw.len());
    if chars > max_chars || bytes > MAX_BYTES {
        return Err(format!(
            "a text has {chars} characters ({bytes} bytes), and at most {max_chars} \
             ({MAX_BYTES} bytes) are kept"
        ));
    }
    Ok(raw)
}

impl Field for u64 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*self)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > MAX_NUMBER {
            return Err(de::Error::custom(format!(
                "{number} is more than {MAX_NUMBER}"
            )));
        }
        Ok(number)
    }
}

/// A length of time, in milliseconds.
impl Field for Duration {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(self.as_millis()).unwrap_or(MAX_NUMBER);
        millis.write(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::read(deserializer).map(Duration::from_millis)
    }
}

impl Field for Seq {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::read(deserializer).map(Seq)
    }
}

/// From the year 0 to 9999: what RFC 3339 can write, in milliseconds since 1970.
const WRITABLE: Range<i64> = -62_167_219_200_000..253_402_300_800_000;

/// RFC 3339 in UTC with milliseconds; where that has no words for it, milliseconds since 1970.
impl Field for Time {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(at) if WRITABLE.contains(&self.0) => {
                serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
            }
            _ => serializer.serialize_i64(self.0),
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Moment)
    }
}

/// Reads a moment in either form.
struct Moment;

impl Visitor<'_> for Moment {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as 2026-11-22T14:02:09.123Z")
    }

    fn visit_str<E: de::Error>(self, raw: &str) -> Result<Time, E> {
        DateTime::parse_from_rfc3339(raw)
            .map(|at| Time(at.timestamp_millis()))
            .map_err(|_| E::invalid_value(Unexpected::Str(raw), &self))
    }

    fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Time, E> {
        Ok(Time(millis))
    }

    fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Time, E> {
        i64::try_from(millis)
            .map(Time)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(millis), &self))
    }
}

/// The hash of an invite's code.
pub(super) mod hash {
    use super::{Deserializer, Serializer, string};

    pub(in super::super) fn serialize<S: Serializer>(hash: &str, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(hash)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        string(deserializer, |raw| {
            let digits = raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if digits && raw.len() == 64 {
                Ok(raw.to_owned())
            } else {
                Err("a hash has 64 hexadecimal digits")
            }
        })
    }
}

/// The key of a ban. Older ones can be about what is no fingerprint, and so about nobody.
pub(super) mod banned_key {
    use super::{Deserializer, Field as _, Fingerprint, MAX_BYTES, Serializer, bounded, string};

    pub(in super::super) fn serialize<S: Serializer>(
        key: &Fingerprint,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        key.write(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Fingerprint, D::Error> {
        string(deserializer, |raw| {
            bounded(raw, MAX_BYTES).map(Fingerprint::stored)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Field>(json: &str) -> Result<T, serde_json::Error> {
        T::read(&mut serde_json::Deserializer::from_str(json))
    }

    fn write<T: Field>(value: &T) -> String {
        serde_json::to_string(&Within(value)).unwrap()
    }

    #[test]
    fn every_moment_reads_back() {
        for (millis, written) in [
            (0, "\"1970-01-01T00:00:00.000Z\""),
            (1_795_356_129_123, "\"2026-11-22T14:02:09.123Z\""),
            (-1, "\"1969-12-31T23:59:59.999Z\""),
            (WRITABLE.start, "\"0000-01-01T00:00:00.000Z\""),
            (WRITABLE.start - 1, "-62167219200001"),
            (WRITABLE.end - 1, "\"9999-12-31T23:59:59.999Z\""),
            (WRITABLE.end, "253402300800000"),
            (i64::MIN, "-9223372036854775808"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(write(&Time(millis)), written);
            assert_eq!(read::<Time>(written).unwrap(), Time(millis));
        }
        for bad in [
            "\"yesterday\"",
            "\"2026-11-22\"",
            "9223372036854775808",
            "1.5",
            "null",
        ] {
            assert!(read::<Time>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_cleaned_but_not_cut() {
        let json = |raw: &str| serde_json::to_string(raw).unwrap();
        let words = |raw: &str| read::<Text>(&json(raw)).map(|text| text.to_string());
        assert_eq!(words("a\u{1b}[2Jb\r\nc ").unwrap(), "a[2Jb\nc");
        assert_eq!(read::<String>(&json("a\n\u{202e}b")).unwrap(), "a b");
        for (raw, good) in [
            ("x".repeat(MAX_CHARS), true),
            ("x".repeat(MAX_CHARS + 1), false),
            ("\u{10fffd}".repeat(MAX_CHARS), true),
            (format!("{}x", "\u{10fffd}".repeat(MAX_CHARS)), false),
        ] {
            assert_eq!(words(&raw).is_ok(), good);
        }
        assert!(read::<String>(&json(&"x".repeat(MAX_BYTES))).is_ok());
        assert!(read::<String>(&json(&"x".repeat(MAX_BYTES + 1))).is_err());
    }
}
