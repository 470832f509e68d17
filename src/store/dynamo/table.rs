//! Reads and writes of items, each call with a time budget and retries.
//!
//! # Call protocol of writes
//!
//! [`Table::write`] has three results:
//!
//! - `Ok`: everything was written.
//! - [`WriteError::ConditionFailed`]: nothing was written. Read again, and decide again.
//! - [`WriteError::Failed`]: nothing was written, or, if `in_doubt` is set, it is unknown whether
//!   anything was, or will be.
//!
//! A write whose response is lost may have been done. It is retried; if its conditions then fail,
//! the cause may be the first attempt. So a caller may pass a [`WriteProof`]: an item that only this
//! write creates or changes. If that item has the write's id, the write was done.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{Get, ReturnValue, TransactGetItem, TransactWriteItem};
use tokio::sync::OnceCell;

use self::call::{CallError, READ, WRITE, conflicts, no_condition, one_condition, transaction};
use super::item::{Attributes, StoredItem, number, text};
use super::key::{ItemKey, PARTITION_KEY, SORT_KEY};
use super::write::ItemWrite;
use crate::aws::json::DYNAMODB;
use crate::aws::{Aws, AwsError, CallTracker};
use crate::chat::ids::Time;
use crate::store::StoreError;

mod call;

pub(super) use self::call::with_long_budget;

/// The most writes in one transaction, a limit of `DynamoDB`.
pub(super) const MAX_WRITES: usize = 100;
/// How many items [`Table::get_many`] reads per call, which may return 4 MiB.
const MAX_GETS: usize = 25;

/// The attribute with the id of the write that created an item.
pub(super) const WRITE_ID: &str = "w";

/// Proves that a write was done, if this item has this [`WRITE_ID`].
#[derive(Debug, Clone)]
pub(super) struct WriteProof {
    pub key: ItemKey,
    pub write_id: String,
}

/// A random id for a write.
pub(super) fn new_write_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Why a write failed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The conditions of the writes at these positions failed. Nothing was written.
    ConditionFailed(Vec<usize>),
    /// The call failed.
    Failed {
        error: StoreError,
        /// Whether it may have been done nevertheless, or may still be.
        in_doubt: bool,
    },
}

impl WriteError {
    /// For writes without conditions, or whose conditions only fail after a concurrent change.
    pub fn into_store(self) -> StoreError {
        match self {
            WriteError::ConditionFailed(_) => {
                StoreError::Unavailable("changed by another process at the same time".into())
            }
            WriteError::Failed { error, .. } => error,
        }
    }
}

/// A range of sort keys in one partition.
#[derive(Debug, Clone)]
pub(super) struct KeyRange {
    partition: String,
    /// The first and the last sort key.
    between: Option<(String, String)>,
    pub is_reversed: bool,
    page_size: Option<usize>,
}

impl KeyRange {
    /// A whole partition.
    pub fn all(partition: impl Into<String>) -> KeyRange {
        KeyRange {
            partition: partition.into(),
            between: None,
            is_reversed: false,
            page_size: None,
        }
    }

    /// Only from this sort key to that one, inclusive.
    pub fn between(mut self, first: String, last: String) -> KeyRange {
        self.between = Some((first, last));
        self
    }

    /// In descending order.
    pub fn reversed(mut self) -> KeyRange {
        self.is_reversed = true;
        self
    }

    /// At most this many items per page; fewer if they are large.
    pub fn page_size(mut self, items: usize) -> KeyRange {
        self.page_size = Some(items.max(1));
        self
    }

    fn query(&self, client: &Client, table: &str, from: Option<Attributes>) -> QueryFluentBuilder {
        let limit = self
            .page_size
            .map(|items| i32::try_from(items).unwrap_or(i32::MAX));
        let query = client
            .query()
            .table_name(table)
            .consistent_read(true)
            .scan_index_forward(!self.is_reversed)
            .set_limit(limit)
            .set_exclusive_start_key(from)
            .expression_attribute_names("#pk", PARTITION_KEY)
            .expression_attribute_values(":pk", text(&self.partition));
        let Some((first, last)) = &self.between else {
            return query.key_condition_expression("#pk = :pk");
        };
        query
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :first AND :last")
            .expression_attribute_names("#sk", SORT_KEY)
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
    }
}

/// A page of a query, and the key at which the next page begins.
pub(super) struct ItemPage {
    pub items: Vec<StoredItem>,
    pub next: Option<Attributes>,
}

/// A table and its client.
#[derive(Debug)]
pub(super) struct Table {
    aws: Arc<Aws>,
    name: String,
    client: OnceCell<Client>,
    calls: CallTracker,
}

impl Table {
    pub fn new(aws: Arc<Aws>, name: &str) -> Table {
        Table {
            aws,
            name: name.to_owned(),
            client: OnceCell::new(),
            calls: CallTracker::new(DYNAMODB.name),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn client(&self) -> Result<&Client, AwsError> {
        self.client
            .get_or_try_init(async || Ok(Client::new(self.aws.config().await?)))
            .await
    }

    /// Reads an item.
    pub async fn get(&self, key: &ItemKey) -> Result<Option<StoredItem>, StoreError> {
        let send = |client: Client| {
            let call = client
                .get_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .consistent_read(true);
            call.send()
        };
        let response = self.call("GetItem", READ, send, no_condition).await?;
        Ok(response.item.map(StoredItem::new))
    }

    /// Reads those of these items that exist; no key may be given twice. A transaction, because it
    /// needs no other permission than [`Table::get`].
    pub async fn get_many(
        &self,
        keys: &[ItemKey],
    ) -> Result<HashMap<ItemKey, StoredItem>, StoreError> {
        let get = |key: &ItemKey| {
            let get = Get::builder().table_name(&self.name);
            let get = get.set_key(Some(key.attributes())).build()?;
            Ok(TransactGetItem::builder().get(get).build())
        };
        let mut stored = HashMap::new();
        for keys in keys.chunks(MAX_GETS) {
            let gets: Result<Vec<_>, BuildError> = keys.iter().map(get).collect();
            let gets = gets.map_err(|error| invalid(&error))?;
            let send = |client: Client| {
                let call = client.transact_get_items();
                call.set_transact_items(Some(gets.clone())).send()
            };
            let response = self.call("TransactGetItems", READ, send, conflicts).await?;
            let items = response.responses.unwrap_or_default().into_iter();
            for (key, response) in keys.iter().zip(items) {
                if let Some(item) = response.item.filter(|item| !item.is_empty()) {
                    stored.insert(key.clone(), StoredItem::new(item));
                }
            }
        }
        Ok(stored)
    }

    /// Reads a page of a range.
    pub async fn query_page(
        &self,
        range: &KeyRange,
        from: Option<Attributes>,
    ) -> Result<ItemPage, StoreError> {
        let send = |client: Client| range.query(&client, &self.name, from.clone()).send();
        let response = self.call("Query", READ, send, no_condition).await?;
        let items = response.items.unwrap_or_default();
        Ok(ItemPage {
            items: items.into_iter().map(StoredItem::new).collect(),
            next: response.last_evaluated_key.filter(|key| !key.is_empty()),
        })
    }

    /// Reads a whole range. Only for ranges whose size is bounded elsewhere.
    pub async fn query_all(&self, range: &KeyRange) -> Result<Vec<StoredItem>, StoreError> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let page = self.query_page(range, from).await?;
            items.extend(page.items);
            from = page.next;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// Reads those items of a range that haven't expired.
    pub async fn query_unexpired(
        &self,
        range: &KeyRange,
        now: Time,
    ) -> Result<Vec<StoredItem>, StoreError> {
        let mut unexpired = Vec::new();
        for item in self.query_all(range).await? {
            if !item.is_expired(now)? {
                unexpired.push(item);
            }
        }
        Ok(unexpired)
    }

    /// Adds 1 to a number, from 0 on, and returns the result, which no other caller gets. If a
    /// response is lost, a number is skipped.
    pub async fn increment(&self, key: &ItemKey, name: &str) -> Result<u64, StoreError> {
        let send = |client: Client| {
            let call = client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .update_expression("ADD #number :one")
                .expression_attribute_names("#number", name)
                .expression_attribute_values(":one", number(1))
                .return_values(ReturnValue::AllNew);
            call.send()
        };
        let response = self.call("UpdateItem", WRITE, send, no_condition).await?;
        StoredItem::new(response.attributes.unwrap_or_default()).number(name)
    }

    /// Writes all or nothing: at most [`MAX_WRITES`], each of another item. See the module for the
    /// results.
    pub async fn write(
        &self,
        writes: Vec<ItemWrite>,
        proof: Option<&WriteProof>,
    ) -> Result<(), WriteError> {
        let with_id = |write: ItemWrite| match proof {
            Some(proof) if *write.key() == proof.key => write.with(WRITE_ID, text(&proof.write_id)),
            _ => write,
        };
        let elements: Result<Vec<_>, _> = writes
            .into_iter()
            .map(|write| with_id(write).into_transact_item(&self.name))
            .collect();
        let elements = elements.map_err(|error| WriteError::Failed {
            error: invalid(&error),
            in_doubt: false,
        })?;
        let Err(failed) = self.send(elements).await else {
            return Ok(());
        };
        match (failed.error, proof) {
            (WriteError::ConditionFailed(positions), Some(proof)) if failed.in_doubt => {
                match self.is_done(proof).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(WriteError::ConditionFailed(positions)),
                    Err(error) => Err(WriteError::Failed {
                        error,
                        in_doubt: true,
                    }),
                }
            }
            (error, _) => Err(error),
        }
    }

    /// Writes all or nothing, and returns `false` if a condition failed. Without a proof, that may
    /// be because the first attempt was done: only for writes that may be repeated.
    pub async fn write_if(&self, writes: Vec<ItemWrite>) -> Result<bool, StoreError> {
        match self.write(writes, None).await {
            Ok(()) => Ok(true),
            Err(WriteError::ConditionFailed(_)) => Ok(false),
            Err(WriteError::Failed { error, .. }) => Err(error),
        }
    }

    /// Writes in batches. A batch is skipped if one of its conditions fails.
    pub async fn write_batches(&self, writes: Vec<ItemWrite>) -> Result<(), StoreError> {
        for batch in writes.chunks(MAX_WRITES) {
            self.write_if(batch.to_vec()).await?;
        }
        Ok(())
    }

    /// Whether the write of this proof was done.
    async fn is_done(&self, proof: &WriteProof) -> Result<bool, StoreError> {
        match self.get(&proof.key).await? {
            Some(item) => Ok(item.text_opt(WRITE_ID)? == Some(proof.write_id.as_str())),
            None => Ok(false),
        }
    }

    /// Sends a transaction, or the cheaper call for a single put or update.
    async fn send(&self, mut elements: Vec<TransactWriteItem>) -> Result<(), CallError> {
        let single = if elements.len() == 1 {
            elements.pop()
        } else {
            None
        };
        match single {
            None if elements.is_empty() => Ok(()),
            Some(TransactWriteItem { put: Some(put), .. }) => {
                let send = |client: Client| {
                    let call = client
                        .put_item()
                        .table_name(&self.name)
                        .set_item(Some(put.item.clone()))
                        .set_condition_expression(put.condition_expression.clone())
                        .set_expression_attribute_names(put.expression_attribute_names.clone())
                        .set_expression_attribute_values(put.expression_attribute_values.clone());
                    call.send()
                };
                let put = self.call("PutItem", WRITE, send, one_condition).await;
                put.map(|_| ())
            }
            Some(TransactWriteItem {
                update: Some(update),
                ..
            }) => {
                let send = |client: Client| {
                    let call = client
                        .update_item()
                        .table_name(&self.name)
                        .set_key(Some(update.key.clone()))
                        .update_expression(&update.update_expression)
                        .set_condition_expression(update.condition_expression.clone())
                        .set_expression_attribute_names(update.expression_attribute_names.clone())
                        .set_expression_attribute_values(
                            update.expression_attribute_values.clone(),
                        );
                    call.send()
                };
                let updated = self.call("UpdateItem", WRITE, send, one_condition).await;
                updated.map(|_| ())
            }
            single => {
                elements.extend(single);
                // Makes retries of the transaction idempotent, for ten minutes.
                let token = new_write_id();
                let send = |client: Client| {
                    let call = client
                        .transact_write_items()
                        .set_transact_items(Some(elements.clone()))
                        .client_request_token(&token);
                    call.send()
                };
                let written = self.call("TransactWriteItems", WRITE, send, transaction);
                written.await.map(|_| ())
            }
        }
    }
}

fn invalid(error: &BuildError) -> StoreError {
    StoreError::Internal(format!("invalid request: {error}"))
}
