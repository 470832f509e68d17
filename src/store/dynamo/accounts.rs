//! Accounts. Each is one item with all that belongs to it, its names and keys too.
//!
//! Whatever is decided by what was read of an account is written under the condition that its
//! `version` is still the same. Writes set single attributes and never the whole account, so that
//! settings, which depend on nothing, need no version.
//!
//! That a name or a key is nobody else's is held by an item of its own for each, created where
//! there is none, in the same transaction that gives it to the account. In the same way one item
//! has the set of all operators: one condition on it sees whether some are left, whoever else is
//! changing roles. Accounts that wait for their proof are not in that set.

use aws_sdk_dynamodb::types::AttributeValue;

use super::Dynamo;
use super::change::{ChangePlan, done};
use super::item::{Item, Row, number, set, text};
use super::key::{self, Key, SORT};
use super::table::Range;
use super::write::{Condition, Write};
use super::{keys, pending, proof};
use crate::chat::access::{KeyRecord, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::chat::preferences::Preferences;
use crate::store::people::AccountWithKeys;
use crate::store::{Account, ChangeError, MAX_NAMES, StoreError, stored_role};

/// Where the write about the operators is among those that change a role.
const OPERATORS: usize = 0;

/// An account as it is in the table.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub account: Account,
    /// All that it owns, the oldest first.
    pub names: Vec<Name>,
    pub keys: Vec<KeyRecord>,
    version: u64,
}

impl Record {
    pub fn read(row: &Row) -> Result<Record, StoreError> {
        let preferences = serde_json::from_str(row.text("preferences")?);
        Ok(Record {
            account: Account {
                id: row.account(SORT)?,
                name: row.name("name")?,
                role: row.role()?,
                created: row.time("created")?,
                preferences: preferences
                    .map_err(|error| row.bad(format_args!("bad preferences: {error}")))?,
                proof_by: row.maybe_number(proof::PROOF_BY)?.map(Time),
            },
            names: row.names("names")?,
            keys: row
                .list("keys")?
                .iter()
                .map(keys::read)
                .collect::<Result<_, _>>()?,
            version: row.number("version")?,
        })
    }

    /// A change of it, if it is still as it was read.
    pub fn change(&self) -> Write {
        Write::update(Key::account(self.account.id))
            .set("version", number(self.version.saturating_add(1)))
            .when(Condition::Is("version", number(self.version)))
    }

    /// No change of it, if it is still as it was read.
    pub fn unchanged(&self) -> Write {
        Write::check(Key::account(self.account.id))
            .when(Condition::Is("version", number(self.version)))
    }

    /// Its end, if it is still as it was read.
    pub fn delete(&self) -> Write {
        Write::delete(Key::account(self.account.id))
            .when(Condition::Is("version", number(self.version)))
    }
}

/// What there is already of an account that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing.
    Free {
        /// Whether its key waits for an operator.
        waits: bool,
    },
    /// All of it.
    Made,
}

/// Makes an account with its name and its key, where there is nothing of it.
pub(super) fn make(
    account: &Account,
    key: &KeyRecord,
    waits: bool,
) -> Result<Vec<Write>, StoreError> {
    let (name, key) = (&account.name, (key, waits));
    make_whole(account, std::slice::from_ref(name), &[key])
}

/// Makes an account with all its names and keys, where there is nothing of it. Beside each key
/// stands whether it waits for an operator.
pub(super) fn make_whole(
    account: &Account,
    owned_names: &[Name],
    owned_keys: &[(&KeyRecord, bool)],
) -> Result<Vec<Write>, StoreError> {
    let role = stored_role(account.role)?;
    let preferences = to_json(&account.preferences)?;
    let owner = account.id.to_string();
    let mut writes = vec![Write::create(Key::account(account.id), |item| {
        item.text("name", account.name.as_str())
            .text("role", role)
            .number("created", account.created.0)
            .text("preferences", &preferences)
            .maybe_number(proof::PROOF_BY, account.proof_by.map(|by| by.0))
            .with("names", names(owned_names))
            .with("keys", keys::list(owned_keys.iter().map(|(key, _)| *key)))
            .number("version", 1)
    })];
    for (key, _) in owned_keys {
        let guard = Key::fingerprint(&key.fingerprint);
        writes.push(Write::create(guard, |item| item.text("account", &owner)));
    }
    for name in owned_names {
        let guard = Key::name(name);
        writes.push(Write::create(guard, |item| owned(item, &owner, name)));
    }
    writes.extend(joining(account));
    writes.extend(proof::waiting(account));
    let waits = owned_keys.iter();
    let waits = waits.map(|(key, waits)| (&key.fingerprint, *waits));
    writes.extend(pending::no_longer(waits));
    Ok(writes)
}

impl Dynamo {
    pub(super) async fn record(&self, account: AccountId) -> Result<Option<Record>, StoreError> {
        let row = self.table.get(&Key::account(account)).await?;
        row.as_ref().map(Record::read).transpose()
    }

    pub(super) async fn by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        let guard = Key::fingerprint(key);
        let Some(owner) = self.owner(&guard).await? else {
            return Ok(None);
        };
        let record = self.owning(&guard, owner).await?;
        // It can have been taken away between the two.
        let has_it = record.keys.iter().any(|k| k.fingerprint == *key);
        Ok(has_it.then_some(record.account))
    }

    pub(super) async fn by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        let guard = Key::name(name);
        match self.owner(&guard).await? {
            Some(owner) => Ok(Some(self.owning(&guard, owner).await?.account)),
            None => Ok(None),
        }
    }

    /// Whose a name or a key is, by the item that says so.
    pub(super) async fn owner(&self, guard: &Key) -> Result<Option<AccountId>, StoreError> {
        let row = self.table.get(guard).await?;
        row.map(|row| row.account("account")).transpose()
    }

    async fn owning(&self, guard: &Key, owner: AccountId) -> Result<Record, StoreError> {
        let bad =
            || StoreError::Corrupt(format!("{guard} has the account {owner}, and it is gone"));
        self.record(owner).await?.ok_or_else(bad)
    }

    /// All accounts by name with their keys, out of one partition; those that make no sense first.
    pub(super) async fn all_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError> {
        let rows = self.table.all(&Range::all(key::ACCOUNTS)).await?;
        let with_keys = |row| {
            let mut record = Record::read(row)?;
            keys::oldest_first(&mut record.keys);
            Ok((record.account, record.keys))
        };
        let mut all: Vec<Result<AccountWithKeys, StoreError>> =
            rows.iter().map(with_keys).collect();
        let name = |found: &Result<AccountWithKeys, StoreError>| {
            let (account, _) = found.as_ref().ok()?;
            Some(account.name.clone())
        };
        all.sort_by_cached_key(name);
        Ok(all)
    }

    /// Whether an account can be made, or was made before. One that was, and has lost or never had
    /// what it is to be made with, keeps what it has.
    pub(super) async fn claim(
        &self,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<Claim, ChangeError> {
        let at = Key::account(account.id);
        let (owns, there, waits) = tokio::join!(
            self.owns(account, key),
            self.table.get(&at),
            self.waits(&key.fingerprint)
        );
        match (owns?, there?) {
            ((true, true), _) => Ok(Claim::Made),
            ((false, false), None) => Ok(Claim::Free { waits: waits? }),
            // What was read may be from before it was made, and the rest from after that.
            _ => match self.owns(account, key).await? {
                (true, true) => Ok(Claim::Made),
                _ => Err(ChangeError::NameTaken),
            },
        }
    }

    /// Whether an account has its name, and this key. They are nobody else's.
    async fn owns(&self, account: &Account, key: &KeyRecord) -> Result<(bool, bool), ChangeError> {
        let guards = (Key::name(&account.name), Key::fingerprint(&key.fingerprint));
        let (by_name, by_key) = tokio::join!(self.owner(&guards.0), self.owner(&guards.1));
        match (by_name?, by_key?) {
            (Some(owner), _) if owner != account.id => Err(ChangeError::NameTaken),
            (_, Some(owner)) if owner != account.id => Err(ChangeError::KeyTaken),
            (by_name, by_key) => Ok((by_name.is_some(), by_key.is_some())),
        }
    }

    /// Makes an account. Made again just the same, it is the one that is there: so a caller that
    /// got no answer may repeat the call.
    pub(super) async fn create(
        &self,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<ChangePlan, ChangeError> {
        Ok(match self.claim(account, key).await? {
            Claim::Free { waits } => ChangePlan::done(make(account, key, waits)?),
            Claim::Made => ChangePlan::unchanged(),
        })
    }

    pub(super) async fn change_name(
        &self,
        account: AccountId,
        name: &Name,
    ) -> Result<ChangePlan, ChangeError> {
        let guard = Key::name(name);
        let (record, owner) = tokio::join!(self.record(account), self.owner(&guard));
        let record = record?.ok_or(ChangeError::NoAccount)?;
        let owner = owner?;
        if owner.is_some_and(|owner| owner != account) {
            return Err(ChangeError::NameTaken);
        }
        if record.account.name == *name {
            return Ok(ChangePlan::unchanged());
        }
        let mut owned_now = record.names.clone();
        let skeleton = name.skeleton();
        // Of those that look the same the latest is kept.
        owned_now.retain(|owned| owned.skeleton() != skeleton);
        if owner.is_none() && owned_now.len() >= MAX_NAMES {
            owned_now.sort();
            return Err(ChangeError::TooManyNames(owned_now));
        }
        owned_now.push(name.clone());
        let condition = match owner {
            Some(_) => Condition::Is("account", text(account.to_string())),
            None => Condition::Absent,
        };
        Ok(ChangePlan::done(vec![
            record
                .change()
                .set("name", text(name.as_str()))
                .set("names", names(&owned_now)),
            Write::put(guard, |item| owned(item, &account.to_string(), name)).when(condition),
        ]))
    }

    /// Gives an account another role; one that it has already is no change.
    pub(super) async fn change_role(
        &self,
        account: AccountId,
        role: Role,
    ) -> Result<ChangePlan, ChangeError> {
        let record = self.record(account).await?;
        let record = record.ok_or(ChangeError::NoAccount)?;
        if record.account.role == role {
            return Ok(ChangePlan::unchanged());
        }
        let kept = text(stored_role(role)?);
        let mut plan = ChangePlan::done(vec![record.change().set("role", kept)]);
        if record.account.proof_by.is_none() {
            let operators = match role {
                Role::Operator => joins(account),
                Role::Member | Role::Guest => leaves(account),
            };
            plan.writes.insert(OPERATORS, operators);
            // The account is as it was read, so nobody else made it less.
            plan.refusal = Some((OPERATORS, ChangeError::LastOperator));
        }
        Ok(plan)
    }

    pub(super) async fn keep_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        let set = Write::update(Key::account(account))
            .set("preferences", text(to_json(preferences)?))
            .when(Condition::Present);
        // A guest has no account.
        done(self.table.write(vec![set], None).await).map(|_kept| ())
    }
}

/// That a name is somebody's.
fn owned(item: Item, owner: &str, name: &Name) -> Item {
    item.text("account", owner).text("name", name.as_str())
}

fn names(names: &[Name]) -> AttributeValue {
    AttributeValue::L(names.iter().map(|name| text(name.as_str())).collect())
}

fn to_json(preferences: &Preferences) -> Result<String, StoreError> {
    serde_json::to_string(preferences)
        .map_err(|error| StoreError::Internal(format!("preferences can't be written: {error}")))
}

/// What an account brings with it if it is an operator's from now on. Who has not proven to be one
/// is none.
pub(super) fn joining(account: &Account) -> Option<Write> {
    let counts = account.role == Role::Operator && account.proof_by.is_none();
    counts.then(|| joins(account.id))
}

fn joins(account: AccountId) -> Write {
    Write::update(Key::operators()).add("accounts", set(account))
}

/// Only if another stays.
fn leaves(account: AccountId) -> Write {
    let account_id = text(account.to_string());
    Write::update(Key::operators())
        .take("accounts", set(account))
        .when(Condition::OneOfSeveral("accounts", account_id))
}
