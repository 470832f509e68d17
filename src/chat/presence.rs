//! Joins comings and goings of a room into few lines.
//!
//! Announcing each arrival to each member is quadratic when many arrive at once, so the first
//! change waits a moment and what follows is gathered. Somebody who is back before the line is
//! due was never gone: a phone that changes networks makes no noise.

use std::time::{Duration, Instant};

use super::event::Presence;
use super::ids::{AccountId, Name, Now, RoomName};

/// How long the first change after a pause waits for others.
const WAIT: Duration = Duration::from_millis(300);
/// The least time between two lines of one room.
const GAP: Duration = Duration::from_secs(2);

/// The comings and goings of one room that nobody was told yet.
#[derive(Debug, Default)]
pub struct PresenceBatch {
    changes: Vec<Change>,
    due: Option<Instant>,
    last: Option<Instant>,
}

#[derive(Debug)]
struct Change {
    account: AccountId,
    name: Name,
    joined: bool,
}

impl PresenceBatch {
    /// Somebody came.
    pub fn joined(&mut self, account: AccountId, name: &Name, now: Instant) {
        self.change(account, name, true, now);
    }

    /// Somebody left.
    pub fn left(&mut self, account: AccountId, name: &Name, now: Instant) {
        self.change(account, name, false, now);
    }

    fn change(&mut self, account: AccountId, name: &Name, joined: bool, now: Instant) {
        // Looking at the newest few is enough for quick returns and keeps an arrival's cost the
        // same however many others arrive with it.
        let recent = self.changes.len().saturating_sub(64);
        let undone = self
            .changes
            .iter()
            .skip(recent)
            .rposition(|c| c.account == account && c.joined != joined);
        if let Some(at) = undone {
            self.changes.remove(recent + at);
            return;
        }
        self.changes.push(Change {
            account,
            name: name.clone(),
            joined,
        });
        let earliest = self.last.map_or(now, |last| last + GAP);
        self.due.get_or_insert((now + WAIT).max(earliest));
    }

    /// When the next line is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The line, if it is due and there is anything to say.
    pub fn take(&mut self, room: &RoomName, now: Now) -> Option<Presence> {
        if self.due.is_none_or(|due| due > now.mono) {
            return None;
        }
        self.due = None;
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return None;
        }
        self.last = Some(now.mono);
        let side = |joined: bool| {
            let all = changes.iter().filter(|c| c.joined == joined);
            let more = all.clone().count().saturating_sub(Presence::NAMED);
            let named: Vec<Name> = all.take(Presence::NAMED).map(|c| c.name.clone()).collect();
            (named, more)
        };
        let (joined, joined_more) = side(true);
        let (left, left_more) = side(false);
        Some(Presence {
            at: now.wall,
            room: room.clone(),
            joined,
            joined_more,
            left,
            left_more,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::chat::ids::Time;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// So long after the start, when the wall clock may show anything.
    fn now(millis: u64) -> Now {
        Now {
            wall: Time(7),
            mono: *START + Duration::from_millis(millis),
        }
    }

    fn name(n: u128) -> Name {
        Name::new(&format!("p{n}")).unwrap()
    }

    #[test]
    fn a_crowd_is_one_line() {
        let room = RoomName::lobby();
        let mut batch = PresenceBatch::default();
        for n in 0..1000 {
            batch.joined(AccountId(n), &name(n), now(0).mono);
        }
        assert_eq!(batch.take(&room, now(299)), None);
        let line = batch.take(&room, now(300)).unwrap();
        assert_eq!((line.joined.len(), line.joined_more), (3, 997));
        assert_eq!(batch.due(), None);
    }

    #[test]
    fn a_second_line_keeps_its_distance() {
        let room = RoomName::lobby();
        let mut batch = PresenceBatch::default();
        batch.joined(AccountId(1), &name(1), now(0).mono);
        assert!(batch.take(&room, now(300)).is_some());
        batch.left(AccountId(1), &name(1), now(400).mono);
        assert_eq!(batch.due(), Some(now(2_300).mono));
        let line = batch.take(&room, now(2_300)).unwrap();
        assert_eq!(line.left, vec![name(1)]);
    }

    #[test]
    fn who_is_back_at_once_was_never_gone() {
        let room = RoomName::lobby();
        let mut batch = PresenceBatch::default();
        batch.left(AccountId(1), &name(1), now(0).mono);
        batch.joined(AccountId(1), &name(1), now(200).mono);
        assert_eq!(batch.take(&room, now(300)), None);
        assert_eq!(batch.due(), None);
    }
}
