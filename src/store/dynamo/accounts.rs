//! Accounts: one item each, with the account's names, keys and settings.
//!
//! A change that depends on the account as it was read is written on the condition that its
//! `version` is still the same. Writes set single attributes and never the whole item, so settings,
//! which depend on nothing, need no version.
//!
//! A name or a key belongs to one account only. For each there is an item that names the owner,
//! created in the same transaction that gives the name or key to the account, on the condition that
//! there is none. In the same way one item holds the set of all operators: a condition on it
//! detects whether any would be left, no matter who else is changing roles.
//!
//! An unproven account waits for the first login with its key. It has an item in a partition of its
//! own, so that unproven accounts are found without reading all of them, and isn't in the set of
//! operators. The transaction that proves the account deletes that item. Proving and forgetting an
//! account both depend on its version, so only one of them succeeds.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Dynamo;
use super::item::{NewItem, StoredItem, number, set, text};
use super::key::{self, ItemKey, SORT_KEY};
use super::plan::ChangePlan;
use super::table::KeyRange;
use super::write::{Condition, ItemWrite};
use crate::chat::access::{KeyRecord, Role};
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, Seq, Time};
use crate::chat::preferences::Preferences;
use crate::store::change::MAX_KEYS;
use crate::store::people::AccountWithKeys;
use crate::store::{Account, ChangeError, MAX_NAMES, ReadMarker, StoreError, stored_role};

/// The attribute of an unproven account with the deadline of the proof.
const PROOF_BY: &str = "proof_by";
/// The position of the write to the set of operators, in a plan that changes a role.
const OPERATORS: usize = 0;
/// The most read markers that are deleted in the same transaction as their account, beside its
/// names, its keys and the audit entry. Only an imported account can have more.
const MAX_MARKERS: usize = 60;

/// An account as stored.
#[derive(Debug, Clone)]
pub(super) struct AccountItem {
    pub account: Account,
    /// All names that the account owns, oldest first.
    pub names: Vec<Name>,
    pub keys: Vec<KeyRecord>,
    version: u64,
}

impl AccountItem {
    pub fn read(item: &StoredItem) -> Result<AccountItem, StoreError> {
        let preferences = serde_json::from_str(item.text("preferences")?);
        Ok(AccountItem {
            account: Account {
                id: item.account(SORT_KEY)?,
                name: item.name("name")?,
                role: item.role()?,
                created: item.time("created")?,
                preferences: preferences
                    .map_err(|error| item.corrupt(format_args!("invalid preferences: {error}")))?,
                proof_by: item.number_opt(PROOF_BY)?.map(Time),
            },
            names: item.names("names")?,
            keys: item.key_records("keys")?,
            version: item.number("version")?,
        })
    }

    /// An update of the item, if it hasn't changed since it was read.
    pub fn update(&self) -> ItemWrite {
        let update = ItemWrite::update(ItemKey::account(self.account.id));
        self.if_unchanged(update.set("version", number(self.version.saturating_add(1))))
    }

    /// A check that the item hasn't changed since it was read.
    pub fn check(&self) -> ItemWrite {
        self.if_unchanged(ItemWrite::check(ItemKey::account(self.account.id)))
    }

    fn if_unchanged(&self, write: ItemWrite) -> ItemWrite {
        write.when(Condition::Equals("version", number(self.version)))
    }

    /// Deletes the account with everything that it owns, except read markers, if it hasn't changed
    /// since it was read.
    fn delete_all(&self) -> Vec<ItemWrite> {
        let id = self.account.id;
        let names = self.names.iter().map(ItemKey::name_owner);
        let keys = self
            .keys
            .iter()
            .map(|key| ItemKey::key_owner(&key.fingerprint));
        let owned = names.chain(keys).map(|owner| {
            let is_owner = Condition::Equals("account", text(id.to_string()));
            ItemWrite::delete(owner).when(is_owner)
        });
        let mut writes = vec![
            self.if_unchanged(ItemWrite::delete(ItemKey::account(id))),
            ItemWrite::delete(ItemKey::unproven(id)),
            ItemWrite::delete(ItemKey::mute(id)),
        ];
        writes.extend(owned);
        writes
    }
}

/// What exists already of an account that is to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    /// Nothing.
    New {
        /// Whether its key is pending.
        key_pending: bool,
    },
    /// The account, with this name and key.
    Done,
}

/// Creates an account with its name and its key.
pub(super) fn create_account(
    account: &Account,
    key: &KeyRecord,
    key_pending: bool,
) -> Result<Vec<ItemWrite>, StoreError> {
    let names = std::slice::from_ref(&account.name);
    create_account_with(account, names, &[(key, key_pending)])
}

/// Creates an account with all its names and keys, each key with whether it is pending.
pub(super) fn create_account_with(
    account: &Account,
    names: &[Name],
    keys: &[(&KeyRecord, bool)],
) -> Result<Vec<ItemWrite>, StoreError> {
    let role = stored_role(account.role)?;
    let preferences = to_json(&account.preferences)?;
    let owner = account.id.to_string();
    let mut writes = vec![ItemWrite::create(ItemKey::account(account.id), |item| {
        item.text("name", account.name.as_str())
            .text("role", role)
            .number("created", account.created.0)
            .text("preferences", &preferences)
            .number_opt(PROOF_BY, account.proof_by.map(|by| by.0))
            .with("names", name_list(names))
            .with("keys", key_list(keys.iter().map(|(key, _)| *key)))
            .number("version", 1)
    })];
    for (key, _) in keys {
        writes.push(own_key(&key.fingerprint, account.id));
    }
    for name in names {
        writes.push(ItemWrite::create(ItemKey::name_owner(name), |item| {
            name_owner(item, &owner, name)
        }));
    }
    if let Some(by) = account.proof_by {
        let unproven = ItemKey::unproven(account.id);
        writes.push(ItemWrite::create(unproven, |item| {
            item.number(PROOF_BY, by.0)
        }));
    } else if account.role == Role::Operator {
        writes.push(add_operator(account.id));
    }
    let keys = keys.iter();
    writes.extend(end_pending(
        keys.map(|(key, pending)| (&key.fingerprint, *pending)),
    ));
    Ok(writes)
}

/// Removes keys from the pending ones, each given with whether it was pending when it was read.
pub(super) fn end_pending<'a>(
    keys: impl IntoIterator<Item = (&'a Fingerprint, bool)>,
) -> Vec<ItemWrite> {
    let mut removed = 0;
    let mut writes = Vec::new();
    for (key, is_pending) in keys {
        let pending = ItemKey::pending(key);
        writes.push(if is_pending {
            removed += 1;
            ItemWrite::delete(pending).when(Condition::Present)
        } else {
            ItemWrite::check(pending).when(Condition::Absent)
        });
    }
    if removed > 0 {
        let count = ItemWrite::update(ItemKey::pending_count());
        writes.push(count.add("number", number(-removed)));
    }
    writes
}

impl Dynamo {
    pub(super) async fn account_item(
        &self,
        account: AccountId,
    ) -> Result<Option<AccountItem>, StoreError> {
        let item = self.table.get(&ItemKey::account(account)).await?;
        item.as_ref().map(AccountItem::read).transpose()
    }

    pub(super) async fn by_key(&self, key: &Fingerprint) -> Result<Option<Account>, StoreError> {
        let at = ItemKey::key_owner(key);
        let Some(owner) = self.owner(&at).await? else {
            return Ok(None);
        };
        let owner = self.owning_account(&at, owner).await?;
        // It may have been removed between the two reads.
        let has_key = owner.keys.iter().any(|own| own.fingerprint == *key);
        Ok(has_key.then_some(owner.account))
    }

    pub(super) async fn by_name(&self, name: &Name) -> Result<Option<Account>, StoreError> {
        let at = ItemKey::name_owner(name);
        match self.owner(&at).await? {
            Some(owner) => Ok(Some(self.owning_account(&at, owner).await?.account)),
            None => Ok(None),
        }
    }

    /// The account that owns a name or a key, given the item that names the owner.
    pub(super) async fn owner(&self, at: &ItemKey) -> Result<Option<AccountId>, StoreError> {
        let item = self.table.get(at).await?;
        item.map(|item| item.account("account")).transpose()
    }

    async fn owning_account(
        &self,
        at: &ItemKey,
        owner: AccountId,
    ) -> Result<AccountItem, StoreError> {
        let missing =
            || StoreError::Corrupt(format!("{at} has the account {owner}, which doesn't exist"));
        self.account_item(owner).await?.ok_or_else(missing)
    }

    /// All accounts with their keys, sorted by name; corrupt ones first.
    pub(super) async fn all_with_keys(
        &self,
    ) -> Result<Vec<Result<AccountWithKeys, StoreError>>, StoreError> {
        let items = self.table.query_all(&KeyRange::all(key::ACCOUNTS)).await?;
        let with_keys = |item| {
            let mut item = AccountItem::read(item)?;
            sort_oldest_first(&mut item.keys);
            Ok((item.account, item.keys))
        };
        let mut all: Vec<Result<AccountWithKeys, StoreError>> =
            items.iter().map(with_keys).collect();
        all.sort_by_cached_key(|result| {
            let (account, _) = result.as_ref().ok()?;
            Some(account.name.clone())
        });
        Ok(all)
    }

    /// Checks what exists of an account that is to be created. An account of this id that exists,
    /// but has lost the name or key or never had it, stays as it is.
    pub(super) async fn check_creation(
        &self,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<Creation, ChangeError> {
        let at = ItemKey::account(account.id);
        let (owns, stored, key_pending) = tokio::join!(
            self.owns(account, key),
            self.table.get(&at),
            self.is_pending(&key.fingerprint)
        );
        match (owns?, stored?) {
            ((true, true), _) => Ok(Creation::Done),
            ((false, false), None) => Ok(Creation::New {
                key_pending: key_pending?,
            }),
            // It may have been created between the reads.
            _ => match self.owns(account, key).await? {
                (true, true) => Ok(Creation::Done),
                _ => Err(ChangeError::NameTaken),
            },
        }
    }

    /// Whether an account owns its name, and this key. Fails if another account owns one of them.
    async fn owns(&self, account: &Account, key: &KeyRecord) -> Result<(bool, bool), ChangeError> {
        let (name, key) = (
            ItemKey::name_owner(&account.name),
            ItemKey::key_owner(&key.fingerprint),
        );
        let (by_name, by_key) = tokio::join!(self.owner(&name), self.owner(&key));
        match (by_name?, by_key?) {
            (Some(owner), _) if owner != account.id => Err(ChangeError::NameTaken),
            (_, Some(owner)) if owner != account.id => Err(ChangeError::KeyTaken),
            (by_name, by_key) => Ok((by_name.is_some(), by_key.is_some())),
        }
    }

    /// Creates an account. Idempotent, so a caller that got no response may repeat the call.
    pub(super) async fn create(
        &self,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<ChangePlan, ChangeError> {
        Ok(match self.check_creation(account, key).await? {
            Creation::New { key_pending } => {
                ChangePlan::done(create_account(account, key, key_pending)?)
            }
            Creation::Done => ChangePlan::unchanged(),
        })
    }

    pub(super) async fn change_name(
        &self,
        account: AccountId,
        name: &Name,
    ) -> Result<ChangePlan, ChangeError> {
        let at = ItemKey::name_owner(name);
        let (item, owner) = tokio::join!(self.account_item(account), self.owner(&at));
        let item = item?.ok_or(ChangeError::NoAccount)?;
        let owner = owner?;
        if owner.is_some_and(|owner| owner != account) {
            return Err(ChangeError::NameTaken);
        }
        if item.account.name == *name {
            return Ok(ChangePlan::unchanged());
        }
        let mut names = item.names.clone();
        let skeleton = name.skeleton();
        // Of names that look alike, only the latest is kept.
        names.retain(|owned| owned.skeleton() != skeleton);
        if owner.is_none() && names.len() >= MAX_NAMES {
            names.sort();
            return Err(ChangeError::TooManyNames(names));
        }
        names.push(name.clone());
        let condition = match owner {
            Some(_) => Condition::Equals("account", text(account.to_string())),
            None => Condition::Absent,
        };
        Ok(ChangePlan::done(vec![
            item.update()
                .set("name", text(name.as_str()))
                .set("names", name_list(&names)),
            ItemWrite::put(at, |item| name_owner(item, &account.to_string(), name)).when(condition),
        ]))
    }

    /// Changes an account's role.
    pub(super) async fn change_role(
        &self,
        account: AccountId,
        role: Role,
    ) -> Result<ChangePlan, ChangeError> {
        let item = self.account_item(account).await?;
        let item = item.ok_or(ChangeError::NoAccount)?;
        if item.account.role == role {
            return Ok(ChangePlan::unchanged());
        }
        let stored = text(stored_role(role)?);
        let mut plan = ChangePlan::done(vec![item.update().set("role", stored)]);
        if item.account.is_proven() {
            let operators = match role {
                Role::Operator => add_operator(account),
                Role::Member | Role::Guest => remove_operator(account),
            };
            plan.writes.insert(OPERATORS, operators);
            // If only this condition fails, the account itself hasn't changed.
            plan.rejection = Some((OPERATORS, ChangeError::LastOperator));
        }
        Ok(plan)
    }

    pub(super) async fn save_account_preferences(
        &self,
        account: AccountId,
        preferences: &Preferences,
    ) -> Result<(), StoreError> {
        let set = ItemWrite::update(ItemKey::account(account))
            .set("preferences", text(to_json(preferences)?))
            .when(Condition::Present);
        // The condition fails for guests, who have no account.
        self.table.write_if(vec![set]).await.map(|_| ())
    }
}

/// Keys of accounts.
impl Dynamo {
    /// The keys of an account, oldest first.
    pub(super) async fn account_keys(
        &self,
        account: AccountId,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let item = self.account_item(account).await?;
        let mut keys = item.map(|item| item.keys).unwrap_or_default();
        sort_oldest_first(&mut keys);
        Ok(keys)
    }

    pub(super) async fn add_key(
        &self,
        account: AccountId,
        key: &KeyRecord,
    ) -> Result<ChangePlan, ChangeError> {
        let at = ItemKey::key_owner(&key.fingerprint);
        let (item, owner, is_pending) = tokio::join!(
            self.account_item(account),
            self.owner(&at),
            self.is_pending(&key.fingerprint)
        );
        let item = item?.ok_or(ChangeError::NoAccount)?;
        match owner? {
            Some(owner) if owner == account => return Ok(ChangePlan::unchanged()),
            Some(_) => return Err(ChangeError::KeyTaken),
            None => {}
        }
        if item.keys.len() >= MAX_KEYS {
            return Err(ChangeError::TooManyKeys);
        }
        let mut writes = end_pending([(&key.fingerprint, is_pending?)]);
        let keys = key_list(item.keys.iter().chain([key]));
        writes.push(item.update().set("keys", keys));
        writes.push(own_key(&key.fingerprint, account));
        Ok(ChangePlan::done(writes))
    }

    /// Removes a key of an account, or its claim on one.
    pub(super) async fn remove_key(
        &self,
        account: AccountId,
        key: &Fingerprint,
        last: bool,
    ) -> Result<ChangePlan, ChangeError> {
        let item = self.account_item(account).await?;
        let item = item.ok_or(ChangeError::NoKey)?;
        let (removed, left): (Vec<&KeyRecord>, Vec<&KeyRecord>) =
            item.keys.iter().partition(|own| own.fingerprint == *key);
        if removed.is_empty() {
            return self.withdraw_claim(account, key).await;
        }
        if left.is_empty() && !last {
            return Err(ChangeError::LastKey);
        }
        Ok(ChangePlan::done(vec![
            item.update().set("keys", key_list(left)),
            ItemWrite::delete(ItemKey::key_owner(key)),
        ]))
    }
}

/// Unproven accounts.
impl Dynamo {
    /// All unproven accounts.
    pub(super) async fn unproven_accounts(&self) -> Result<Vec<Account>, StoreError> {
        let items = self.table.query_all(&KeyRange::all(key::UNPROVEN)).await?;
        let key = |item: &StoredItem| item.account(SORT_KEY).map(ItemKey::account);
        let keys: Vec<ItemKey> = items.iter().map(key).collect::<Result<_, _>>()?;
        let mut unproven = Vec::with_capacity(keys.len());
        for item in self.table.get_many(&keys).await?.values() {
            let account = AccountItem::read(item)?.account;
            // It may have been proven between the reads.
            unproven.extend((!account.is_proven()).then_some(account));
        }
        Ok(unproven)
    }

    /// Marks an account as proven before its deadline. An operator becomes one from now on.
    pub(super) async fn prove_account(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let item = self.account_item(account).await?;
        let item = item.ok_or(ChangeError::Forfeit)?;
        match item.account.proof_by {
            None => return Ok(ChangePlan::unchanged()),
            Some(by) if by <= now => return Err(ChangeError::Forfeit),
            Some(_) => {}
        }
        let mut writes = vec![
            item.update().remove(PROOF_BY),
            ItemWrite::delete(ItemKey::unproven(account)),
        ];
        if item.account.role == Role::Operator {
            writes.push(add_operator(account));
        }
        Ok(ChangePlan::done(writes))
    }

    /// Deletes an account whose deadline has passed, with everything that it owns.
    pub(super) async fn forget_account(
        &self,
        account: AccountId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let (item, markers) =
            tokio::join!(self.account_item(account), self.read_marker_keys(account));
        let Some(item) = item?.filter(|item| item.account.is_forfeit(now)) else {
            return Ok(ChangePlan::unchanged());
        };
        let mut markers = markers?.into_iter().map(ItemWrite::delete);
        let mut writes = item.delete_all();
        writes.extend(markers.by_ref().take(MAX_MARKERS));
        Ok(ChangePlan {
            cleanup: markers.collect(),
            ..ChangePlan::done(writes)
        })
    }

    async fn read_marker_keys(&self, account: AccountId) -> Result<Vec<ItemKey>, StoreError> {
        let range = KeyRange::all(key::read_markers(account));
        let items = self.table.query_all(&range).await?;
        let key = |conversation| ItemKey::read_marker(account, &conversation);
        items
            .iter()
            .map(|item| item.conversation().map(key))
            .collect()
    }
}

/// Read markers.
impl Dynamo {
    pub(super) async fn read_marker(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<ReadMarker>, StoreError> {
        let key = ItemKey::read_marker(account, conversation);
        let item = self.table.get(&key).await?;
        item.as_ref().map(stored_read_marker).transpose()
    }

    /// Moves read markers forward. Those of guests, who have no account, aren't saved.
    pub(super) async fn move_markers(
        &self,
        markers: &[(AccountId, Conversation, ReadMarker)],
    ) -> Result<(), StoreError> {
        let mut exists = HashMap::new();
        for (account, conversation, marker) in markers {
            if !exists.contains_key(account) {
                let item = self.table.get(&ItemKey::account(*account)).await?;
                exists.insert(*account, item.is_some());
            }
            if exists.get(account) == Some(&true) {
                self.move_marker(ItemKey::read_marker(*account, conversation), *marker)
                    .await?;
            }
        }
        Ok(())
    }

    async fn move_marker(&self, key: ItemKey, marker: ReadMarker) -> Result<(), StoreError> {
        let (seq, at) = (number(marker.seq.0), number(marker.at.0));
        let forward = ItemWrite::update(key)
            .set("seq", seq.clone())
            .when(Condition::MissingOrAtMost("seq", seq));
        let later = forward.clone().set("at", at.clone());
        let later = later.when(Condition::MissingOrAtMost("at", at.clone()));
        if !self.table.write_if(vec![later]).await? {
            // Further on at an earlier time: another clock, or another device.
            let forward = forward.set_if_missing("at", at);
            self.table.write_if(vec![forward]).await?;
        }
        Ok(())
    }
}

/// Creates a read marker.
pub(super) fn create_read_marker(
    account: AccountId,
    conversation: &Conversation,
    marker: ReadMarker,
) -> ItemWrite {
    ItemWrite::create(ItemKey::read_marker(account, conversation), |item| {
        item.number("seq", marker.seq.0).number("at", marker.at.0)
    })
}

pub(super) fn stored_read_marker(item: &StoredItem) -> Result<ReadMarker, StoreError> {
    Ok(ReadMarker {
        seq: item.number("seq").map(Seq)?,
        at: item.time("at")?,
    })
}

pub(super) fn sort_oldest_first(keys: &mut [KeyRecord]) {
    keys.sort_by(|a, b| (a.added, &a.fingerprint).cmp(&(b.added, &b.fingerprint)));
}

/// Makes an account the owner of a key that has none.
fn own_key(key: &Fingerprint, account: AccountId) -> ItemWrite {
    ItemWrite::create(ItemKey::key_owner(key), |item| {
        item.text("account", &account.to_string())
    })
}

fn name_owner(item: NewItem, owner: &str, name: &Name) -> NewItem {
    item.text("account", owner).text("name", name.as_str())
}

fn name_list(names: &[Name]) -> AttributeValue {
    AttributeValue::L(names.iter().map(|name| text(name.as_str())).collect())
}

fn key_list<'a>(keys: impl IntoIterator<Item = &'a KeyRecord>) -> AttributeValue {
    let map = |key| AttributeValue::M(NewItem::default().key_record(key).into_attributes());
    AttributeValue::L(keys.into_iter().map(map).collect())
}

fn to_json(preferences: &Preferences) -> Result<String, StoreError> {
    serde_json::to_string(preferences)
        .map_err(|error| StoreError::Internal(format!("can't serialize preferences: {error}")))
}

fn add_operator(account: AccountId) -> ItemWrite {
    ItemWrite::update(ItemKey::operators()).add("accounts", set(account))
}

/// Removes an operator, unless it is the last one.
fn remove_operator(account: AccountId) -> ItemWrite {
    let id = text(account.to_string());
    ItemWrite::update(ItemKey::operators())
        .delete_from("accounts", set(account))
        .when(Condition::ContainsWithOthers("accounts", id))
}
