//! Conditional writes, each of one item, in the form that the API wants.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};

use super::item::{Attributes, NewItem, StoredItem};
use super::key::{ItemKey, PARTITION_KEY};

/// A condition on the stored item. If it fails, nothing is written.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// The item doesn't exist.
    Absent,
    /// The item exists.
    Present,
    /// The attribute has this value.
    Equals(&'static str, AttributeValue),
    /// The attribute is greater than this.
    GreaterThan(&'static str, AttributeValue),
    /// The attribute doesn't exist, or is at most this.
    MissingOrAtMost(&'static str, AttributeValue),
    /// The set contains this and at least one other element.
    ContainsWithOthers(&'static str, AttributeValue),
}

/// The operation on an item.
#[derive(Debug, Clone)]
enum Operation {
    /// Creates or replaces the item.
    Put(Attributes),
    /// Changes some attributes; creates the item if it doesn't exist.
    Update(Vec<(&'static str, UpdateAction)>),
    Delete,
    /// Only checks the conditions.
    Check,
}

/// An update of one attribute.
#[derive(Debug, Clone)]
enum UpdateAction {
    Set(AttributeValue),
    /// Sets the attribute unless it exists.
    SetIfMissing(AttributeValue),
    /// Adds to a number or a set.
    Add(AttributeValue),
    /// Deletes from a set.
    DeleteFrom(AttributeValue),
    Remove,
}

/// A conditional write of one item.
#[derive(Debug, Clone)]
pub(super) struct ItemWrite {
    key: ItemKey,
    operation: Operation,
    conditions: Vec<Condition>,
}

impl ItemWrite {
    /// Creates or replaces an item; `attributes` adds to the key.
    pub fn put(key: ItemKey, attributes: impl FnOnce(NewItem) -> NewItem) -> ItemWrite {
        let item = attributes(NewItem::new(&key));
        ItemWrite::new(key, Operation::Put(item.into_attributes()))
    }

    /// Creates an item, on the condition that it doesn't exist.
    pub fn create(key: ItemKey, attributes: impl FnOnce(NewItem) -> NewItem) -> ItemWrite {
        ItemWrite::put(key, attributes).when(Condition::Absent)
    }

    /// Updates attributes. Creates the item if it doesn't exist.
    pub fn update(key: ItemKey) -> ItemWrite {
        ItemWrite::new(key, Operation::Update(Vec::new()))
    }

    /// Deletes an item.
    pub fn delete(key: ItemKey) -> ItemWrite {
        ItemWrite::new(key, Operation::Delete)
    }

    /// Only checks conditions.
    pub fn check(key: ItemKey) -> ItemWrite {
        ItemWrite::new(key, Operation::Check)
    }

    fn new(key: ItemKey, operation: Operation) -> ItemWrite {
        ItemWrite {
            key,
            operation,
            conditions: Vec::new(),
        }
    }

    /// Adds a condition. All of them must hold.
    pub fn when(mut self, condition: Condition) -> ItemWrite {
        self.conditions.push(condition);
        self
    }

    /// Sets an attribute, in an update.
    pub fn set(self, name: &'static str, value: AttributeValue) -> ItemWrite {
        self.action(name, UpdateAction::Set(value))
    }

    /// Sets an attribute unless it exists, in an update.
    pub fn set_if_missing(self, name: &'static str, value: AttributeValue) -> ItemWrite {
        self.action(name, UpdateAction::SetIfMissing(value))
    }

    /// Adds to a number or a set, in an update.
    pub fn add(self, name: &'static str, value: AttributeValue) -> ItemWrite {
        self.action(name, UpdateAction::Add(value))
    }

    /// Deletes from a set, in an update.
    pub fn delete_from(self, name: &'static str, value: AttributeValue) -> ItemWrite {
        self.action(name, UpdateAction::DeleteFrom(value))
    }

    /// Removes an attribute, in an update.
    pub fn remove(self, name: &'static str) -> ItemWrite {
        self.action(name, UpdateAction::Remove)
    }

    fn action(mut self, name: &'static str, action: UpdateAction) -> ItemWrite {
        if let Operation::Update(actions) = &mut self.operation {
            actions.push((name, action));
        }
        self
    }

    pub fn key(&self) -> &ItemKey {
        &self.key
    }

    /// Adds an attribute to an item that is put.
    pub fn with(mut self, name: &str, value: AttributeValue) -> ItemWrite {
        if let Operation::Put(item) = &mut self.operation {
            item.insert(name.to_owned(), value);
        }
        self
    }

    /// Applies puts and deletes to a copy of the stored items.
    pub fn apply_to(&self, items: &mut HashMap<ItemKey, StoredItem>) {
        match &self.operation {
            Operation::Put(item) => {
                items.insert(self.key.clone(), StoredItem::new(item.clone()));
            }
            Operation::Delete => {
                items.remove(&self.key);
            }
            Operation::Update(_) | Operation::Check => {}
        }
    }

    /// The write as an element of a transaction. An update without changes becomes a check.
    pub fn into_transact_item(self, table: &str) -> Result<TransactWriteItem, BuildError> {
        let mut placeholders = Placeholders::default();
        let condition = placeholders.conditions(self.conditions);
        let key = Some(self.key.attributes());
        let element = TransactWriteItem::builder();
        // The builders have these methods in common, but no trait.
        macro_rules! conditional {
            ($builder:expr) => {
                $builder
                    .table_name(table)
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(placeholders.names())
                    .set_expression_attribute_values(placeholders.values())
                    .build()?
            };
        }
        Ok(match self.operation {
            Operation::Put(item) => element.put(conditional!(Put::builder().set_item(Some(item)))),
            Operation::Update(actions) if !actions.is_empty() => {
                let update = placeholders.update(actions);
                let update = Update::builder().set_key(key).update_expression(update);
                element.update(conditional!(update))
            }
            Operation::Delete => element.delete(conditional!(Delete::builder().set_key(key))),
            Operation::Check | Operation::Update(_) => {
                element.condition_check(conditional!(ConditionCheck::builder().set_key(key)))
            }
        }
        .build())
    }
}

/// The names and values behind the placeholders `#0` and `:0` in expressions. Attribute names are
/// never written out, since many common words are reserved.
#[derive(Debug, Default)]
struct Placeholders {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Placeholders {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn conditions(&mut self, conditions: Vec<Condition>) -> Option<String> {
        let all: Vec<String> = conditions.into_iter().map(|c| self.condition(c)).collect();
        (!all.is_empty()).then(|| all.join(" AND "))
    }

    fn condition(&mut self, condition: Condition) -> String {
        let mut compared = |name, sign: &str, value| {
            let (name, value) = (self.name(name), self.value(value));
            (format!("{name} {sign} {value}"), name)
        };
        match condition {
            Condition::Absent => format!("attribute_not_exists({})", self.name(PARTITION_KEY)),
            Condition::Present => format!("attribute_exists({})", self.name(PARTITION_KEY)),
            Condition::Equals(name, value) => compared(name, "=", value).0,
            Condition::GreaterThan(name, value) => compared(name, ">", value).0,
            Condition::MissingOrAtMost(name, value) => {
                let (at_most, name) = compared(name, "<=", value);
                format!("(attribute_not_exists({name}) OR {at_most})")
            }
            Condition::ContainsWithOthers(name, value) => {
                let (name, value) = (self.name(name), self.value(value));
                let one = self.value(AttributeValue::N("1".to_owned()));
                format!("(contains({name}, {value}) AND size({name}) > {one})")
            }
        }
    }

    fn update(&mut self, actions: Vec<(&'static str, UpdateAction)>) -> String {
        let mut clauses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, action) in actions {
            let name = self.name(name);
            let (clause, term) = match action {
                UpdateAction::Set(value) => ("SET", format!("{name} = {}", self.value(value))),
                UpdateAction::SetIfMissing(value) => {
                    let value = self.value(value);
                    ("SET", format!("{name} = if_not_exists({name}, {value})"))
                }
                UpdateAction::Add(value) => ("ADD", format!("{name} {}", self.value(value))),
                UpdateAction::DeleteFrom(value) => {
                    ("DELETE", format!("{name} {}", self.value(value)))
                }
                UpdateAction::Remove => ("REMOVE", name),
            };
            clauses.entry(clause).or_default().push(term);
        }
        let clauses = clauses.into_iter();
        let clauses = clauses.map(|(clause, all)| format!("{clause} {}", all.join(", ")));
        clauses.collect::<Vec<_>>().join(" ")
    }

    fn names(&mut self) -> Option<HashMap<String, String>> {
        let names = std::mem::take(&mut self.names);
        (!names.is_empty()).then_some(names)
    }

    fn values(&mut self) -> Option<HashMap<String, AttributeValue>> {
        let values = std::mem::take(&mut self.values);
        (!values.is_empty()).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::{number, text};
    use super::*;

    #[test]
    fn expressions_contain_placeholders_only() {
        let mut placeholders = Placeholders::default();
        let condition = placeholders.conditions(vec![
            Condition::Present,
            Condition::Equals("role", text("operator")),
            Condition::MissingOrAtMost("seq", number(7)),
        ]);
        assert_eq!(
            condition.as_deref(),
            Some("attribute_exists(#0) AND #1 = :0 AND (attribute_not_exists(#2) OR #2 <= :1)")
        );
        let update = placeholders.update(vec![
            ("uses", UpdateAction::Add(number(-1))),
            ("name", UpdateAction::Set(text("alice"))),
            ("role", UpdateAction::Set(text("member"))),
            ("proof_by", UpdateAction::Remove),
        ]);
        assert_eq!(update, "ADD #3 :2 REMOVE #6 SET #4 = :3, #5 = :4");
        assert_eq!(
            placeholders.names.get("#5").map(String::as_str),
            Some("role")
        );
    }

    #[test]
    fn no_conditions_give_no_expression() {
        assert_eq!(Placeholders::default().conditions(Vec::new()), None);
    }
}
