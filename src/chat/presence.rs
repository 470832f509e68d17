//! Batches joins and leaves of a room into few events.
//!
//! Announcing each join to each member is quadratic when many join at once, so the first change
//! waits a moment for others. A leave and a join of the same person cancel out: a phone that changes
//! networks makes no noise.

use std::time::{Duration, Instant};

use super::event::Presence;
use super::ids::{AccountId, Name, Now, RoomName};

/// How long the first change waits for others.
const WAIT: Duration = Duration::from_millis(300);
/// The shortest time between two events of one room.
const GAP: Duration = Duration::from_secs(2);

/// The joins and leaves of one room that are not published yet.
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
    /// Adds a join.
    pub fn joined(&mut self, account: AccountId, name: &Name, now: Instant) {
        self.change(account, name, true, now);
    }

    /// Adds a leave.
    pub fn left(&mut self, account: AccountId, name: &Name, now: Instant) {
        self.change(account, name, false, now);
    }

    fn change(&mut self, account: AccountId, name: &Name, joined: bool, now: Instant) {
        // The newest few are enough for quick returns, and bound the cost of each change.
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

    /// When the next event is due.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The event, if one is due.
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

    /// A time after the start, with an arbitrary wall clock.
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
    fn a_crowd_is_one_event() {
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
    fn a_second_event_waits() {
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
    fn a_quick_return_is_not_announced() {
        let room = RoomName::lobby();
        let mut batch = PresenceBatch::default();
        batch.left(AccountId(1), &name(1), now(0).mono);
        batch.joined(AccountId(1), &name(1), now(200).mono);
        assert_eq!(batch.take(&room, now(300)), None);
        assert_eq!(batch.due(), None);
    }
}
