//! What the table has in the places of a batch, as it will be when what is planned has been done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ledger::Ledger;
use super::log::Log;
use super::read::person;
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Seq};
use crate::store::StoreError;
use crate::store::archive::{ArchiveRecord, ArchivedAccount, ArchivedMarker};
use crate::store::dynamo::item::Row;
use crate::store::dynamo::key::Key;
use crate::store::dynamo::log::Tails;
use crate::store::dynamo::write::Write;
use crate::store::dynamo::{Dynamo, accounts, bans, invites, marks, mutes, pending, rooms};

/// What the table has in the places of a batch.
pub(super) struct There {
    rows: HashMap<Key, Row>,
    /// How many keys wait.
    pub waiting: usize,
    /// The highest number of a ban.
    pub bans: u64,
    /// The audit, if the batch has some of it.
    pub ledger: Option<Ledger>,
    /// The logs of which the batch has some.
    pub logs: BTreeMap<Conversation, Log>,
}

impl There {
    /// Looks at all places of a batch.
    pub async fn look(
        dynamo: &Dynamo,
        tails: &mut Tails,
        records: &[ArchiveRecord],
    ) -> Result<There, StoreError> {
        let mut known = HashSet::new();
        let mut keys: Vec<Key> = records.iter().flat_map(about).collect();
        keys.retain(|key| known.insert(key.clone()));
        let rows = dynamo.table.each(&keys).await?;
        let number = |key| {
            rows.get(&key)
                .map_or(Ok(0), |row: &Row| row.number("number"))
        };
        let waiting = number(Key::waiting())?;
        let mut there = There {
            waiting: usize::try_from(waiting).unwrap_or(usize::MAX),
            bans: number(Key::ban_number())?,
            ledger: None,
            logs: BTreeMap::new(),
            rows,
        };
        let numbers = || records.iter().filter_map(number_of);
        if let (Some(first), Some(last)) = (numbers().min(), numbers().max()) {
            there.ledger = Some(Ledger::look(dynamo, first..=last).await?);
        }
        for (conversation, wanted) in there.places(records)? {
            let log = Log::look(dynamo, tails, conversation.clone(), &wanted).await?;
            there.logs.insert(conversation, log);
        }
        Ok(there)
    }

    /// The places in logs that matter. Of rooms that could make room it matters whether there are
    /// any.
    fn places(
        &self,
        records: &[ArchiveRecord],
    ) -> Result<BTreeMap<Conversation, BTreeSet<Seq>>, StoreError> {
        let mut places: BTreeMap<Conversation, BTreeSet<Seq>> = BTreeMap::new();
        for record in records {
            match record {
                ArchiveRecord::Message(entry) => {
                    let wanted = places.entry(entry.conversation.clone()).or_default();
                    wanted.insert(entry.seq);
                }
                ArchiveRecord::Room(room) => {
                    if let Some(ArchiveRecord::Room(there)) = self.found(record)?
                        && there.topic.is_none()
                        && there != *room
                    {
                        let conversation = Conversation::Room(room.name.clone());
                        places.entry(conversation).or_default();
                    }
                }
                _ => {}
            }
        }
        Ok(places)
    }

    /// What is in the place of a record, if that is an item of its own.
    pub fn found(&self, record: &ArchiveRecord) -> Result<Option<ArchiveRecord>, StoreError> {
        let row = place(record).and_then(|key| self.rows.get(&key));
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(match record {
            ArchiveRecord::Account(_) => {
                let found: ArchivedAccount = person(accounts::Record::read(row)?);
                ArchiveRecord::Account(Box::new(found))
            }
            ArchiveRecord::Mark(wanted) => {
                let mark = marks::read(row)?;
                ArchiveRecord::Mark(ArchivedMarker {
                    seq: mark.seq,
                    at: mark.at,
                    ..wanted.clone()
                })
            }
            ArchiveRecord::Room(_) => ArchiveRecord::Room(rooms::read(row)?),
            ArchiveRecord::Invite(_) => ArchiveRecord::Invite(invites::read(row)?),
            ArchiveRecord::Pending(_) => ArchiveRecord::Pending(pending::read(row)?),
            ArchiveRecord::Ban(_) => ArchiveRecord::Ban(bans::read(row)?),
            ArchiveRecord::Mute(_) => ArchiveRecord::Mute(mutes::read(row)?),
            ArchiveRecord::Lockdown(_) => ArchiveRecord::Lockdown(mutes::read_lockdown(row)?),
            ArchiveRecord::Numbers(_) | ArchiveRecord::Audit(_) | ArchiveRecord::Message(_) => {
                return Ok(None);
            }
        }))
    }

    pub fn has_account(&self, account: AccountId) -> bool {
        self.rows.contains_key(&Key::account(account))
    }

    pub fn waits(&self, key: &Fingerprint) -> bool {
        self.rows.contains_key(&Key::pending(key))
    }

    /// Whether a name or a key is somebody's, by the item that says so.
    pub fn is_owned(&self, guard: &Key) -> bool {
        self.rows.contains_key(guard)
    }

    /// From now on it is as if these were done.
    pub fn foresee(&mut self, writes: &[Write]) {
        for write in writes {
            write.preview(&mut self.rows);
        }
    }
}

/// Where a record is, if it is an item of its own.
fn place(record: &ArchiveRecord) -> Option<Key> {
    Some(match record {
        ArchiveRecord::Account(person) => Key::account(person.id),
        ArchiveRecord::Mark(mark) => Key::mark(mark.account, &mark.conversation),
        ArchiveRecord::Room(room) => Key::room(&room.name),
        ArchiveRecord::Invite(invite) => Key::invite(&invite.hash),
        ArchiveRecord::Pending(pending) => Key::pending(&pending.key.fingerprint),
        ArchiveRecord::Ban(ban) => Key::ban(ban.id),
        ArchiveRecord::Mute(mute) => Key::mute(mute.account),
        ArchiveRecord::Lockdown(_) => Key::lockdown(),
        ArchiveRecord::Numbers(_) | ArchiveRecord::Audit(_) | ArchiveRecord::Message(_) => {
            return None;
        }
    })
}

/// The items by which it is decided whether a record can be taken.
fn about(record: &ArchiveRecord) -> Vec<Key> {
    let mut keys: Vec<Key> = place(record).into_iter().collect();
    match record {
        ArchiveRecord::Account(person) => {
            keys.extend(person.names.iter().map(Key::name));
            for key in &person.keys {
                keys.push(Key::fingerprint(&key.fingerprint));
                keys.push(Key::pending(&key.fingerprint));
            }
            // One of them can wait.
            keys.push(Key::waiting());
        }
        ArchiveRecord::Mark(mark) => keys.push(Key::account(mark.account)),
        ArchiveRecord::Pending(pending) => {
            keys.push(Key::fingerprint(&pending.key.fingerprint));
            keys.push(Key::waiting());
        }
        ArchiveRecord::Ban(_) | ArchiveRecord::Numbers(_) => keys.push(Key::ban_number()),
        _ => {}
    }
    keys
}

fn number_of(record: &ArchiveRecord) -> Option<u64> {
    match record {
        ArchiveRecord::Audit(order) => Some(order.number),
        _ => None,
    }
}
