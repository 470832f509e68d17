//! Who may not come in.

use super::Dynamo;
use super::change::ChangePlan;
use super::item::{Item, Row, number};
use super::key::{self, Key};
use super::table::Range;
use super::write::{Condition, Write};
use crate::chat::access::{Ban, BanTarget, ClientPrefix};
use crate::chat::ids::{Fingerprint, Time};
use crate::store::{ChangeError, ChangeOutcome, StoreError};
use crate::text::Text;

impl Dynamo {
    /// Keeps a ban. A call that fails can leave a number unused.
    pub(super) async fn keep_ban(&self, ban: &Ban) -> Result<ChangePlan, ChangeError> {
        let id = self.table.count_up(&Key::ban_number(), "number").await?;
        Ok(ChangePlan::to(
            ChangeOutcome::Banned(id),
            vec![create(id, ban)],
        ))
    }

    /// Deletes what can be over by itself.
    pub(super) async fn end(&self, key: Key, now: Time) -> Result<ChangePlan, ChangeError> {
        match self.table.get(&key).await? {
            Some(row) if !row.is_over(now)? => {}
            _ => return Err(ChangeError::NotFound),
        }
        let delete = Write::delete(key).when(Condition::Present);
        Ok(ChangePlan::done(vec![delete]))
    }

    /// The same, and if there is nothing to end it is as good.
    pub(super) async fn end_if_there(
        &self,
        key: Key,
        now: Time,
    ) -> Result<ChangePlan, ChangeError> {
        match self.end(key, now).await {
            Err(ChangeError::NotFound) => Ok(ChangePlan::unchanged()),
            ended => ended,
        }
    }

    /// All that are not over, the oldest first.
    pub(super) async fn current_bans(&self, now: Time) -> Result<Vec<Ban>, StoreError> {
        let rows = self.table.all(&Range::all(key::BANS)).await?;
        let bans = rows.iter().map(read);
        let holds = |ban: &Result<Ban, _>| ban.as_ref().map_or(true, |ban| !ban.is_over(now));
        bans.filter(holds).collect()
    }
}

/// A new ban with this number.
pub(super) fn create(id: u64, ban: &Ban) -> Write {
    Write::create(Key::ban(id), |item| {
        about(item, &ban.target)
            .text("by", &ban.by.to_string())
            .number("at", ban.at.0)
            .until(ban.until)
            .maybe_text("reason", ban.reason.as_ref().map(Text::as_str))
    })
}

/// No ban gets this number or a lower one from now on. Refused if none would anyway.
pub(super) fn skip_to(id: u64) -> Write {
    let lower = number(id.saturating_sub(1));
    Write::update(Key::ban_number())
        .set("number", number(id))
        .when(Condition::NoneOrAtMost("number", lower))
}

fn about(item: Item, target: &BanTarget) -> Item {
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

pub(super) fn read(row: &Row) -> Result<Ban, StoreError> {
    let id = row.sort()?;
    Ok(Ban {
        id: id
            .parse()
            .map_err(|_| row.bad(format_args!("the bad number {id:?}")))?,
        target: target(row)?,
        by: row.issuer("by")?,
        at: row.time("at")?,
        until: row.until()?,
        reason: row.reason()?,
    })
}

fn target(row: &Row) -> Result<BanTarget, StoreError> {
    let (kind, subject) = (row.text("kind")?, row.text("subject")?);
    let bad = || row.bad(format_args!("the bad target {kind} {subject:?}"));
    Ok(match kind {
        "account" => BanTarget::Account(row.account("subject")?, row.name("name")?),
        "key" => BanTarget::Key(Fingerprint::stored(subject)),
        "network" => BanTarget::Network(subject.parse().map_err(|_| bad())?),
        "client" => BanTarget::Client(ClientPrefix::stored(subject)),
        _ => return Err(bad()),
    })
}
