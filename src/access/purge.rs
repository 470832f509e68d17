//! Removing what was said, after a flood.

use std::collections::BTreeSet;
use std::time::Duration;

use super::carry_out::{OrderContext, failed, not_done};
use super::orders::PurgeWhom;
use crate::chat::access::{Deed, Rank};
use crate::chat::duration;
use crate::chat::ids::{AccountId, Conversation, RoomName};
use crate::chat::intent::Refusal;
use crate::clock;
use crate::store::{Action, Authors, ChangeError, Purge};
use crate::text::Text;

/// The most pieces of work after a purge: there is an end to them, however much is said meanwhile.
const CLEANING: usize = 10_000;

const STOPPING: &str = "the server is stopping";

/// Whose words are removed, and how they are called.
struct Chosen {
    authors: Authors,
    /// In the audit log and the answer.
    label: String,
    /// In the rooms, which are told no addresses.
    shown: String,
    /// What there is to know about the choice.
    remark: String,
}

impl Chosen {
    fn of(authors: Authors, label: &str) -> Chosen {
        Chosen {
            authors,
            label: label.to_owned(),
            shown: label.to_owned(),
            remark: String::new(),
        }
    }
}

/// How much was removed.
#[derive(Default)]
struct Removed {
    total: u64,
    rooms: Vec<(RoomName, u64)>,
    direct: u64,
}

impl Removed {
    fn add(&mut self, conversation: &Conversation, count: u64) {
        self.total += count;
        match conversation {
            Conversation::Room(_) if count == 0 => {}
            Conversation::Room(room) => self.rooms.push((room.clone(), count)),
            Conversation::Direct(..) => self.direct += count,
        }
    }
}

impl OrderContext<'_> {
    /// Removes what they said in the last `millis` milliseconds, in all rooms and direct messages.
    /// Step by step, so that messages are saved in between.
    pub(super) async fn purge(&self, whom: PurgeWhom, millis: u64) -> Result<String, String> {
        let chosen = self.choose(whom, millis).await?;
        let purge = Purge {
            authors: chosen.authors,
            since: self.now.minus(millis),
        };
        let mut removed = Removed::default();
        let cut = self.remove(&purge, &mut removed).await.err();
        let Removed {
            total,
            ref rooms,
            direct,
        } = removed;
        let (label, remark) = (&chosen.label, &chosen.remark);
        let time = duration::format(Duration::from_millis(millis));
        if total == 0 && cut.is_none() {
            return Ok(format!(
                "Nothing by {label} found in the last {time}.{remark}"
            ));
        }
        let mut kept = Ok(());
        if total > 0 {
            let action = Action::Purge {
                target: label.clone(),
                millis,
                removed: total,
                whole: cut.is_none(),
            };
            kept = self.apply(action).await.map(|_kept| ()).map_err(not_done);
            self.tell(rooms, &chosen.shown).await;
        }
        let count = messages(total);
        if let Some(why) = cut {
            return Err(format!(
                "Removed {count} by {label}, then stopped: {why}. Repeat the command to remove \
                 the rest."
            ));
        }
        let place = match (rooms.len(), direct) {
            (0, _) => "all of them direct".to_owned(),
            (1, 0) => "in 1 room".to_owned(),
            (rooms, 0) => format!("in {rooms} rooms"),
            (1, direct) => format!("in 1 room, {direct} of them direct"),
            (rooms, direct) => format!("in {rooms} rooms, {direct} of them direct"),
        };
        let done = format!("Removed {count} by {label} from the last {time}, {place}.{remark}");
        match kept {
            Ok(()) => Ok(done),
            Err(why) => Err(format!("{done} It's not in the audit log: {why}")),
        }
    }

    async fn choose(&self, whom: PurgeWhom, millis: u64) -> Result<Chosen, String> {
        match whom {
            PurgeWhom::Guests => Ok(Chosen::of(Authors::Guests, "guests")),
            // Nobody with an account has such a name.
            PurgeWhom::Person(name) if name.is_guest() => {
                let label = name.to_string();
                Ok(Chosen::of(Authors::Named(name), &label))
            }
            PurgeWhom::Person(name) => {
                let person = self.subject(&name).await?;
                let accounts = BTreeSet::from([person.id]);
                Ok(Chosen::of(Authors::Accounts(accounts), name.as_str()))
            }
            PurgeWhom::Network(network) => {
                let known = self.guard.hub.accounts_from(network).await;
                let (accounts, since) = known.ok_or_else(|| format!("Not done: {STOPPING}."))?;
                let (label, shown) = if network.prefix_len() == network.max_prefix_len() {
                    (network.addr().to_string(), "people from one address")
                } else {
                    (network.to_string(), "people from one network")
                };
                let known_for = clock::monotonic().saturating_duration_since(since);
                let remark = if known_for < Duration::from_millis(millis) {
                    format!(
                        " Only sessions that began in the last {} are known by address.",
                        duration::format(known_for)
                    )
                } else {
                    String::new()
                };
                let accounts = self.without_higher_ranks(accounts).await?;
                if accounts.is_empty() {
                    return Err(format!(
                        "No one who can be purged connected from {label}.{remark}"
                    ));
                }
                Ok(Chosen {
                    authors: Authors::Accounts(accounts),
                    label,
                    shown: shown.to_owned(),
                    remark,
                })
            }
        }
    }

    /// Leaves out those who can't be restricted by whoever gives the order: they may only share an
    /// address with a flood.
    async fn without_higher_ranks(
        &self,
        mut accounts: BTreeSet<AccountId>,
    ) -> Result<BTreeSet<AccountId>, String> {
        if accounts.is_empty() {
            return Ok(accounts);
        }
        let all = self.guard.store.accounts_with_keys().await;
        let rules = self.guard.rules();
        for (account, keys) in all.map_err(failed)?.into_iter().flatten() {
            let configured = keys.iter().any(|key| rules.names(&key.fingerprint));
            let rank = Rank::of(account.role, configured);
            if self.rank.may(Deed::Restrict, rank).is_err() {
                accounts.remove(&account.id);
            }
        }
        Ok(accounts)
    }

    /// The error is why it was cut.
    async fn remove(&self, purge: &Purge, removed: &mut Removed) -> Result<(), String> {
        let store = &self.guard.store;
        let words = |error: crate::store::StoreError| error.to_string();
        let all = store.conversations().await.map_err(words)?;
        // What most people see goes first.
        let (rooms, direct): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|conversation| matches!(conversation, Conversation::Room(_)));
        for conversation in rooms.into_iter().chain(direct) {
            let (mut count, mut before) = (0, None);
            let end = loop {
                if self.guard.is_stopping() {
                    break Err(STOPPING.to_owned());
                }
                match store.purge(&conversation, purge, before).await {
                    Ok(step) => {
                        count += step.removed;
                        before = step.before;
                        if before.is_none() {
                            break Ok(());
                        }
                    }
                    Err(error) => break Err(words(error)),
                }
            };
            removed.add(&conversation, count);
            end?;
        }
        // Also when nothing was found: one before may have been cut here.
        self.clean().await
    }

    /// Sees to it that nothing of what was removed is left on the disk. The error is why it was cut.
    async fn clean(&self) -> Result<(), String> {
        for _ in 0..CLEANING {
            if self.guard.is_stopping() {
                return Err(STOPPING.to_owned());
            }
            let more = self.guard.store.purged().await;
            if !more.map_err(|error| error.to_string())? {
                break;
            }
        }
        Ok(())
    }

    /// Removes a room and everything that was said there. The hub does the first, so that nothing
    /// is said there meanwhile.
    pub(super) async fn remove_room(&self, room: RoomName) -> Result<String, String> {
        if room == RoomName::lobby() {
            return Err("The lobby can't be removed. /purge removes what was said there.".into());
        }
        let remove = self.change(Action::RemoveRoom { room: room.clone() });
        let told = Text::stored(&format!("{} removed the room {room}.", self.actor));
        let removed = self.guard.hub.remove_room(room.clone(), remove, told).await;
        let removed = removed.ok_or_else(|| format!("Not done: {STOPPING}."))?;
        let there = match removed {
            Ok(applied) => {
                super::log_applied(applied);
                true
            }
            // A removal before may have been cut after that.
            Err(ChangeError::NotFound) => false,
            Err(error) => return Err(not_done(error)),
        };
        match self.clear_room(&room).await {
            Err(why) => Err(format!(
                "{room} is removed, but not everything that was said there is deleted yet: {why}. \
                 Repeat the command to delete the rest."
            )),
            Ok(()) if there => Ok(format!("{room} and everything said there is removed.")),
            Ok(()) => Err(Refusal::NoRoom(room).to_string()),
        }
    }

    async fn clear_room(&self, room: &RoomName) -> Result<(), String> {
        loop {
            if self.guard.is_stopping() {
                return Err(STOPPING.to_owned());
            }
            let more = self.guard.store.clear_room(room).await;
            if !more.map_err(|error| error.to_string())? {
                return self.clean().await;
            }
        }
    }

    /// Each room is told in one line.
    async fn tell(&self, rooms: &[(RoomName, u64)], whose: &str) {
        for (room, count) in rooms {
            let words = format!("{} removed {} by {whose}.", self.actor, messages(*count));
            let words = Text::stored(&words);
            self.guard.hub.notify_room(room.clone(), words).await;
        }
    }
}

fn messages(count: u64) -> String {
    if count == 1 {
        "1 message".to_owned()
    } else {
        format!("{count} messages")
    }
}
