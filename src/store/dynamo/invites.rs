//! Invites: kept by the hash of their code. Those that are over are deleted by and by; who reads
//! looks whether they are still good.

use super::Dynamo;
use super::accounts::{Claim, make};
use super::change::ChangePlan;
use super::item::{Row, number};
use super::key::{self, Key};
use super::table::{MOST_WRITES, Range};
use super::write::{Condition, Write};
use crate::chat::access::KeyRecord;
use crate::chat::ids::Time;
use crate::chat::invite::{Invite, InviteId};
use crate::store::{Account, ChangeError, ChangeOutcome, StoreError, stored_role};

/// The longest that anything is looked for by, in bytes: twice the longest hash.
const LONGEST_ID: usize = 128;

impl Dynamo {
    /// Keeps an invite. Kept again, it is the one that is there.
    pub(super) async fn keep_invite(&self, invite: &Invite) -> Result<ChangePlan, ChangeError> {
        match self.table.get(&Key::invite(&invite.hash)).await? {
            Some(_) => Ok(ChangePlan::unchanged()),
            None => Ok(ChangePlan::done(vec![create(invite)?])),
        }
    }

    /// All that are still good, the oldest first.
    pub(super) async fn good_invites(&self, now: Time) -> Result<Vec<Invite>, StoreError> {
        let mut invites = self.invites_in(&Range::all(key::INVITES), now).await?;
        invites.sort_by(|a, b| (a.at, &a.hash).cmp(&(b.at, &b.hash)));
        Ok(invites)
    }

    /// The invite whose code has this hash, if it is still good.
    pub(super) async fn good_invite(
        &self,
        hash: &str,
        now: Time,
    ) -> Result<Option<Invite>, StoreError> {
        if hash.len() > LONGEST_ID {
            return Ok(None);
        }
        let row = self.table.get(&Key::invite(hash)).await?;
        let invite = row.as_ref().map(read).transpose()?;
        Ok(invite.filter(|invite| invite.is_good(now)))
    }

    async fn invites_in(&self, range: &Range, now: Time) -> Result<Vec<Invite>, StoreError> {
        let rows = self.table.all(range).await?;
        let invites = rows.iter().map(read);
        let good = |invite: &Result<Invite, _>| invite.as_ref().map_or(true, |i| i.is_good(now));
        invites.filter(good).collect()
    }

    /// Ends the invite whose hash begins like this. Should several, which hardly happens, it ends
    /// them all: better an invite too few than one that was meant to be gone.
    pub(super) async fn end_invite(
        &self,
        id: &InviteId,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        let last = format!("{id}{}", char::MAX);
        let range = Range::all(key::INVITES).between(id.to_string(), last);
        let invites = self.invites_in(&range, now).await?;
        if invites.is_empty() {
            return Err(ChangeError::NotFound);
        }
        let end = |invite: &Invite| {
            Write::delete(Key::invite(&invite.hash)).when(Condition::More("left", number(0)))
        };
        let most = MOST_WRITES - 1;
        Ok(ChangePlan::done(
            invites.iter().take(most).map(end).collect(),
        ))
    }

    /// Takes a use and makes the account, or does neither: at the same number of reads whatever is
    /// wrong with the invite. `None` if what was read contradicts itself.
    pub(super) async fn use_invite(
        &self,
        hash: &str,
        account: &Account,
        key: &KeyRecord,
        now: Time,
    ) -> Result<Option<ChangePlan>, ChangeError> {
        if hash.len() > LONGEST_ID {
            return Err(ChangeError::BadCode);
        }
        let at = Key::invite(hash);
        let (owner, invite) = tokio::join!(self.by_key(&key.fingerprint), self.table.get(&at));
        // A caller that got no answer asks again: it is in already, and takes no second use.
        if let Some(made) = owner?
            && made.id == account.id
        {
            return Ok(Some(ChangePlan::to(
                ChangeOutcome::RedeemedBefore(made),
                Vec::new(),
            )));
        }
        let invite = invite?.as_ref().map(read).transpose()?;
        let invite = invite.filter(|invite| invite.is_good(now));
        let account = Account {
            role: invite.ok_or(ChangeError::BadCode)?.role,
            ..account.clone()
        };
        let Claim::Free { waits } = self.claim(&account, key).await? else {
            return Ok(None);
        };
        let mut writes = make(&account, key, waits)?;
        writes.push(
            Write::update(at)
                .add("left", number(-1))
                .when(Condition::More("left", number(0)))
                .when(Condition::More("until", number(now.0))),
        );
        Ok(Some(ChangePlan::to(
            ChangeOutcome::Redeemed(account),
            writes,
        )))
    }
}

/// A new invite.
pub(super) fn create(invite: &Invite) -> Result<Write, StoreError> {
    let role = stored_role(invite.role)?;
    Ok(Write::create(Key::invite(&invite.hash), |item| {
        item.text("role", role)
            .number("left", invite.left)
            .number("uses", invite.uses)
            .until(Some(invite.expires))
            .text("by", &invite.by.to_string())
            .number("at", invite.at.0)
    }))
}

pub(super) fn read(row: &Row) -> Result<Invite, StoreError> {
    Ok(Invite {
        hash: row.sort()?.to_owned(),
        role: row.role()?,
        left: row.number("left")?,
        uses: row.number("uses")?,
        expires: row.time("until")?,
        by: row.issuer("by")?,
        at: row.time("at")?,
    })
}
