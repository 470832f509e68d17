//! The reader's own clock: times and days in their zone.

use std::fmt::Write as _;

use arrayvec::ArrayString;
use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use crate::chat::ids::Time;
use crate::chat::preferences::Timestamps;

/// A zone, with the last minute that was written kept, since most messages share it.
#[derive(Debug)]
pub struct Zone {
    tz: Tz,
    format: Timestamps,
    cached: Option<(i64, NaiveDate, ArrayString<8>)>,
}

impl Zone {
    /// A zone by its IANA name, UTC if the name is none.
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

    /// The time of day as the reader wants it, empty if they want none, and the day.
    pub fn show(&mut self, at: Time) -> (&str, NaiveDate) {
        let unit = match self.format {
            Timestamps::Seconds => 1_000,
            Timestamps::Minutes | Timestamps::Off => 60_000,
        };
        let slot = at.0.div_euclid(unit);
        if self.cached.as_ref().is_none_or(|(kept, ..)| *kept != slot) {
            let local = self.local(at);
            let format = match self.format {
                Timestamps::Minutes => "%H:%M",
                Timestamps::Seconds => "%H:%M:%S",
                Timestamps::Off => "",
            };
            let mut text = ArrayString::new();
            let _it_fits = write!(text, "{}", local.format(format));
            self.cached = Some((slot, local.date_naive(), text));
        }
        match &self.cached {
            Some((_, day, text)) => (text, *day),
            None => ("", NaiveDate::default()),
        }
    }

    fn local(&self, at: Time) -> DateTime<Tz> {
        DateTime::from_timestamp_millis(at.0)
            .unwrap_or_default()
            .with_timezone(&self.tz)
    }

    /// Hours and minutes, and the date as well if it is not `today`'s.
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

/// `Sunday 22 November`, with the year where it is not `today`'s.
pub fn day_name(day: NaiveDate, today: NaiveDate) -> String {
    let format = if day.year() == today.year() {
        "%A %-d %B"
    } else {
        "%A %-d %B %Y"
    };
    day.format(format).to_string()
}

/// The zone of this IANA name, in any case; `Berlin` finds `Europe/Berlin` where that is clear.
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

/// Zones whose name begins like this, for completion: at most `most`.
pub fn beginning(prefix: &str, most: usize) -> Vec<String> {
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
            let shown = zone.show(at);
            assert_eq!(
                (shown.0, shown.1.to_string().as_str()),
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
