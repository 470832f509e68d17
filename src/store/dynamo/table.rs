//! The table: reading and writing items, each call with a budget of time and attempts.
//!
//! # What a failed write means
//!
//! A write whose answer is lost may have been done. It is tried again; if then its conditions do
//! not hold, that can be its own doing, so the caller's [`Proof`] is looked for: something that
//! only this very write puts there. What is still unknown when the budget is used up is told as
//! [`WriteError::Failed`] with `doubt`.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{ReturnValue, TransactWriteItem};
use tokio::sync::OnceCell;

use self::call::{Failure, READ, WRITE, conditions, no_condition, one_condition};
use super::item::{Attributes, Row, number, text};
use super::key::{Key, PARTITION, SORT};
use super::write::Write;
use crate::aws::{Aws, AwsError, CallTracker};
use crate::store::StoreError;

mod call;
mod many;

pub(super) use self::call::patiently;

/// The most writes that one transaction takes.
pub(super) const MOST_WRITES: usize = 100;

/// The attribute that tells which write an item is of.
pub(super) const WRITTEN_BY: &str = "w";

/// What shows that a write was done: this item says that it is of this write.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub key: Key,
    pub write: String,
}

/// Why nothing was written, or may not have been.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The conditions of these writes, by their places in the list, do not hold. Nothing was
    /// written.
    Refused(Vec<usize>),
    /// It failed.
    Failed {
        error: StoreError,
        /// Whether it may have been done all the same, or may still be.
        doubt: bool,
    },
}

impl WriteError {
    /// For who has no conditions, or none that can fail but by a fault.
    pub fn into_store(self) -> StoreError {
        match self {
            WriteError::Refused(_) => StoreError::Unavailable("it has changed meanwhile".into()),
            WriteError::Failed { error, .. } => error,
        }
    }
}

/// Which items of a partition.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub pk: String,
    /// The first and the last sort key.
    pub between: Option<(String, String)>,
    /// From the last to the first.
    pub backwards: bool,
    /// How many items to look for at a time; fewer come if they are large.
    pub page: Option<usize>,
}

impl Range {
    /// All of a partition.
    pub fn all(pk: impl Into<String>) -> Range {
        Range {
            pk: pk.into(),
            between: None,
            backwards: false,
            page: None,
        }
    }

    /// Only from this sort key to that one, both included.
    pub fn between(mut self, first: String, last: String) -> Range {
        self.between = Some((first, last));
        self
    }

    /// The last one first.
    pub fn backwards(mut self) -> Range {
        self.backwards = true;
        self
    }

    /// So many at a time.
    pub fn page(mut self, items: usize) -> Range {
        self.page = Some(items.max(1));
        self
    }

    fn query(&self, client: &Client, table: &str, from: Option<Attributes>) -> QueryFluentBuilder {
        let query = client
            .query()
            .table_name(table)
            .consistent_read(true)
            .scan_index_forward(!self.backwards)
            .set_limit(
                self.page
                    .map(|page| i32::try_from(page).unwrap_or(i32::MAX)),
            )
            .set_exclusive_start_key(from)
            .expression_attribute_names("#pk", PARTITION)
            .expression_attribute_values(":pk", text(&self.pk));
        let Some((first, last)) = &self.between else {
            return query.key_condition_expression("#pk = :pk");
        };
        query
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :first AND :last")
            .expression_attribute_names("#sk", SORT)
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
    }
}

/// A part of what a range has, and where the next begins.
pub(super) struct Page {
    pub rows: Vec<Row>,
    pub next: Option<Attributes>,
}

/// A table, and the way there.
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
            calls: CallTracker::new("dynamodb"),
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

    /// The item there, as it is now.
    pub async fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        let send = |client: Client| {
            let call = client
                .get_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .consistent_read(true);
            call.send()
        };
        let found = self.call("GetItem", READ, send, no_condition).await;
        let found = found.map_err(|failure| failure.error.into_store())?;
        Ok(found.item.map(Row::new))
    }

    /// A part of a range, as it is now.
    pub async fn page(&self, range: &Range, from: Option<Attributes>) -> Result<Page, StoreError> {
        let send = |client: Client| range.query(&client, &self.name, from.clone()).send();
        let found = self.call("Query", READ, send, no_condition).await;
        let found = found.map_err(|failure| failure.error.into_store())?;
        let rows = found.items.unwrap_or_default();
        Ok(Page {
            rows: rows.into_iter().map(Row::new).collect(),
            next: found.last_evaluated_key.filter(|key| !key.is_empty()),
        })
    }

    /// All that a range has. Only for what is bounded elsewhere.
    pub async fn all(&self, range: &Range) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.page(range, from).await?;
            rows.extend(page.rows);
            from = page.next;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Adds 1 to a number, from 0 on, and returns what it is now: nobody else gets the same. An
    /// answer that was lost leaves a number that nobody gets.
    pub async fn count_up(&self, key: &Key, name: &str) -> Result<u64, StoreError> {
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
        let counted = self.call("UpdateItem", WRITE, send, no_condition).await;
        let counted = counted.map_err(|failure| failure.error.into_store())?;
        Row::new(counted.attributes.unwrap_or_default()).number(name)
    }

    /// Writes all or nothing: at most [`MOST_WRITES`], each of another item.
    pub async fn write(&self, writes: Vec<Write>, proof: Option<&Proof>) -> Result<(), WriteError> {
        let mark = |write: Write| match proof {
            Some(proof) if *write.key() == proof.key => write.mark(WRITTEN_BY, text(&proof.write)),
            _ => write,
        };
        let parts: Result<Vec<_>, _> = writes
            .into_iter()
            .map(|write| mark(write).into_part(&self.name))
            .collect();
        let parts = parts.map_err(|error| WriteError::Failed {
            error: StoreError::Internal(format!("a request can't be made: {error}")),
            doubt: false,
        })?;
        let Err(failure) = self.send(parts).await else {
            return Ok(());
        };
        match (failure.error, proof) {
            (WriteError::Refused(places), Some(proof)) if failure.doubt => {
                match self.is_proven(proof).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(WriteError::Refused(places)),
                    Err(error) => Err(WriteError::Failed { error, doubt: true }),
                }
            }
            (error, _) => Err(error),
        }
    }

    /// Whether the write of this proof was done.
    pub async fn is_proven(&self, proof: &Proof) -> Result<bool, StoreError> {
        match self.get(&proof.key).await? {
            Some(row) => Ok(row.maybe_text(WRITTEN_BY)? == Some(proof.write.as_str())),
            None => Ok(false),
        }
    }

    async fn send(&self, mut parts: Vec<TransactWriteItem>) -> Result<(), Failure> {
        let alone = if parts.len() == 1 { parts.pop() } else { None };
        match alone {
            None if parts.is_empty() => Ok(()),
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
                self.call("PutItem", WRITE, send, one_condition)
                    .await
                    .map(|_| ())
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
                self.call("UpdateItem", WRITE, send, one_condition)
                    .await
                    .map(|_| ())
            }
            alone => {
                parts.extend(alone);
                // Takes the second attempt of the same transaction for what it is, for ten minutes.
                let token = format!("{:032x}", rand::random::<u128>());
                let send = |client: Client| {
                    let call = client
                        .transact_write_items()
                        .set_transact_items(Some(parts.clone()))
                        .client_request_token(&token);
                    call.send()
                };
                self.call("TransactWriteItems", WRITE, send, conditions)
                    .await
                    .map(|_| ())
            }
        }
    }
}
