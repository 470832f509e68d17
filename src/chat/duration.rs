//! Durations as people write and read them: one format for settings, commands and flags.
//!
//! A duration is one or more numbers with units (`w`, `d`, `h`, `m`, `s`), without spaces, the longest
//! unit first and each at most once. `90s`, `1h30m` and `2w` are durations; `90`, `1.5h`, `30m1h` and
//! `1h 30m` aren't.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The units and their lengths in seconds, longest first.
const UNITS: [(char, u64); 5] = [
    ('w', 604_800),
    ('d', 86_400),
    ('h', 3_600),
    ('m', 60),
    ('s', 1),
];

/// The longest duration: about a hundred years. Anything longer is probably a typo, and could overflow a
/// clock.
pub const MAX: Duration = Duration::from_secs(5_200 * 604_800);

/// Examples for error messages.
pub const EXAMPLES: &str = "90s, 10m, 1h30m, 7d or 2w";

/// Parses a duration of at most [`MAX`]; `None` if it's invalid.
pub fn parse(text: &str) -> Option<Duration> {
    let mut shorter = UNITS.iter();
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, after) = rest.split_at_checked(digits)?;
        let unit = after.chars().next()?;
        let (_, length) = shorter.find(|(name, _)| *name == unit)?;
        let part = count.parse::<u64>().ok()?.checked_mul(*length)?;
        seconds = seconds.checked_add(part)?;
        rest = after.strip_prefix(unit)?;
    }
    Some(Duration::from_secs(seconds)).filter(|duration| !text.is_empty() && *duration <= MAX)
}

/// Parses a duration in a range.
///
/// # Errors
/// A description of a valid duration.
pub fn parse_in(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let parsed = parse(text).filter(|duration| range.contains(duration));
    parsed.ok_or_else(|| {
        let [min, max] = [range.start(), range.end()].map(|bound| format(*bound));
        format!("a duration with units, such as {EXAMPLES}, from {min} to {max}")
    })
}

/// Parses a positive duration, in milliseconds. Zero is invalid: a ban or an invite without a duration
/// would have no effect.
pub fn parse_millis(text: &str) -> Option<u64> {
    let millis = u64::try_from(parse(text)?.as_millis()).ok()?;
    (millis > 0).then_some(millis)
}

/// Formats a duration in days, hours, minutes and seconds, so that [`parse`] reads it back. Fractions of a
/// second are dropped.
pub fn format(length: Duration) -> String {
    let mut rest = length.as_secs();
    let mut out = String::new();
    for (unit, length) in UNITS.into_iter().filter(|(unit, _)| *unit != 'w') {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            out.push_str(&count.to_string());
            out.push(unit);
        }
    }
    if out.is_empty() {
        out.push_str("0s");
    }
    out
}

/// Formats an interval: `every 30s`.
pub fn every(length: Duration) -> String {
    format!("every {}", format(length))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_read_and_written() {
        for (text, seconds, written) in [
            ("0s", 0, "0s"),
            ("0w0d0h0m0s", 0, "0s"),
            ("1s", 1, "1s"),
            ("007s", 7, "7s"),
            ("90s", 90, "1m30s"),
            ("10m", 600, "10m"),
            ("90m", 5_400, "1h30m"),
            ("1h30m", 5_400, "1h30m"),
            ("36h", 129_600, "1d12h"),
            ("7d", 604_800, "7d"),
            ("2w", 1_209_600, "14d"),
            ("1w1d1h1m1s", 694_861, "8d1h1m1s"),
            ("1d1s", 86_401, "1d1s"),
            ("5200w", MAX.as_secs(), "36400d"),
        ] {
            let length = Duration::from_secs(seconds);
            assert_eq!(parse(text), Some(length), "{text}");
            assert_eq!(format(length), written);
            let millis = Some(seconds * 1000).filter(|millis| *millis > 0);
            assert_eq!(parse_millis(text), millis, "{text}");
        }
        assert_eq!(format(Duration::from_millis(1_999)), "1s");
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for text in [
            "",
            "10",
            "h",
            "-1h",
            "+1h",
            "1é",
            "1",
            "1.5h",
            "1H",
            "500ms",
            "1y",
            "30m1h",
            "1m1m",
            "1h30",
            "1h 30m",
            " 1h",
            "1h ",
            "1hh",
            "५s",
            "5200w1s",
            "18446744073709551615s",
            "18446744073709551616s",
            "18446744073709551615w",
            "99999999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
            assert_eq!(parse_millis(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0..=MAX.as_secs()) {
            let length = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&format(length)), Some(length));
        }

        #[test]
        fn a_length_is_the_sum_of_its_parts(counts in prop::array::uniform5(0_u64..1_000)) {
            let mut text = String::new();
            let mut sum = 0;
            for (count, (unit, length)) in counts.into_iter().zip(UNITS) {
                let _to_a_string = write!(text, "{count}{unit}");
                sum += count * length;
            }
            prop_assert_eq!(parse(&text), Some(Duration::from_secs(sum)));
        }

        #[test]
        fn whatever_is_typed_nothing_breaks(text in "[0-9wdhms .+-]{0,40}|\\PC{0,20}") {
            if let Some(length) = parse(&text) {
                prop_assert!(length <= MAX);
                prop_assert_eq!(parse(&format(length)), Some(length));
            }
        }
    }
}
