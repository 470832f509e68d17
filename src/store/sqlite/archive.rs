//! Export, import and integrity check of the whole database.
//!
//! An export has its own connection and reads in one transaction, so it's a snapshot of one moment
//! while others write. Until it ends, the write-ahead log can't be folded into the file: an export
//! that waits for days lets `chat.db-wal` grow for days.

use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use rusqlite::{Connection, Row};
use tokio::sync::{mpsc, oneshot};

use super::columns::{to_account_id, to_conversation, unsigned};
use super::{Sqlite, accounts, admission, change, check, messages, moderation, rooms};
use crate::chat::ids::{Seq, Time};
use crate::store::archive::{
    Archive, ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedCounters, ArchivedMarker,
    BATCH, ExportReader, ImportConflict, ImportError,
};
use crate::store::{Account, RoomRecord, StoreError};

/// Pages that an export reads ahead.
const READ_AHEAD: usize = 2;

/// The most faults that a check reports.
const MAX_FAULTS: u32 = 10;

/// Before anything expires: at this time everything stored is in force.
const ALWAYS: Time = Time(i64::MIN);

#[async_trait]
impl Archive for Sqlite {
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError> {
        let db = self.file.reopen_to_read()?;
        Ok(Box::new(ExportThread::start(db)?))
    }

    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError> {
        self.write(records.len(), move |db| import(db, &records))
            .await
    }

    async fn damage(&self) -> Result<Option<Vec<String>>, StoreError> {
        // Its own connection and thread, because reading a large file takes a while and must not
        // delay other readers.
        let db = self.file.reopen_to_read()?;
        let (reply, result) = oneshot::channel();
        spawn("store-check", move || {
            let _caller_gone = reply.send(damage(&db, MAX_FAULTS));
        })?;
        let faults = result.await;
        faults
            .map_err(|_| StoreError::Unavailable("the check's thread has ended".to_owned()))?
            .map(Some)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|error| StoreError::Unavailable(format!("can't start a thread: {error}")))
}

/// Describes the first `max` faults in the database, all of which is read: the file itself, broken
/// references, gaps in conversations, the search index, and unreadable records.
fn damage(db: &Connection, max: u32) -> Result<Vec<String>, StoreError> {
    // A snapshot while others write. Ends with the connection.
    db.execute_batch("BEGIN")?;
    let mut faults = match check::whole(db, max).map_err(StoreError::from) {
        // The check itself could not read the file.
        Err(StoreError::Corrupt(fault)) => vec![fault],
        faults => faults?,
    };
    if faults.is_empty() {
        faults = check::contradictions(db)?;
        faults.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    }
    if faults.is_empty() {
        match read_all(db, &mut |_| Ok(())) {
            Err(StoreError::Corrupt(fault)) => faults.push(fault),
            result => result?,
        }
    }
    Ok(faults)
}

type Page = Result<Vec<ArchiveRecord>, StoreError>;

/// A thread that reads the database from start to end, [`READ_AHEAD`] pages ahead of the caller.
struct ExportThread {
    pages: mpsc::Receiver<Page>,
    thread: Option<JoinHandle<()>>,
}

impl ExportThread {
    fn start(db: Connection) -> Result<ExportThread, StoreError> {
        let (sender, pages) = mpsc::channel(READ_AHEAD);
        let thread = spawn("store-export", move || {
            let send = |page: Page| {
                let cancelled = |_| StoreError::Unavailable("the export was cancelled".to_owned());
                sender.blocking_send(page).map_err(cancelled)
            };
            let mut page = Vec::with_capacity(BATCH);
            let read = read_snapshot(&db, &mut |record| {
                page.push(record);
                if page.len() < BATCH {
                    return Ok(());
                }
                send(Ok(std::mem::replace(&mut page, Vec::with_capacity(BATCH))))
            });
            let _cancelled = match read {
                Ok(()) if page.is_empty() => send(Ok(page)),
                Ok(()) => send(Ok(page)).and_then(|()| send(Ok(Vec::new()))),
                Err(error) => send(Err(error)),
            };
        })?;
        Ok(ExportThread {
            pages,
            thread: Some(thread),
        })
    }
}

#[async_trait]
impl ExportReader for ExportThread {
    async fn next(&mut self) -> Page {
        match self.pages.recv().await {
            Some(page) => page,
            // The end is an empty page: the thread panicked, or the caller read on after it.
            None => Err(StoreError::Unavailable("the export has ended".to_owned())),
        }
    }
}

impl Drop for ExportThread {
    fn drop(&mut self) {
        self.pages.close();
        while self.pages.try_recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // If it panicked, the reader has seen that the end is missing.
            let _ = thread.join();
        }
    }
}

/// Receives each record of an export; its error ends the export.
type Output<'a> = &'a mut dyn FnMut(ArchiveRecord) -> Result<(), StoreError>;

/// Reads everything as of now.
fn read_snapshot(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    // Ends with the connection.
    db.execute_batch("BEGIN")?;
    read_all(db, put)
}

/// Reads everything, in an order that can be imported. The transaction is the caller's.
fn read_all(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    read_accounts(db, put)?;
    read_markers(db, put)?;
    for room in rooms::all(db)? {
        put(ArchiveRecord::Room(rooms::archived(room)))?;
    }
    for invite in admission::invites(db, ALWAYS)? {
        put(ArchiveRecord::Invite(invite))?;
    }
    for pending in admission::all_pending(db)? {
        put(ArchiveRecord::Pending(pending))?;
    }
    let ban = moderation::last_ban_id(db)?;
    if ban > 0 {
        put(ArchiveRecord::Numbers(ArchivedCounters { ban }))?;
    }
    for ban in moderation::bans(db, ALWAYS)? {
        put(ArchiveRecord::Ban(ban))?;
    }
    for mute in moderation::mutes(db, ALWAYS)? {
        put(ArchiveRecord::Mute(mute))?;
    }
    if let Some(lockdown) = moderation::lockdown(db, ALWAYS)? {
        put(ArchiveRecord::Lockdown(lockdown))?;
    }
    read_audit(db, put)?;
    read_messages(db, put)
}

fn read_accounts(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    let columns = accounts::COLUMNS;
    let mut statement = db.prepare(&format!("SELECT {columns} FROM accounts a ORDER BY a.id"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let account = archived_account(db, accounts::to_account(row)?)?;
        put(ArchiveRecord::Account(Box::new(account)))?;
    }
    Ok(())
}

fn archived_account(db: &Connection, account: Account) -> Result<ArchivedAccount, StoreError> {
    let names = accounts::names(db, account.id)?;
    let keys = accounts::keys_of(db, account.id)?;
    Ok(ArchivedAccount::new(account, names, keys))
}

fn read_markers(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    let mut statement = db.prepare(
        "SELECT m.account, c.key, m.seq, m.at
         FROM marks m JOIN conversations c ON c.id = m.conversation ORDER BY m.account, c.key",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        put(ArchiveRecord::Mark(to_marker(row)?))?;
    }
    Ok(())
}

fn to_marker(row: &Row<'_>) -> Result<ArchivedMarker, StoreError> {
    Ok(ArchivedMarker {
        account: to_account_id(row.get(0)?),
        conversation: to_conversation(&row.get::<_, String>(1)?)?,
        seq: Seq(unsigned(row.get(2)?)?),
        at: Time(row.get(3)?),
    })
}

fn read_audit(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    let columns = change::AUDIT_COLUMNS;
    let mut statement = db.prepare(&format!("SELECT {columns} FROM audit ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        number += 1;
        let audit = ArchivedAudit::new(number, change::to_audit(row)?);
        put(ArchiveRecord::Audit(audit))?;
    }
    Ok(())
}

/// In the order of arrival, across conversations.
fn read_messages(db: &Connection, put: Output<'_>) -> Result<(), StoreError> {
    let columns = messages::COLUMNS;
    let mut statement = db.prepare(&format!(
        "SELECT {columns}, c.key
         FROM messages m CROSS JOIN conversations c ON c.id = m.conversation ORDER BY m.id"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let conversation = to_conversation(&row.get::<_, String>("key")?)?;
        put(ArchiveRecord::Message(messages::to_archived(
            row,
            &conversation,
        )?))?;
    }
    Ok(())
}

/// Imports records, all or none, and returns how many are new. An error undoes all of it: the
/// transaction is the caller's.
fn import(db: &Connection, records: &[ArchiveRecord]) -> Result<usize, ImportError> {
    let mut new = 0;
    for (index, record) in records.iter().enumerate() {
        new += usize::from(import_record(db, index, record)?);
    }
    if new > 0 {
        messages::update_index(db)?;
        change::bump_revision(db)?;
    }
    Ok(new)
}

/// Writes a record unless an identical one exists. Returns whether it was written.
fn import_record(
    db: &Connection,
    index: usize,
    record: &ArchiveRecord,
) -> Result<bool, ImportError> {
    if let ArchiveRecord::Numbers(counters) = record {
        let is_higher = counters.ban > moderation::last_ban_id(db)?;
        if is_higher {
            moderation::reserve_ban_ids(db, counters.ban)?;
        }
        return Ok(is_higher);
    }
    match existing(db, record)? {
        Some(existing) if existing == *record => return Ok(false),
        Some(existing) if !is_replaceable(db, record)? => {
            return Err(record.conflict_with(&existing).at(index));
        }
        _ => {}
    }
    match record {
        ArchiveRecord::Account(account) => {
            if let Some(conflict) = account_conflict(db, account)? {
                return Err(conflict.at(index));
            }
            insert_account(db, account)?;
        }
        ArchiveRecord::Mark(marker) => {
            if !accounts::exists(db, marker.account)? {
                return Err(ImportConflict::NoAccount(marker.account).at(index));
            }
            let mark = (marker.account, marker.conversation.clone(), marker.mark());
            accounts::save_marks(db, &[mark])?;
        }
        ArchiveRecord::Room(room) => rooms::restore(db, room)?,
        ArchiveRecord::Invite(invite) => {
            admission::insert_invite(db, invite)?;
        }
        ArchiveRecord::Pending(pending) => {
            let key = &pending.key.fingerprint;
            if accounts::key_owner(db, key)?.is_some() {
                return Err(ImportConflict::KeyTaken(key.clone()).at(index));
            }
            if admission::is_pending_full(db)? {
                return Err(ImportConflict::TooManyPending.at(index));
            }
            admission::insert_pending(db, pending)?;
        }
        ArchiveRecord::Ban(ban) => {
            moderation::insert_ban(db, Some(ban.id), ban)?;
        }
        ArchiveRecord::Numbers(_) => {}
        ArchiveRecord::Mute(mute) => moderation::insert_mute(db, mute.account, mute)?,
        ArchiveRecord::Lockdown(lockdown) => moderation::insert_lockdown(db, lockdown)?,
        ArchiveRecord::Audit(audit) => {
            let last = change::last_audit_number(db)?;
            if audit.number != last.saturating_add(1) {
                return Err(ImportConflict::Gap(last).at(index));
            }
            change::insert_audit(db, &audit.audit())?;
        }
        ArchiveRecord::Message(message) => {
            messages::restore(db, message)?.map_err(|conflict| conflict.at(index))?;
        }
    }
    Ok(true)
}

/// The store's record in the place of this one.
fn existing(db: &Connection, record: &ArchiveRecord) -> Result<Option<ArchiveRecord>, StoreError> {
    Ok(match record {
        ArchiveRecord::Account(wanted) => match accounts::by_id(db, wanted.id)? {
            Some(account) => {
                let account = archived_account(db, account)?;
                Some(ArchiveRecord::Account(Box::new(account)))
            }
            None => None,
        },
        ArchiveRecord::Mark(wanted) => {
            let mark = accounts::mark(db, wanted.account, &wanted.conversation)?;
            mark.map(|mark| {
                ArchiveRecord::Mark(ArchivedMarker {
                    seq: mark.seq,
                    at: mark.at,
                    ..wanted.clone()
                })
            })
        }
        ArchiveRecord::Room(wanted) => rooms::named(db, &wanted.name)?
            .map(rooms::archived)
            .map(ArchiveRecord::Room),
        ArchiveRecord::Invite(wanted) => {
            admission::invite_by_hash(db, &wanted.hash)?.map(ArchiveRecord::Invite)
        }
        ArchiveRecord::Pending(wanted) => {
            admission::pending_by_key(db, &wanted.key.fingerprint)?.map(ArchiveRecord::Pending)
        }
        ArchiveRecord::Ban(wanted) => moderation::ban(db, wanted.id)?.map(ArchiveRecord::Ban),
        ArchiveRecord::Numbers(_) => None,
        ArchiveRecord::Mute(wanted) => {
            moderation::mute_of(db, wanted.account)?.map(ArchiveRecord::Mute)
        }
        ArchiveRecord::Lockdown(_) => {
            moderation::lockdown(db, ALWAYS)?.map(ArchiveRecord::Lockdown)
        }
        ArchiveRecord::Audit(wanted) => change::audit(db, wanted.number)?
            .map(|audit| ArchiveRecord::Audit(ArchivedAudit::new(wanted.number, audit))),
        ArchiveRecord::Message(wanted) => {
            messages::archived(db, &wanted.conversation, wanted.seq)?.map(ArchiveRecord::Message)
        }
    })
}

/// Whether the store's record may be overwritten: a room that the server created when it started.
fn is_replaceable(db: &Connection, record: &ArchiveRecord) -> Result<bool, StoreError> {
    let ArchiveRecord::Room(room) = record else {
        return Ok(false);
    };
    let is_empty = |room: RoomRecord| room.topic.is_none() && room.last == Seq(0);
    Ok(rooms::named(db, &room.name)?.is_some_and(is_empty))
}

/// The name or key of a new account that another account owns.
fn account_conflict(
    db: &Connection,
    account: &ArchivedAccount,
) -> Result<Option<ImportConflict>, StoreError> {
    for name in &account.names {
        if accounts::name_owner(db, name)?.is_some() {
            return Ok(Some(ImportConflict::NameTaken(name.clone())));
        }
    }
    for key in &account.keys {
        if accounts::key_owner(db, &key.fingerprint)?.is_some() {
            return Ok(Some(ImportConflict::KeyTaken(key.fingerprint.clone())));
        }
    }
    Ok(None)
}

fn insert_account(db: &Connection, account: &ArchivedAccount) -> Result<(), StoreError> {
    accounts::insert(db, &account.account())?;
    for name in &account.names {
        accounts::own_name(db, account.id, name)?;
    }
    for key in &account.keys {
        accounts::insert_key(db, account.id, key)?;
    }
    Ok(())
}
