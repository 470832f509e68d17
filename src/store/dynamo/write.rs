//! What is written: one change of one item each, under conditions, as the API wants it.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};

use super::item::{Attributes, Item, Row};
use super::key::{Key, PARTITION};

/// What must hold of the item as it is, or nothing is written.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// There is no such item.
    Absent,
    /// There is such an item.
    Present,
    /// The attribute has this value.
    Is(&'static str, AttributeValue),
    /// The attribute is more than this.
    More(&'static str, AttributeValue),
    /// There is no such attribute, or it is this or less.
    NoneOrAtMost(&'static str, AttributeValue),
    /// The set has this in it, and something else as well.
    OneOfSeveral(&'static str, AttributeValue),
}

/// What becomes of an item.
#[derive(Debug, Clone)]
enum Change {
    /// It is this, whatever it was.
    Put(Attributes),
    /// Some of its attributes change; it is made if there is none.
    Update(Vec<(&'static str, Action)>),
    /// It is gone.
    Delete,
    /// Nothing: only the conditions must hold.
    Check,
}

/// What becomes of an attribute.
#[derive(Debug, Clone)]
enum Action {
    Set(AttributeValue),
    /// Unless it is there.
    Default(AttributeValue),
    /// To a number or a set.
    Add(AttributeValue),
    /// From a set.
    Take(AttributeValue),
    /// All of it is gone.
    Remove,
}

/// One change of one item, under conditions.
#[derive(Debug, Clone)]
pub(super) struct Write {
    key: Key,
    change: Change,
    conditions: Vec<Condition>,
}

impl Write {
    /// Puts an item there in place of any other, with more attributes than its key.
    pub fn put(key: Key, more: impl FnOnce(Item) -> Item) -> Write {
        let item = more(Item::at(&key));
        Write::new(key, Change::Put(item.into_attributes()))
    }

    /// Puts an item where there is none.
    pub fn create(key: Key, more: impl FnOnce(Item) -> Item) -> Write {
        Write::put(key, more).when(Condition::Absent)
    }

    /// Changes some attributes.
    pub fn update(key: Key) -> Write {
        Write::new(key, Change::Update(Vec::new()))
    }

    /// Deletes an item.
    pub fn delete(key: Key) -> Write {
        Write::new(key, Change::Delete)
    }

    /// Changes nothing.
    pub fn check(key: Key) -> Write {
        Write::new(key, Change::Check)
    }

    fn new(key: Key, change: Change) -> Write {
        Write {
            key,
            change,
            conditions: Vec::new(),
        }
    }

    /// The same under one more condition.
    pub fn when(mut self, condition: Condition) -> Write {
        self.conditions.push(condition);
        self
    }

    /// An update that also sets an attribute.
    pub fn set(self, name: &'static str, value: AttributeValue) -> Write {
        self.action(name, Action::Set(value))
    }

    /// An update that also sets an attribute, unless it is there.
    pub fn default(self, name: &'static str, value: AttributeValue) -> Write {
        self.action(name, Action::Default(value))
    }

    /// An update that also adds to a number or a set.
    pub fn add(self, name: &'static str, value: AttributeValue) -> Write {
        self.action(name, Action::Add(value))
    }

    /// An update that also takes something from a set.
    pub fn take(self, name: &'static str, value: AttributeValue) -> Write {
        self.action(name, Action::Take(value))
    }

    /// An update that also removes an attribute.
    pub fn remove(self, name: &'static str) -> Write {
        self.action(name, Action::Remove)
    }

    fn action(mut self, name: &'static str, action: Action) -> Write {
        if let Change::Update(actions) = &mut self.change {
            actions.push((name, action));
        }
        self
    }

    /// Where.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// An item that is put, with one more attribute.
    pub fn mark(mut self, name: &str, value: AttributeValue) -> Write {
        if let Change::Put(item) = &mut self.change {
            item.insert(name.to_owned(), value);
        }
        self
    }

    /// Does to items that were read what it does to those in the table, as far as it puts or
    /// deletes whole ones.
    pub fn preview(&self, rows: &mut HashMap<Key, Row>) {
        match &self.change {
            Change::Put(item) => {
                rows.insert(self.key.clone(), Row::new(item.clone()));
            }
            Change::Delete => {
                rows.remove(&self.key);
            }
            Change::Update(_) | Change::Check => {}
        }
    }

    /// As a part of a transaction. An update that changes nothing is a check.
    pub fn into_part(self, table: &str) -> Result<TransactWriteItem, BuildError> {
        let mut words = Words::default();
        let condition = words.conditions(self.conditions);
        let key = self.key.attributes();
        let part = TransactWriteItem::builder();
        Ok(match self.change {
            Change::Put(item) => part.put(
                Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
            Change::Update(actions) if !actions.is_empty() => part.update(
                Update::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .update_expression(words.update(actions))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
            Change::Delete => part.delete(
                Delete::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
            Change::Check | Change::Update(_) => part.condition_check(
                ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(key))
                    .set_condition_expression(condition)
                    .set_expression_attribute_names(words.names())
                    .set_expression_attribute_values(words.values())
                    .build()?,
            ),
        }
        .build())
    }
}

/// The names and values that stand behind `#0` and `:0` in expressions. No name is ever written
/// out: half of the usual words are reserved.
#[derive(Debug, Default)]
struct Words {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Words {
    fn name(&mut self, name: &str) -> String {
        let word = format!("#{}", self.names.len());
        self.names.insert(word.clone(), name.to_owned());
        word
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let word = format!(":{}", self.values.len());
        self.values.insert(word.clone(), value);
        word
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
            Condition::Absent => format!("attribute_not_exists({})", self.name(PARTITION)),
            Condition::Present => format!("attribute_exists({})", self.name(PARTITION)),
            Condition::Is(name, value) => compared(name, "=", value).0,
            Condition::More(name, value) => compared(name, ">", value).0,
            Condition::NoneOrAtMost(name, value) => {
                let (less, name) = compared(name, "<=", value);
                format!("(attribute_not_exists({name}) OR {less})")
            }
            Condition::OneOfSeveral(name, value) => {
                let (name, value) = (self.name(name), self.value(value));
                let one = self.value(AttributeValue::N("1".to_owned()));
                format!("(contains({name}, {value}) AND size({name}) > {one})")
            }
        }
    }

    fn update(&mut self, actions: Vec<(&'static str, Action)>) -> String {
        let mut clauses: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, action) in actions {
            let name = self.name(name);
            let (clause, words) = match action {
                Action::Set(value) => ("SET", format!("{name} = {}", self.value(value))),
                Action::Default(value) => {
                    let value = self.value(value);
                    ("SET", format!("{name} = if_not_exists({name}, {value})"))
                }
                Action::Add(value) => ("ADD", format!("{name} {}", self.value(value))),
                Action::Take(value) => ("DELETE", format!("{name} {}", self.value(value))),
                Action::Remove => ("REMOVE", name),
            };
            clauses.entry(clause).or_default().push(words);
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
    fn expressions_name_nothing() {
        let mut words = Words::default();
        let condition = words.conditions(vec![
            Condition::Present,
            Condition::Is("role", text("operator")),
            Condition::NoneOrAtMost("seq", number(7)),
        ]);
        assert_eq!(
            condition.as_deref(),
            Some("attribute_exists(#0) AND #1 = :0 AND (attribute_not_exists(#2) OR #2 <= :1)")
        );
        let update = words.update(vec![
            ("uses", Action::Add(number(-1))),
            ("name", Action::Set(text("alice"))),
            ("role", Action::Set(text("member"))),
            ("proof_by", Action::Remove),
        ]);
        assert_eq!(update, "ADD #3 :2 REMOVE #6 SET #4 = :3, #5 = :4");
        assert_eq!(words.names.get("#5").map(String::as_str), Some("role"));
    }

    #[test]
    fn without_conditions_there_is_no_expression() {
        assert_eq!(Words::default().conditions(Vec::new()), None);
    }
}
