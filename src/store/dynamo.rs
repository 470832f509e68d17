//! The store in one `DynamoDB` table: what the appliance uses, so that nothing of value is on the
//! machine's disk.
//!
//! Where things are is said in [`key`]; what a failed write means in [`table`]; how logs are kept
//! in [`segment`] and [`log`]. All that is read is read consistently. Several processes may use the
//! same table: whatever must hold between them is a condition of the write that depends on it.

use std::sync::Arc;

use tokio::sync::Mutex;

use self::audit::Arrivals;
use self::log::{Doubts, Tails};
use self::table::Table;
use crate::aws::Aws;

mod accounts;
mod amend;
mod archive;
mod audit;
mod bans;
mod change;
mod claims;
mod invites;
mod item;
mod key;
mod keys;
mod log;
mod marks;
mod mutes;
mod pending;
mod port;
mod proof;
mod read;
mod rooms;
mod search;
mod segment;
mod setup;
mod table;
mod write;

pub use setup::{Made, TableError};

/// A table that is used as the store.
pub struct Dynamo {
    table: Arc<Table>,
    tails: Mutex<Tails>,
    doubts: Doubts,
    /// How long entries are kept, in milliseconds; for ever if nobody says.
    keep: Option<u64>,
    arrivals: Arrivals,
    /// Held by who changes something about people that others may be changing.
    changing: Mutex<()>,
}

impl Dynamo {
    /// The table of this name. Entries of logs are kept so long, in milliseconds. Nothing is called yet.
    pub fn new(aws: Arc<Aws>, table: &str, keep: Option<u64>) -> Dynamo {
        Dynamo {
            table: Arc::new(Table::new(aws, table)),
            tails: Mutex::default(),
            doubts: Doubts::default(),
            keep,
            arrivals: Arrivals::default(),
            changing: Mutex::default(),
        }
    }
}
