//! Items: made to be written, and read with errors that say which item is bad.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::key::{Key, PARTITION, SORT};
use crate::chat::access::{Issuer, Role};
use crate::chat::ids::{AccountId, Conversation, Name, Time};
use crate::store::StoreError;
use crate::text::Text;

/// The attributes of an item, or of a part of one.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The attribute that tells `DynamoDB` when it may delete an item, in seconds. It takes its time:
/// whoever reads compares the time as well.
pub(super) const EXPIRES: &str = "expires_at";

/// Something to be written.
#[derive(Debug, Clone)]
pub(super) struct Item(Attributes);

impl Item {
    /// An item with nothing but its key.
    pub fn at(key: &Key) -> Item {
        Item(key.attributes())
    }

    /// A part of an item.
    pub fn part() -> Item {
        Item(HashMap::new())
    }

    /// With any value.
    pub fn with(mut self, name: &str, value: AttributeValue) -> Item {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// With a text.
    pub fn text(self, name: &str, value: &str) -> Item {
        self.with(name, text(value))
    }

    /// With a text, if there is one.
    pub fn maybe_text(self, name: &str, value: Option<&str>) -> Item {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// With a number.
    pub fn number(self, name: &str, value: impl Display) -> Item {
        self.with(name, number(value))
    }

    /// With a number, if there is one.
    pub fn maybe_number(self, name: &str, value: Option<impl Display>) -> Item {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// With its end, if it has one. `DynamoDB` deletes it some time after.
    pub fn until(self, until: Option<Time>) -> Item {
        match until {
            Some(until) => self
                .number("until", until.0)
                .number(EXPIRES, until.0.div_euclid(1000).saturating_add(1)),
            None => self,
        }
    }

    /// As the API takes it.
    pub fn into_attributes(self) -> Attributes {
        self.0
    }
}

/// A text as the API takes it.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number as the API takes it.
pub(super) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A set with one text in it, as the API takes it.
pub(super) fn set(value: impl Display) -> AttributeValue {
    AttributeValue::Ss(vec![value.to_string()])
}

/// Something that was read, or a part of it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// What to call it in an error.
    what: String,
    attributes: Attributes,
}

impl Row {
    /// An item as the API gives it.
    pub fn new(attributes: Attributes) -> Row {
        let part = |name| match attributes.get(name) {
            Some(AttributeValue::S(value)) => value.clone(),
            _ => "?".to_owned(),
        };
        Row {
            what: format!("{}/{}", part(PARTITION), part(SORT)),
            attributes,
        }
    }

    /// A part of this item, found in a list in it.
    pub fn part(&self, attributes: &Attributes) -> Row {
        Row {
            what: self.what.clone(),
            attributes: attributes.clone(),
        }
    }

    /// The error that says that this item has `what`.
    pub fn bad(&self, what: impl Display) -> StoreError {
        StoreError::Corrupt(format!("{} has {what}", self.what))
    }

    /// The second half of its key.
    pub fn sort(&self) -> Result<&str, StoreError> {
        self.text(SORT)
    }

    /// The conversation whose key is the second half of its own.
    pub fn conversation(&self) -> Result<Conversation, StoreError> {
        let key = self.sort()?;
        let conversation = key.parse();
        conversation.map_err(|_| self.bad(format_args!("the bad key {key:?}")))
    }

    /// A text that may not be there.
    pub fn maybe_text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        match self.attributes.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::S(value)) => Ok(Some(value)),
            Some(_) => Err(self.bad(format_args!("no text in {name}"))),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<&str, StoreError> {
        self.maybe_text(name)?
            .ok_or_else(|| self.bad(format_args!("no {name}")))
    }

    /// A number that may not be there.
    pub fn maybe_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        match self.attributes.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::N(value)) => value
                .parse()
                .map(Some)
                .map_err(|_| self.bad(format_args!("the bad number {value} in {name}"))),
            Some(_) => Err(self.bad(format_args!("no number in {name}"))),
        }
    }

    /// A number.
    pub fn number<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.maybe_number(name)?
            .ok_or_else(|| self.bad(format_args!("no {name}")))
    }

    /// The parts in a list. None if there is no list.
    pub fn list(&self, name: &str) -> Result<Vec<Row>, StoreError> {
        match self.attributes.get(name) {
            None => Ok(Vec::new()),
            Some(AttributeValue::L(values)) => values
                .iter()
                .map(|value| match value {
                    AttributeValue::M(part) => Ok(self.part(part)),
                    _ => Err(self.bad(format_args!("something else in the list {name}"))),
                })
                .collect(),
            Some(_) => Err(self.bad(format_args!("no list in {name}"))),
        }
    }

    /// A moment.
    pub fn time(&self, name: &str) -> Result<Time, StoreError> {
        self.number(name).map(Time)
    }

    /// When it ends, if it does.
    pub fn until(&self) -> Result<Option<Time>, StoreError> {
        Ok(self.maybe_number("until")?.map(Time))
    }

    /// Whether it is over at this moment.
    pub fn is_over(&self, now: Time) -> Result<bool, StoreError> {
        Ok(self.until()?.is_some_and(|until| until <= now))
    }

    /// Why, sanitised again.
    pub fn reason(&self) -> Result<Option<Text>, StoreError> {
        Ok(self.maybe_text("reason")?.map(Text::stored))
    }

    /// Words of one line that are only ever shown, sanitised again.
    pub fn line(&self, name: &str) -> Result<Text, StoreError> {
        Ok(Text::stored_line(self.text(name)?))
    }

    /// Who issued it.
    pub fn issuer(&self, name: &str) -> Result<Issuer, StoreError> {
        Ok(Issuer::stored(self.text(name)?))
    }

    /// Somebody's name.
    pub fn name(&self, name: &str) -> Result<Name, StoreError> {
        let raw = self.text(name)?;
        Name::stored(raw).map_err(|error| self.bad(format_args!("the bad name {raw:?}: {error}")))
    }

    /// The names in a list.
    pub fn names(&self, name: &str) -> Result<Vec<Name>, StoreError> {
        let bad = || self.bad(format_args!("no names in {name}"));
        let Some(AttributeValue::L(values)) = self.attributes.get(name) else {
            return Err(bad());
        };
        let name = |value: &AttributeValue| Name::stored(value.as_s().ok()?).ok();
        values
            .iter()
            .map(|value| name(value).ok_or_else(bad))
            .collect()
    }

    /// The role of an account.
    pub fn role(&self) -> Result<Role, StoreError> {
        self.text("role")?
            .parse()
            .map_err(|error| self.bad(format_args!("a bad role: {error}")))
    }

    /// The id of an account.
    pub fn account(&self, name: &str) -> Result<AccountId, StoreError> {
        self.text(name)?
            .parse()
            .map_err(|_| self.bad(format_args!("no account in {name}")))
    }
}
