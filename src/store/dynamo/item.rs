//! Items of the table: a builder for new ones, and typed access to stored ones with errors that
//! name the corrupt item.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::key::{ItemKey, PARTITION_KEY, SORT_KEY};
use crate::chat::access::{Issuer, KeyRecord, Role};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, Time};
use crate::store::StoreError;
use crate::text::Text;

/// The attributes of an item, or of a map inside one.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The attribute after which `DynamoDB` may delete an item, in seconds since 1970. It may take days,
/// so readers compare the time, too.
pub(super) const EXPIRES: &str = "expires_at";

/// An item to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct NewItem(Attributes);

impl NewItem {
    /// An item with only its key.
    pub fn new(key: &ItemKey) -> NewItem {
        NewItem(key.attributes())
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &str, value: AttributeValue) -> NewItem {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Adds a string.
    pub fn text(self, name: &str, value: &str) -> NewItem {
        self.with(name, text(value))
    }

    /// Adds a string, if there is one.
    pub fn text_opt(self, name: &str, value: Option<&str>) -> NewItem {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a number.
    pub fn number(self, name: &str, value: impl Display) -> NewItem {
        self.with(name, number(value))
    }

    /// Adds a number, if there is one.
    pub fn number_opt(self, name: &str, value: Option<impl Display>) -> NewItem {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// Adds an expiry, if there is one. `DynamoDB` deletes the item some time after it.
    pub fn until(self, until: Option<Time>) -> NewItem {
        match until {
            Some(until) => self
                .number("until", until.0)
                .number(EXPIRES, until.0.div_euclid(1000).saturating_add(1)),
            None => self,
        }
    }

    /// Adds the attributes of a key.
    pub fn key_record(self, key: &KeyRecord) -> NewItem {
        self.text("fingerprint", key.fingerprint.as_str())
            .text("algorithm", key.algorithm.as_str())
            .text("comment", key.comment.as_str())
            .number("added", key.added.0)
    }

    /// The attributes, with those of the key.
    pub fn into_attributes(self) -> Attributes {
        self.0
    }
}

/// A string attribute.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub(super) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A set attribute with one string.
pub(super) fn set(value: impl Display) -> AttributeValue {
    AttributeValue::Ss(vec![value.to_string()])
}

/// An item that was read, or a map inside one.
#[derive(Debug, Clone)]
pub(super) struct StoredItem {
    /// The item's name in errors: its key.
    label: String,
    attributes: Attributes,
}

impl StoredItem {
    /// An item as the API returns it.
    pub fn new(attributes: Attributes) -> StoredItem {
        let part = |name| match attributes.get(name) {
            Some(AttributeValue::S(value)) => value.clone(),
            _ => "?".to_owned(),
        };
        StoredItem {
            label: format!("{}/{}", part(PARTITION_KEY), part(SORT_KEY)),
            attributes,
        }
    }

    /// The error for this item: it has `problem`.
    pub fn corrupt(&self, problem: impl Display) -> StoreError {
        StoreError::Corrupt(format!("{} has {problem}", self.label))
    }

    /// The sort key.
    pub fn sort(&self) -> Result<&str, StoreError> {
        self.text(SORT_KEY)
    }

    /// The conversation in the sort key.
    pub fn conversation(&self) -> Result<Conversation, StoreError> {
        let key = self.sort()?;
        let conversation = key.parse();
        conversation.map_err(|_| self.corrupt(format_args!("an invalid sort key {key:?}")))
    }

    /// A string that may be missing.
    pub fn text_opt(&self, name: &str) -> Result<Option<&str>, StoreError> {
        match self.attributes.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::S(value)) => Ok(Some(value)),
            Some(_) => Err(self.corrupt(format_args!("no string in {name}"))),
        }
    }

    /// A string.
    pub fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.text_opt(name)?
            .ok_or_else(|| self.corrupt(format_args!("no {name}")))
    }

    /// A number that may be missing.
    pub fn number_opt<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        match self.attributes.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::N(value)) => value
                .parse()
                .map(Some)
                .map_err(|_| self.corrupt(format_args!("an invalid number {value} in {name}"))),
            Some(_) => Err(self.corrupt(format_args!("no number in {name}"))),
        }
    }

    /// A number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.number_opt(name)?
            .ok_or_else(|| self.corrupt(format_args!("no {name}")))
    }

    /// A list of keys; empty if it is missing.
    pub fn key_records(&self, name: &str) -> Result<Vec<KeyRecord>, StoreError> {
        let values = match self.attributes.get(name) {
            None => return Ok(Vec::new()),
            Some(AttributeValue::L(values)) => values,
            Some(_) => return Err(self.corrupt(format_args!("no list in {name}"))),
        };
        let key = |value: &AttributeValue| match value {
            AttributeValue::M(attributes) => StoredItem {
                label: self.label.clone(),
                attributes: attributes.clone(),
            }
            .key_record(),
            _ => Err(self.corrupt(format_args!("an invalid key in {name}"))),
        };
        values.iter().map(key).collect()
    }

    /// A key, as [`NewItem::key_record`] wrote it.
    pub fn key_record(&self) -> Result<KeyRecord, StoreError> {
        Ok(KeyRecord {
            fingerprint: Fingerprint::stored(self.text("fingerprint")?),
            algorithm: self.line("algorithm")?,
            comment: Text::stored(self.text("comment")?),
            added: self.time("added")?,
        })
    }

    /// A time.
    pub fn time(&self, name: &str) -> Result<Time, StoreError> {
        self.number(name).map(Time)
    }

    /// The expiry, if there is one.
    pub fn until(&self) -> Result<Option<Time>, StoreError> {
        Ok(self.number_opt("until")?.map(Time))
    }

    /// Whether the item has expired.
    pub fn is_expired(&self, now: Time) -> Result<bool, StoreError> {
        Ok(self.until()?.is_some_and(|until| until <= now))
    }

    /// The reason, sanitised again.
    pub fn reason(&self) -> Result<Option<Text>, StoreError> {
        Ok(self.text_opt("reason")?.map(Text::stored))
    }

    /// One line of text for display, sanitised again.
    pub fn line(&self, name: &str) -> Result<Text, StoreError> {
        Ok(Text::stored_line(self.text(name)?))
    }

    /// An issuer.
    pub fn issuer(&self, name: &str) -> Result<Issuer, StoreError> {
        Ok(Issuer::stored(self.text(name)?))
    }

    /// A name.
    pub fn name(&self, name: &str) -> Result<Name, StoreError> {
        let raw = self.text(name)?;
        Name::stored(raw)
            .map_err(|error| self.corrupt(format_args!("an invalid name {raw:?}: {error}")))
    }

    /// A list of names.
    pub fn names(&self, name: &str) -> Result<Vec<Name>, StoreError> {
        let corrupt = || self.corrupt(format_args!("no names in {name}"));
        let Some(AttributeValue::L(values)) = self.attributes.get(name) else {
            return Err(corrupt());
        };
        let name = |value: &AttributeValue| Name::stored(value.as_s().ok()?).ok();
        values
            .iter()
            .map(|value| name(value).ok_or_else(corrupt))
            .collect()
    }

    /// The role.
    pub fn role(&self) -> Result<Role, StoreError> {
        self.text("role")?
            .parse()
            .map_err(|error| self.corrupt(format_args!("an invalid role: {error}")))
    }

    /// An account's id.
    pub fn account(&self, name: &str) -> Result<AccountId, StoreError> {
        self.text(name)?
            .parse()
            .map_err(|_| self.corrupt(format_args!("no account id in {name}")))
    }
}
