//! Numbers that are given out once.

use aws_sdk_dynamodb::types::ReturnValue;

use super::Table;
use super::call::{WRITE, no_condition};
use crate::store::StoreError;
use crate::store::dynamo::item::{Row, number};
use crate::store::dynamo::key::Key;

impl Table {
    /// Adds 1 to a number, from 0 on, and returns what it is now: nobody else gets the same. An
    /// answer that was lost leaves a number that nobody gets.
    pub async fn count_up(&self, key: &Key, name: &str) -> Result<u64, StoreError> {
        let send = |client: aws_sdk_dynamodb::Client| {
            let call = client
                .update_item()
                .table_name(self.name())
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
}
