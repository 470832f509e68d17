//! Reads, saves and orders that a session waits for, one at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::requests::{StoreData, StoreRead};
use super::usage::MAX_HITS;
use crate::access::AdminService;
use crate::access::orders::{Order, OrderReply, Requester};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, Seq};
use crate::chat::preferences::{Ignored, Preferences};
use crate::store::{Account, ReadMarker, SearchQuery, Store, StoreError};

/// The number of read messages shown above the new ones on returning to a room.
const CONTEXT: usize = 3;

/// How long the backlog of a room may take before the room is shown without it.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of a [`Job`].
pub(super) enum JobResult {
    Read(StoreData),
    Saved(Result<(), StoreError>),
    Reported(Result<OrderReply, String>),
}

/// Work for the store.
pub(super) enum Job {
    Read(StoreRead),
    Save(Preferences),
    Order(Order),
}

impl Job {
    pub(super) fn is_order(&self) -> bool {
        matches!(self, Job::Order(_))
    }
}

/// A job in progress.
pub(super) type JobFuture = Pin<Box<dyn Future<Output = JobResult> + Send>>;

/// Runs a job.
pub(super) async fn run_job(
    store: Arc<dyn Store>,
    orders: Arc<dyn AdminService>,
    requester: Requester,
    job: Job,
) -> JobResult {
    let account = requester.account;
    match job {
        Job::Read(request) => JobResult::Read(read(&*store, account, request).await),
        Job::Save(preferences) => {
            JobResult::Saved(store.save_preferences(account, &preferences).await)
        }
        Job::Order(order) => JobResult::Reported(orders.execute(requester, order).await),
    }
}

async fn read(store: &dyn Store, reader: AccountId, request: StoreRead) -> StoreData {
    let mut waiting_room = None;
    let result = match request {
        StoreRead::Backlog {
            room,
            last,
            seen,
            limit,
        } => {
            let backlog = backlog(store, reader, room.clone(), last, seen, limit);
            waiting_room = Some(room);
            let late = || Err(StoreError::Unavailable("timed out".into()));
            timeout(BACKLOG_TIMEOUT, backlog)
                .await
                .unwrap_or_else(|_| late())
        }
        StoreRead::History {
            conversation,
            limit,
        } => {
            let messages = store.history(&conversation, None, limit).await;
            messages.map(StoreData::History)
        }
        StoreRead::Account(name, action) => {
            let found = store
                .account_by_name(&name)
                .await
                .map(|found| found.map(|Account { id, name, .. }| Author { account: id, name }));
            let found = found.map_err(|error| error.to_string());
            return StoreData::Account(name, action, found);
        }
        StoreRead::Names(ignored) => return names(store, ignored).await,
        StoreRead::Search { query, within } => {
            let search = SearchQuery {
                words: query,
                within,
                limit: MAX_HITS,
            };
            store.search(search).await.map(StoreData::Search)
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(event = "read_failed", %error, "store read failed");
        StoreData::Failed {
            room: waiting_room,
            reason: error.to_string(),
        }
    })
}

/// The current names of ignored people. Guests, and people who can't be looked up, keep the name
/// they were ignored by.
async fn names(store: &dyn Store, ignored: Vec<Ignored>) -> StoreData {
    let (mut names, mut failed) = (Vec::new(), None);
    for Ignored { account, name } in ignored {
        let found = match Name::stored(&name) {
            Ok(name) if failed.is_none() => store.account_by_name(&name).await,
            _ => Ok(None),
        };
        names.push(match found {
            Ok(Some(found)) if found.id == account => found.name.to_string(),
            Ok(_) => name,
            Err(error) => {
                failed = Some(error.to_string());
                name
            }
        });
    }
    StoreData::Names(names, failed)
}

async fn backlog(
    store: &dyn Store,
    reader: AccountId,
    room: RoomName,
    last: Seq,
    seen: Option<ReadMarker>,
    limit: usize,
) -> Result<StoreData, StoreError> {
    if last == Seq(0) {
        return Ok(StoreData::Backlog {
            room,
            messages: Vec::new(),
            marker: None,
            new: 0,
        });
    }
    let conversation = Conversation::Room(room.clone());
    let before = Some(Seq(last.0 + 1));
    let marker = match seen {
        Some(seen) => Some(seen),
        None => store.mark(reader, &conversation).await?,
    };
    let new = match marker {
        Some(marker) if marker.seq < last => store.count_after(&conversation, marker.seq).await?,
        _ => 0,
    };
    // On returning to a room, the rest of it is above on the screen.
    let limit = match seen {
        Some(_) => limit.min(usize::try_from(new).unwrap_or(limit) + CONTEXT),
        None => limit,
    };
    let messages = if limit == 0 {
        Vec::new()
    } else {
        store.history(&conversation, before, limit).await?
    };
    Ok(StoreData::Backlog {
        room,
        messages,
        marker,
        new,
    })
}
