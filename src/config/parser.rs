//! What parses the value of a setting.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::chat::duration;

/// Parses a setting's value. A function is one, too, without bounds.
pub(super) trait Parser<T> {
    /// Parses a value. The error describes a valid one.
    fn parse(&self, text: &str) -> Result<T, String>;

    /// The smallest and the largest value: seconds of a duration, bytes of a size.
    fn bounds(&self) -> Option<[u64; 2]> {
        None
    }
}

impl<T, F: Fn(&str) -> Result<T, String>> Parser<T> for F {
    fn parse(&self, text: &str) -> Result<T, String> {
        self(text)
    }
}

/// Parses a value between two others.
pub(super) struct Within<T> {
    pub range: RangeInclusive<T>,
    pub parse: fn(&str, &RangeInclusive<T>) -> Result<T, String>,
    pub bound: fn(&T) -> u64,
}

impl<T> Parser<T> for Within<T> {
    fn parse(&self, text: &str) -> Result<T, String> {
        (self.parse)(text, &self.range)
    }

    fn bounds(&self) -> Option<[u64; 2]> {
        Some([self.range.start(), self.range.end()].map(self.bound))
    }
}

/// Parses the value of an optional setting.
pub(super) fn some<P>(parser: P) -> Optional<P> {
    Optional(parser)
}

pub(super) struct Optional<P>(P);

impl<T, P: Parser<T>> Parser<Option<T>> for Optional<P> {
    fn parse(&self, text: &str) -> Result<Option<T>, String> {
        self.0.parse(text).map(Some)
    }

    fn bounds(&self) -> Option<[u64; 2]> {
        self.0.bounds()
    }
}

/// Parses digits only: `str::parse` also accepts a leading plus.
pub(super) fn digits(text: &str) -> Option<u64> {
    let only_digits = text.bytes().all(|b| b.is_ascii_digit());
    only_digits.then(|| text.parse().ok()).flatten()
}

/// Parses a whole number.
pub(super) fn number<T>(range: RangeInclusive<T>) -> Within<T>
where
    T: TryFrom<u64> + TryInto<u64> + Copy + PartialOrd + Display,
{
    Within {
        range,
        parse: |text, range| {
            digits(text)
                .and_then(|number| T::try_from(number).ok())
                .filter(|number| range.contains(number))
                .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
        },
        bound: |number| (*number).try_into().unwrap_or(u64::MAX),
    }
}

/// Parses `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false".to_owned())
}

/// Parses a duration.
pub(super) fn duration(range: RangeInclusive<Duration>) -> Within<Duration> {
    Within {
        range,
        parse: |text, range| duration::parse_in(text, range.clone()),
        bound: Duration::as_secs,
    }
}
