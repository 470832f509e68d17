//! What the store does for a session, one job after the other: it reads what is to be shown, and
//! keeps settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::facts::FOUND;

use super::machine::{Fetch, Fetched};
use crate::access::AdminService;
use crate::access::orders::{Order, OrderReply, Requester};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Conversation, Name, RoomName, Seq};
use crate::chat::preferences::{Ignored, Preferences};
use crate::store::{Account, ReadMarker, SearchQuery, Store, StoreError};

/// How many messages that were seen before are shown above the new ones of a room.
const CONTEXT: usize = 3;

/// How long what was said in a room may take to be read before the room is shown without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the store has done for a session.
pub(super) enum Done {
    Fetched(Fetched),
    Saved(Result<(), StoreError>),
    Reported(Result<OrderReply, String>),
}

/// Something that the store is to do for a session; one after the other.
pub(super) enum Job {
    Fetch(Fetch),
    Save(Preferences),
    Order(Order),
}

impl Job {
    /// Whether somebody's order is carried out by it.
    pub(super) fn is_order(&self) -> bool {
        matches!(self, Job::Order(_))
    }
}

/// Does it. A failure is an answer too.
pub(super) async fn carry_out(
    store: Arc<dyn Store>,
    orders: Arc<dyn AdminService>,
    requester: Requester,
    job: Job,
) -> Done {
    let account = requester.account;
    match job {
        Job::Fetch(fetch) => Done::Fetched(read_back(&*store, account, fetch).await),
        Job::Save(preferences) => Done::Saved(store.save_preferences(account, &preferences).await),
        Job::Order(order) => Done::Reported(orders.execute(requester, order).await),
    }
}

/// Reads what a session wants to show.
async fn read_back(store: &dyn Store, reader: AccountId, fetch: Fetch) -> Fetched {
    let mut waits = None;
    let result = match fetch {
        Fetch::Recall {
            room,
            last,
            seen,
            limit,
        } => {
            let recall = recall(store, reader, room.clone(), last, seen, limit);
            waits = Some(room);
            let late = || Err(StoreError::Unavailable("it takes too long".into()));
            timeout(PATIENCE, recall).await.unwrap_or_else(|_| late())
        }
        Fetch::History {
            conversation,
            limit,
        } => {
            let messages = store.history(&conversation, None, limit).await;
            messages.map(Fetched::History)
        }
        Fetch::Account(name, wish) => {
            let found = store
                .account_by_name(&name)
                .await
                .map(|found| found.map(|Account { id, name, .. }| Author { account: id, name }));
            let found = found.map_err(|error| error.to_string());
            return Fetched::Account(name, wish, found);
        }
        Fetch::Names(ignored) => return names(store, ignored).await,
        Fetch::Search { words, within } => {
            let search = SearchQuery {
                words,
                within,
                limit: FOUND,
            };
            store.search(search).await.map(Fetched::Found)
        }
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(event = "read_failed", %error, "the store could not be read");
        Fetched::Failed {
            room: waits,
            reason: error.to_string(),
        }
    })
}

/// What people are called today: by the name that they had, which is still theirs. Guests, and who
/// can't be looked up, by that name.
async fn names(store: &dyn Store, ignored: Vec<Ignored>) -> Fetched {
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
    Fetched::Names(names, failed)
}

async fn recall(
    store: &dyn Store,
    reader: AccountId,
    room: RoomName,
    last: Seq,
    seen: Option<ReadMarker>,
    limit: usize,
) -> Result<Fetched, StoreError> {
    if last == Seq(0) {
        return Ok(Fetched::Recall {
            room,
            messages: Vec::new(),
            mark: None,
            new: 0,
        });
    }
    let conversation = Conversation::Room(room.clone());
    let before = Some(Seq(last.0 + 1));
    let mark = match seen {
        Some(seen) => Some(seen),
        None => store.mark(reader, &conversation).await?,
    };
    let new = match mark {
        Some(mark) if mark.seq < last => store.count_after(&conversation, mark.seq).await?,
        _ => 0,
    };
    // Who comes back to a room within a session has the rest of it above.
    let limit = match seen {
        Some(_) => limit.min(usize::try_from(new).unwrap_or(limit) + CONTEXT),
        None => limit,
    };
    let messages = if limit == 0 {
        Vec::new()
    } else {
        store.history(&conversation, before, limit).await?
    };
    Ok(Fetched::Recall {
        room,
        messages,
        mark,
        new,
    })
}
