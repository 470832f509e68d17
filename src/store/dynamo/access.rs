//! Bans, mutes, the lockdown and invites.
//!
//! Invites are stored by the hash of their code. Expired items are deleted some time later, so
//! readers check the time, too.

use super::Dynamo;
use super::accounts::{Creation, create_account};
use super::item::{NewItem, StoredItem, number};
use super::key::{self, ItemKey, SORT_KEY};
use super::plan::ChangePlan;
use super::table::{KeyRange, MAX_WRITES};
use super::write::{Condition, ItemWrite};
use crate::chat::access::{Ban, BanTarget, ClientPrefix, KeyRecord, Lockdown, LockdownScope, Mute};
use crate::chat::ids::{Fingerprint, Time};
use crate::chat::invite::{Invite, InviteId};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError, stored_role};
use crate::text::Text;

/// The longest hash of an invite that is looked up, in bytes: twice the longest hash.
const MAX_HASH: usize = 128;

impl Dynamo {
    /// Saves a ban under a new number. A failed call may leave a number unused.
    pub(super) async fn add_ban(&self, ban: &Ban) -> Result<ChangePlan, ChangeError> {
        let id = self
            .table
            .increment(&ItemKey::ban_number(), "number")
            .await?;
        let writes = vec![create_ban(id, ban)];
        Ok(ChangePlan::with(ChangeOutcome::Banned(id), writes))
    }

    /// Deletes an item, unless it has expired.
    pub(super) async fn delete_current(
        &self,
        key: ItemKey,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        match self.table.get(&key).await? {
            Some(item) if !item.is_expired(now)? => {}
            _ => return Err(ChangeError::NotFound),
        }
        let delete = ItemWrite::delete(key).when(Condition::Present);
        Ok(ChangePlan::done(vec![delete]))
    }

    /// Deletes an item, if it exists and hasn't expired.
    pub(super) async fn delete_if_current(
        &self,
        key: ItemKey,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        match self.delete_current(key, now).await {
            Err(ChangeError::NotFound) => Ok(ChangePlan::unchanged()),
            deleted => deleted,
        }
    }

    /// The bans that haven't expired, oldest first.
    pub(super) async fn current_bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        let range = KeyRange::all(key::BANS);
        let items = self.table.query_unexpired(&range, now).await?;
        items.iter().map(stored_ban).collect()
    }

    /// The mutes that haven't expired.
    pub(super) async fn current_mutes(&self, now: Time) -> Result<Vec<Mute>, StoreError> {
        let range = KeyRange::all(key::MUTES);
        let items = self.table.query_unexpired(&range, now).await?;
        items.iter().map(stored_mute).collect()
    }

    /// The lockdown, if it hasn't expired.
    pub(super) async fn current_lockdown(&self, now: Time) -> Result<Option<Lockdown>, StoreError> {
        match self.table.get(&ItemKey::lockdown()).await? {
            Some(item) if !item.is_expired(now)? => stored_lockdown(&item).map(Some),
            _ => Ok(None),
        }
    }
}

/// Creates a ban with this number.
pub(super) fn create_ban(id: u64, ban: &Ban) -> ItemWrite {
    ItemWrite::create(ItemKey::ban(id), |item| {
        ban_target(item, &ban.target)
            .text("by", &ban.by.to_string())
            .number("at", ban.at.0)
            .until(ban.until)
            .text_opt("reason", ban.reason.as_ref().map(Text::as_str))
    })
}

/// Reserves the ban numbers up to this one. The condition fails if they are reserved already.
pub(super) fn reserve_ban_numbers(id: u64) -> ItemWrite {
    let lower = number(id.saturating_sub(1));
    ItemWrite::update(ItemKey::ban_number())
        .set("number", number(id))
        .when(Condition::MissingOrAtMost("number", lower))
}

fn ban_target(item: NewItem, target: &BanTarget) -> NewItem {
    let (kind, subject) = match target {
        BanTarget::Account(account, _) => ("account", account.to_string()),
        BanTarget::Key(key) => ("key", key.to_string()),
        BanTarget::Network(net) => ("network", net.to_string()),
        BanTarget::Client(client) => ("client", client.to_string()),
    };
    let item = item.text("kind", kind).text("subject", &subject);
    match target {
        BanTarget::Account(_, name) => item.text("name", name.as_str()),
        _ => item,
    }
}

pub(super) fn stored_ban(item: &StoredItem) -> Result<Ban, StoreError> {
    let id = item.sort()?;
    Ok(Ban {
        id: id
            .parse()
            .map_err(|_| item.corrupt(format_args!("an invalid number {id:?}")))?,
        target: stored_ban_target(item)?,
        by: item.issuer("by")?,
        at: item.time("at")?,
        until: item.until()?,
        reason: item.reason()?,
    })
}

fn stored_ban_target(item: &StoredItem) -> Result<BanTarget, StoreError> {
    let (kind, subject) = (item.text("kind")?, item.text("subject")?);
    let invalid = || item.corrupt(format_args!("an invalid target {kind} {subject:?}"));
    Ok(match kind {
        "account" => BanTarget::Account(item.account("subject")?, item.name("name")?),
        "key" => BanTarget::Key(Fingerprint::stored(subject)),
        "network" => BanTarget::Network(subject.parse().map_err(|_| invalid())?),
        "client" => BanTarget::Client(ClientPrefix::stored(subject)),
        _ => return Err(invalid()),
    })
}

/// Creates or replaces a mute.
pub(super) fn put_mute(mute: &Mute) -> ItemWrite {
    ItemWrite::put(ItemKey::mute(mute.account), |item| {
        item.text("by", &mute.by.to_string())
            .until(mute.until)
            .text_opt("reason", mute.reason.as_ref().map(Text::as_str))
    })
}

pub(super) fn stored_mute(item: &StoredItem) -> Result<Mute, StoreError> {
    Ok(Mute {
        account: item.account(SORT_KEY)?,
        by: item.issuer("by")?,
        until: item.until()?,
        reason: item.reason()?,
    })
}

/// Creates or replaces the lockdown.
pub(super) fn put_lockdown(lockdown: &Lockdown) -> ItemWrite {
    let scope = (!lockdown.scope.is_everyone()).then(|| lockdown.scope.as_str());
    ItemWrite::put(ItemKey::lockdown(), |item| {
        item.text("by", &lockdown.by.to_string())
            .until(lockdown.until)
            .text_opt("scope", scope)
    })
}

pub(super) fn stored_lockdown(item: &StoredItem) -> Result<Lockdown, StoreError> {
    Ok(Lockdown {
        scope: LockdownScope::from_stored(item.text_opt("scope")?),
        by: item.issuer("by")?,
        until: item.until()?,
    })
}

/// Invites.
impl Dynamo {
    /// Saves an invite, unless it exists.
    pub(super) async fn add_invite(&self, invite: &Invite) -> Result<ChangePlan, ChangeError> {
        match self.table.get(&ItemKey::invite(&invite.hash)).await? {
            Some(_) => Ok(ChangePlan::unchanged()),
            None => Ok(ChangePlan::done(vec![create_invite(invite)?])),
        }
    }

    /// The valid invites, oldest first.
    pub(super) async fn current_invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        let mut invites = self.invites_in(&KeyRange::all(key::INVITES), now).await?;
        invites.sort_by(|a, b| (a.at, &a.hash).cmp(&(b.at, &b.hash)));
        Ok(invites)
    }

    /// The invite whose code has this hash, if it is valid.
    pub(super) async fn invite_with_hash(
        &self,
        hash: &str,
        now: Time,
    ) -> Result<Option<Invite>, StoreError> {
        if hash.len() > MAX_HASH {
            return Ok(None);
        }
        let item = self.table.get(&ItemKey::invite(hash)).await?;
        let invite = item.as_ref().map(stored_invite).transpose()?;
        Ok(invite.filter(|invite| invite.is_good(now)))
    }

    async fn invites_in(&self, range: &KeyRange, now: Time) -> Result<Vec<Invite>, StoreError> {
        let items = self.table.query_all(range).await?;
        let invites = items.iter().map(stored_invite);
        let mut invites: Vec<Invite> = invites.collect::<Result<_, _>>()?;
        invites.retain(|invite| invite.is_good(now));
        Ok(invites)
    }

    /// Revokes the invite whose hash begins with this id. In the unlikely case of several, all are
    /// revoked: better than keeping one that was meant.
    pub(super) async fn revoke_invite(
        &self,
        id: &InviteId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let last = format!("{id}{}", char::MAX);
        let range = KeyRange::all(key::INVITES).between(id.to_string(), last);
        let invites = self.invites_in(&range, now).await?;
        if invites.is_empty() {
            return Err(ChangeError::NotFound);
        }
        let delete = |invite: &Invite| {
            let unused = Condition::GreaterThan("left", number(0));
            ItemWrite::delete(ItemKey::invite(&invite.hash)).when(unused)
        };
        // One write is left for the audit entry.
        let invites = invites.iter().take(MAX_WRITES - 1);
        Ok(ChangePlan::done(invites.map(delete).collect()))
    }

    /// Takes a use of an invite and creates the account, or does neither. The number of reads is
    /// the same for every reason to reject the code, so the response time reveals nothing. `None`
    /// if the reads contradict each other.
    pub(super) async fn redeem_invite(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        now: Time,
    ) -> Result<Option<ChangePlan>, ChangeError> {
        if hash.len() > MAX_HASH {
            return Err(ChangeError::BadCode);
        }
        let at = ItemKey::invite(hash);
        let (owner, invite) = tokio::join!(self.by_key(&key.fingerprint), self.table.get(&at));
        // A retry after a lost response must not take a second use.
        if let Some(created) = owner?
            && created.id == account.id
        {
            let outcome = ChangeOutcome::RedeemedBefore(created);
            return Ok(Some(ChangePlan::with(outcome, Vec::new())));
        }
        let invite = invite?.as_ref().map(stored_invite).transpose()?;
        let invite = invite.filter(|invite| invite.is_good(now));
        let account = Account {
            role: invite.ok_or(ChangeError::BadCode)?.role,
            ..account.clone()
        };
        let Creation::New { key_pending } = self.check_creation(&account, key).await? else {
            return Ok(None);
        };
        let mut writes = create_account(&account, key, key_pending)?;
        writes.push(
            ItemWrite::update(at)
                .add("left", number(-1))
                .when(Condition::GreaterThan("left", number(0)))
                .when(Condition::GreaterThan("until", number(now.0))),
        );
        let outcome = ChangeOutcome::Redeemed(account);
        Ok(Some(ChangePlan::with(outcome, writes)))
    }
}

/// Creates an invite.
pub(super) fn create_invite(invite: &Invite) -> Result<ItemWrite, StoreError> {
    let role = stored_role(invite.role)?;
    Ok(ItemWrite::create(ItemKey::invite(&invite.hash), |item| {
        item.text("role", role)
            .number("left", invite.left)
            .number("uses", invite.uses)
            .until(Some(invite.expires))
            .text("by", &invite.by.to_string())
            .number("at", invite.at.0)
    }))
}

pub(super) fn stored_invite(item: &StoredItem) -> Result<Invite, StoreError> {
    Ok(Invite {
        hash: item.sort()?.to_owned(),
        role: item.role()?,
        left: item.number("left")?,
        uses: item.number("uses")?,
        expires: item.time("until")?,
        by: item.issuer("by")?,
        at: item.time("at")?,
    })
}
