//! Times and days in the reader's time zone.

use std::fmt::Write as _;

use arrayvec::ArrayString;
use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use crate::chat::ids::Time;
use crate::chat::preferences::Timestamps;

/// A time zone. Caches the text of the last minute (or second), which most messages share.
#[derive(Debug)]
pub struct Zone {
    tz: Tz,
    format: Timestamps,
    cached: Option<(i64, NaiveDate, ArrayString<8>)>,
}

impl Zone {
    /// The time zone with this IANA name, or UTC if there is none.
    pub fn new(name: Option<&str>, format: Timestamps) -> Zone {
        Zone {
            tz: name.and_then(find).unwrap_or(Tz::UTC),
            format,
            cached: None,
        }
    }

    /// The zone's IANA name.
    pub fn name(&self) -> &'static str {
        self.tz.name()
    }

    /// The time of day in the chosen format, empty for [`Timestamps::Off`], and the date.
    pub fn time_and_day(&mut self, at: Time) -> (ArrayString<8>, NaiveDate) {
        let (unit, format) = match self.format {
            Timestamps::Off => (60_000, ""),
            Timestamps::Minutes => (60_000, "%H:%M"),
            Timestamps::Seconds => (1_000, "%H:%M:%S"),
        };
        let slot = at.0.div_euclid(unit);
        if let Some((cached, day, time)) = self.cached
            && cached == slot
        {
            return (time, day);
        }
        let local = self.local(at);
        let (mut time, day) = (ArrayString::new(), local.date_naive());
        let _fits = write!(time, "{}", local.format(format));
        self.cached = Some((slot, day, time));
        (time, day)
    }

    fn local(&self, at: Time) -> DateTime<Tz> {
        DateTime::from_timestamp_millis(at.0)
            .unwrap_or_default()
            .with_timezone(&self.tz)
    }

    /// Hours and minutes, with the date unless it's `today`.
    pub fn moment(&self, at: Time, today: Time) -> String {
        let (then, now) = (self.local(at), self.local(today));
        if then.date_naive() == now.date_naive() {
            then.format("%H:%M").to_string()
        } else if then.year() == now.year() {
            then.format("%-d %B %H:%M").to_string()
        } else {
            then.format("%-d %B %Y %H:%M").to_string()
        }
    }
}

/// `Sunday 22 November`, with the year unless it's `today`'s.
pub fn day_name(day: NaiveDate, today: NaiveDate) -> String {
    let format = if day.year() == today.year() {
        "%A %-d %B"
    } else {
        "%A %-d %B %Y"
    };
    day.format(format).to_string()
}

/// Finds a zone by its IANA name in any case, or by its city if that is unambiguous.
pub fn find(name: &str) -> Option<Tz> {
    let name = name.trim().replace(' ', "_");
    let is = |tz: &&Tz| tz.name().eq_ignore_ascii_case(&name);
    let ends = |tz: &&Tz| {
        let city = tz.name().rsplit_once('/');
        city.is_some_and(|(_, city)| city.eq_ignore_ascii_case(&name))
    };
    let exact = chrono_tz::TZ_VARIANTS.iter().find(is);
    let mut cities = chrono_tz::TZ_VARIANTS.iter().filter(ends);
    let city = || cities.next().filter(|_| cities.next().is_none());
    exact.or_else(city).copied()
}

/// At most `most` zone names that start with `prefix`, in any case.
pub fn starting_with(prefix: &str, most: usize) -> Vec<String> {
    let prefix = prefix.to_ascii_lowercase();
    let fits = |name: &&str| name.to_ascii_lowercase().starts_with(&prefix);
    let names = chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name());
    names.filter(fits).take(most).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_readers_own() {
        let at = Time(1_795_356_120_000); // 2026-11-22T14:02:00Z
        let cases = [
            (None, Timestamps::Minutes, "14:02", "2026-11-22"),
            (
                Some("Europe/Berlin"),
                Timestamps::Minutes,
                "15:02",
                "2026-11-22",
            ),
            (
                Some("Pacific/Auckland"),
                Timestamps::Seconds,
                "03:02:00",
                "2026-11-23",
            ),
            (Some("no/such"), Timestamps::Off, "", "2026-11-22"),
        ];
        for (tz, format, text, day) in cases {
            let mut zone = Zone::new(tz, format);
            let shown = zone.time_and_day(at);
            assert_eq!(
                (shown.0.as_str(), shown.1.to_string().as_str()),
                (text, day),
                "{tz:?}"
            );
        }
    }

    #[test]
    fn zones_are_found_by_city_too() {
        for (name, found) in [
            ("europe/berlin", Some("Europe/Berlin")),
            ("Berlin", Some("Europe/Berlin")),
            ("new york", Some("America/New_York")),
            ("utc", Some("UTC")),
            ("nowhere", None),
        ] {
            assert_eq!(find(name).map(chrono_tz::Tz::name), found, "{name}");
        }
    }
}
