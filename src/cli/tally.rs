//! How much of what an archive has, for people.

use std::collections::BTreeMap;
use std::fmt;

use crate::store::archive::ArchiveRecord;

/// The kinds of records that people count, in the order of an archive: one of them, several.
const NOUNS: [(&str, &str, &str); 10] = [
    ("account", "account", "accounts"),
    ("mark", "mark", "marks"),
    ("room", "room", "rooms"),
    ("invite", "invite", "invites"),
    ("pending", "pending key", "pending keys"),
    ("ban", "ban", "bans"),
    ("mute", "mute", "mutes"),
    ("lockdown", "lockdown", "lockdowns"),
    ("audit", "audit entry", "audit entries"),
    ("message", "message", "messages"),
];

/// How many records there are, by kind. Shown as `3 accounts, 1 room, 812 messages`.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn add(&mut self, record: &ArchiveRecord) {
        *self.0.entry(record.kind()).or_default() += 1;
    }

    /// How many there are of all kinds.
    pub(super) fn records(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = NOUNS.iter().filter_map(|(kind, one, several)| {
            let count = self.0.get(kind)?;
            Some(format!(
                "{count} {}",
                if *count == 1 { one } else { several }
            ))
        });
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&counts.join(", "))
    }
}
