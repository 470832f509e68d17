//! Reading many items at once.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Get, TransactGetItem};

use super::Table;
use super::call::{READ, conflicts};
use crate::store::StoreError;
use crate::store::dynamo::item::Row;
use crate::store::dynamo::key::Key;

/// How many items to ask for at a time. All of them may have 4 MiB.
const AT_ONCE: usize = 25;

impl Table {
    /// Those of these items that are there, no key twice. Asked for as a transaction, which needs
    /// no other permission than to read one item does.
    pub async fn each(&self, keys: &[Key]) -> Result<HashMap<Key, Row>, StoreError> {
        let mut rows = HashMap::new();
        for keys in keys.chunks(AT_ONCE) {
            let gets: Result<Vec<_>, _> = keys.iter().map(|key| self.part(key)).collect();
            let gets = gets.map_err(|error| {
                StoreError::Internal(format!("a request can't be made: {error}"))
            })?;
            let send = |client: Client| {
                let call = client.transact_get_items();
                call.set_transact_items(Some(gets.clone())).send()
            };
            let found = self.call("TransactGetItems", READ, send, conflicts).await;
            let found = found.map_err(|failure| failure.error.into_store())?;
            let items = found.responses.unwrap_or_default().into_iter();
            for (key, response) in keys.iter().zip(items) {
                if let Some(item) = response.item.filter(|item| !item.is_empty()) {
                    rows.insert(key.clone(), Row::new(item));
                }
            }
        }
        Ok(rows)
    }

    fn part(&self, key: &Key) -> Result<TransactGetItem, aws_sdk_dynamodb::error::BuildError> {
        let get = Get::builder().table_name(self.name());
        let get = get.set_key(Some(key.attributes())).build()?;
        Ok(TransactGetItem::builder().get(get).build())
    }
}
