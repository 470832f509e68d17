//! The archive: everything out of the table, and into one.
//!
//! An export reads as anybody reads, part by part, while others go on writing; each part is as it
//! was when it was read.
//!
//! An import is for a table to which nobody else writes at the same time. If somebody does, it
//! damages nothing: whatever it decided by is a condition of its writes, and when one is refused,
//! it looks at the whole batch again. But a conflict that comes up only then ends it when a part
//! of the batch is there already.

use async_trait::async_trait;

use self::read::Export;
use super::Dynamo;
use super::table::patiently;
use crate::store::StoreError;
use crate::store::archive::{Archive, ArchiveRecord, ExportReader, ImportError};

mod ledger;
mod log;
mod merge;
mod read;
mod take;
mod there;

#[async_trait]
impl Archive for Dynamo {
    async fn export(&self) -> Result<Box<dyn ExportReader + '_>, StoreError> {
        Ok(Box::new(Export::new(self)))
    }

    async fn import(&self, records: Vec<ArchiveRecord>) -> Result<usize, ImportError> {
        patiently(self.take_in(&records)).await
    }
}
