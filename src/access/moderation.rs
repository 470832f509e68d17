//! Moderation: kicks, bans, mutes, names, roles, lockdowns, slow mode, and removing messages and
//! rooms.

use std::collections::BTreeSet;
use std::time::Duration;

use super::execute::{OrderContext, failed};
use super::orders::{BanSelector, PurgeSelector};
use crate::chat::access::{
    Ban, BanTarget, Issuer, Lockdown, LockdownScope, Mute, Permission, Rank, Role,
};
use crate::chat::duration;
use crate::chat::ids::{AccountId, Conversation, Name, RoomName};
use crate::chat::intent::Refusal;
use crate::clock;
use crate::store::change::{lasting, with_reason};
use crate::store::{Account, ChangeAction, ChangeError, ChangeOutcome, PurgeAuthors, PurgeFilter};
use crate::text::Text;

/// The most steps of cleaning up after a purge, so that it ends however many messages are sent
/// meanwhile.
const MAX_CLEANING_STEPS: usize = 10_000;

const STOPPING: &str = "the server is stopping";

/// The reply to an order, or why it failed. Both are for the user.
type Reply = Result<String, String>;

impl OrderContext<'_> {
    pub(super) async fn kick(&self, name: Name, reason: Option<Text>) -> Reply {
        let account = self.restrictable_account(&name).await?;
        let online = self.access.hub.online().await;
        if online.iter().all(|online| online.account != account.id) {
            return Err(format!("{name} is not online."));
        }
        let notice = Text::stored(&with_reason("You were kicked", reason.as_ref()));
        let kick = ChangeAction::Kick {
            name: name.clone(),
            reason,
        };
        self.apply(kick).await.map_err(failed)?;
        let count = self.access.hub.dismiss_account(account.id, notice).await;
        Ok(match count {
            0 => format!("{name} just left."),
            1 => format!("Kicked {name}."),
            count => format!("Kicked {name} from {count} sessions."),
        })
    }

    pub(super) async fn ban(
        &self,
        selector: BanSelector,
        life: Option<u64>,
        reason: Option<Text>,
    ) -> Reply {
        let target = self.ban_target(selector).await?;
        let shown = target.to_string();
        let detail = with_reason(&lasting(life), reason.as_ref());
        let ban = Ban {
            id: 0,
            target,
            by: Issuer::from(&self.actor),
            at: self.now,
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        self.check_ban(&ban).await?;
        match self.apply(ChangeAction::Ban(ban)).await.map_err(failed)? {
            ChangeOutcome::Banned(id) => {
                let unban = self.typed(&format!("unban {id}"));
                Ok(format!("{shown} is banned{detail}. {unban} lifts it."))
            }
            _ => Ok(format!("{shown} is banned{detail}.")),
        }
    }

    async fn ban_target(&self, selector: BanSelector) -> Result<BanTarget, String> {
        Ok(match selector {
            BanSelector::Account(name) => {
                let account = self.restrictable_account(&name).await?;
                BanTarget::Account(account.id, account.name)
            }
            BanSelector::Key(key) => BanTarget::Key(key),
            BanSelector::KeyPrefix(prefix) => BanTarget::Key(self.known_key(&prefix).await?),
            BanSelector::Network(net) => BanTarget::Network(net),
            BanSelector::Client(client) => BanTarget::Client(client),
        })
    }

    pub(super) async fn unban(&self, id: u64) -> Reply {
        let bans = self.access.store.bans(self.now).await.map_err(failed)?;
        if let Some(ban) = bans.iter().find(|ban| ban.id == id) {
            self.check_lift(&ban.by, &format!("ban {id}")).await?;
        }
        match self.apply(ChangeAction::Unban(id)).await {
            Ok(_) => Ok(format!("Ban {id} lifted.")),
            Err(ChangeError::NotFound) => {
                let bans = self.typed("bans");
                Err(format!("There is no ban {id}. {bans} lists them."))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn mute(&self, name: Name, life: Option<u64>, reason: Option<Text>) -> Reply {
        let account = self.restrictable_account(&name).await?;
        // The new mute replaces an existing one.
        self.check_unmute(&account).await?;
        let detail = with_reason(&lasting(life), reason.as_ref());
        let mute = Mute {
            account: account.id,
            by: Issuer::from(&self.actor),
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        let muted = ChangeAction::Mute {
            name: name.clone(),
            mute,
        };
        self.apply(muted).await.map_err(failed)?;
        Ok(format!("{name} is muted{detail}."))
    }

    pub(super) async fn unmute(&self, name: Name) -> Reply {
        let account = self.account(&name).await?;
        self.check_unmute(&account).await?;
        let unmute = ChangeAction::Unmute {
            account: account.id,
            name: name.clone(),
        };
        match self.apply(unmute).await.map_err(failed)? {
            ChangeOutcome::Unchanged => Ok(format!("{name} is not muted.")),
            _ => Ok(format!("{name} is no longer muted.")),
        }
    }

    /// Checks whether the account's mute, if it has one, may be lifted or replaced.
    async fn check_unmute(&self, account: &Account) -> Result<(), String> {
        let mutes = self.access.store.mutes(self.now).await.map_err(failed)?;
        match mutes.iter().find(|mute| mute.account == account.id) {
            Some(mute) => {
                let what = format!("the mute of {}", account.name);
                self.check_lift(&mute.by, &what).await
            }
            None => Ok(()),
        }
    }

    pub(super) async fn rename(&self, name: Name, to: Name) -> Reply {
        let account = self.restrictable_account(&name).await?;
        let rename = ChangeAction::Rename {
            account: account.id,
            from: name.clone(),
            to: to.clone(),
        };
        match self.apply(rename).await {
            Ok(_) => {}
            Err(ChangeError::Store(error)) => return Err(failed(error)),
            Err(error) => return Err(format!("Can't rename {name} to {to}: {error}.")),
        }
        self.access.hub.renamed(account.id, to.clone()).await;
        let seen = if self.sender.is_none() {
            " Online sessions show it once they reconnect."
        } else {
            ""
        };
        Ok(format!("{name} is now known as {to}.{seen}"))
    }

    pub(super) async fn set_role(&self, name: Name, role: Role) -> Reply {
        let demotes = role < Role::Operator;
        let account = if demotes {
            self.restrictable_account(&name).await?
        } else {
            self.account(&name).await?
        };
        if demotes && self.is_configured(&account).await? {
            return Err(format!(
                "{name} is a configured operator: one of their keys is in operator_keys."
            ));
        }
        let set = ChangeAction::SetRole {
            account: account.id,
            name: name.clone(),
            role,
        };
        match self.apply(set).await {
            Ok(_) => Ok(format!("{name} is now {}.", role.with_article())),
            Err(ChangeError::LastOperator) => Err(format!(
                "{name} is the last operator. First make someone else an operator: {}",
                self.typed("op NAME")
            )),
            Err(error) => Err(failed(error)),
        }
    }

    /// Checks whether the current lockdown, if there is one, may be lifted or replaced.
    async fn check_change_lockdown(&self) -> Result<(), String> {
        let before = self.access.store.lockdown(self.now).await;
        match before.map_err(failed)? {
            Some(before) => self.check_lift(&before.by, "the lockdown").await,
            None => Ok(()),
        }
    }

    pub(super) async fn lockdown(&self, scope: LockdownScope, life: Option<u64>) -> Reply {
        self.check_change_lockdown().await?;
        let lockdown = Lockdown {
            scope,
            by: Issuer::from(&self.actor),
            until: life.map(|life| self.now.plus(life)),
        };
        let set = self.apply(ChangeAction::SetLockdown(Some(lockdown))).await;
        set.map_err(failed)?;
        let lasting = lasting(life);
        Ok(match scope {
            LockdownScope::Everyone => {
                format!("Lockdown{lasting}: new users can't join. /lockdown off lifts it.")
            }
            LockdownScope::Guests => format!(
                "Lockdown{lasting}: guests can't join, and those online are disconnected. \
                 /lockdown off lifts it."
            ),
        })
    }

    pub(super) async fn end_lockdown(&self) -> Reply {
        self.check_change_lockdown().await?;
        match self.apply(ChangeAction::SetLockdown(None)).await {
            Ok(ChangeOutcome::Unchanged) => Ok("There is no lockdown.".to_owned()),
            Ok(_) => Ok("The lockdown is over: new people and guests can join again.".to_owned()),
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn slow_mode(&self, room: RoomName, interval: Option<Duration>) -> Reply {
        let set = ChangeAction::SetSlow {
            room: room.clone(),
            slow: interval,
        };
        match self.apply(set).await {
            Ok(ChangeOutcome::Unchanged) => {
                // The user may have repeated the order because the store didn't answer in time.
                self.access
                    .hub
                    .set_slow_mode(room.clone(), interval, None)
                    .await;
                return Ok(match interval {
                    Some(interval) => {
                        let every = duration::every(interval);
                        format!("{room} is already in slow mode: one message {every}.")
                    }
                    None => format!("{room} is not in slow mode."),
                });
            }
            Ok(_) => {}
            Err(ChangeError::NotFound) => return Err(Refusal::NoRoom(room).to_string()),
            Err(error) => return Err(failed(error)),
        }
        let by = &self.actor;
        let (notice, reply) = match interval.map(duration::every) {
            Some(every) => (
                format!("{by} turned on slow mode: one message {every}."),
                format!("{room} is in slow mode: one message {every}. /slow {room} off ends it."),
            ),
            None => (
                format!("{by} turned off slow mode."),
                format!("{room} is no longer in slow mode."),
            ),
        };
        let notice = Some(Text::stored(&notice));
        self.access.hub.set_slow_mode(room, interval, notice).await;
        Ok(reply)
    }

    pub(super) async fn announce(&self, text: Text) -> Reply {
        // The audit entry doesn't repeat the text, which everyone sees.
        self.apply(ChangeAction::Announce).await.map_err(failed)?;
        let notice = format!("{} announces: {text}", self.actor);
        self.access.hub.notify_all(Text::stored(&notice)).await;
        Ok("Announcement sent.".into())
    }
}

/// Whose messages a purge removes, and what they are called.
struct PurgeScope {
    authors: PurgeAuthors,
    /// For the audit log and the reply.
    label: String,
    /// For the rooms, without addresses.
    public_label: String,
    /// A limitation to mention in the reply.
    remark: String,
}

impl PurgeScope {
    fn new(authors: PurgeAuthors, label: String) -> PurgeScope {
        PurgeScope {
            authors,
            public_label: label.clone(),
            label,
            remark: String::new(),
        }
    }
}

/// How many messages a purge removed.
#[derive(Default)]
struct Removed {
    total: u64,
    /// Per room, without those where nothing was removed.
    rooms: Vec<(RoomName, u64)>,
    direct: u64,
}

impl Removed {
    fn add(&mut self, conversation: &Conversation, count: u64) {
        self.total += count;
        match conversation {
            Conversation::Room(_) if count == 0 => {}
            Conversation::Room(room) => self.rooms.push((room.clone(), count)),
            Conversation::Direct(..) => self.direct += count,
        }
    }
}

impl OrderContext<'_> {
    /// Removes the selected messages of the last `millis` milliseconds, in all rooms and direct
    /// conversations, step by step, so that new messages are saved in between.
    pub(super) async fn purge(&self, selector: PurgeSelector, millis: u64) -> Reply {
        let PurgeScope {
            authors,
            label,
            public_label,
            remark,
        } = self.purge_scope(selector, millis).await?;
        let purge = PurgeFilter {
            authors,
            since: self.now.minus(millis),
        };
        let mut removed = Removed::default();
        let stopped = self.remove_messages(&purge, &mut removed).await.err();
        let Removed {
            total,
            ref rooms,
            direct,
        } = removed;
        let time = duration::format(Duration::from_millis(millis));
        if total == 0 && stopped.is_none() {
            return Ok(format!(
                "No messages by {label} in the last {time}.{remark}"
            ));
        }
        let mut audited = Ok(());
        if total > 0 {
            let action = ChangeAction::Purge {
                target: label.clone(),
                millis,
                removed: total,
                whole: stopped.is_none(),
            };
            audited = self.apply(action).await.map(|_outcome| ());
            for (room, count) in rooms {
                let count = messages(*count);
                let notice = format!("{} removed {count} by {public_label}.", self.actor);
                let notice = Text::stored(&notice);
                self.access.hub.notify_room(room.clone(), notice).await;
            }
        }
        let count = messages(total);
        if let Some(why) = stopped {
            return Err(format!(
                "Removed {count} by {label}, then stopped: {why}. Repeat the command to remove \
                 the rest."
            ));
        }
        let place = match (rooms.len(), direct) {
            (0, _) => "all in direct messages".to_owned(),
            (1, 0) => "in 1 room".to_owned(),
            (rooms, 0) => format!("in {rooms} rooms"),
            (1, direct) => format!("in 1 room, {direct} of them direct"),
            (rooms, direct) => format!("in {rooms} rooms, {direct} of them direct"),
        };
        let done = format!("Removed {count} by {label} from the last {time}, {place}.{remark}");
        match audited {
            Ok(()) => Ok(done),
            Err(error) => Err(format!(
                "{done} It's not in the audit log. {}",
                failed(error)
            )),
        }
    }

    async fn purge_scope(
        &self,
        selector: PurgeSelector,
        millis: u64,
    ) -> Result<PurgeScope, String> {
        match selector {
            PurgeSelector::Guests => Ok(PurgeScope::new(PurgeAuthors::Guests, "guests".to_owned())),
            // No account has such a name.
            PurgeSelector::Author(name) if name.is_guest() => {
                let label = name.to_string();
                Ok(PurgeScope::new(PurgeAuthors::Named(name), label))
            }
            PurgeSelector::Author(name) => {
                let account = self.restrictable_account(&name).await?;
                let accounts = BTreeSet::from([account.id]);
                Ok(PurgeScope::new(
                    PurgeAuthors::Accounts(accounts),
                    name.to_string(),
                ))
            }
            PurgeSelector::Network(network) => {
                let known = self.access.hub.accounts_from(network).await;
                let (accounts, since) = known.ok_or_else(|| failed(STOPPING))?;
                let (label, public_label) = if network.prefix_len() == network.max_prefix_len() {
                    (network.addr().to_string(), "people from one address")
                } else {
                    (network.to_string(), "people from one network")
                };
                let known_for = clock::monotonic().saturating_duration_since(since);
                let remark = if known_for < Duration::from_millis(millis) {
                    format!(
                        " Addresses are known for sessions of the last {} only.",
                        duration::format(known_for)
                    )
                } else {
                    String::new()
                };
                let accounts = self.without_higher_ranks(accounts).await?;
                if accounts.is_empty() {
                    return Err(format!(
                        "No one who can be purged connected from {label}.{remark}"
                    ));
                }
                Ok(PurgeScope {
                    authors: PurgeAuthors::Accounts(accounts),
                    label,
                    public_label: public_label.to_owned(),
                    remark,
                })
            }
        }
    }

    /// Leaves out accounts that the actor may not restrict: they may only share an address with a
    /// flood.
    async fn without_higher_ranks(
        &self,
        mut accounts: BTreeSet<AccountId>,
    ) -> Result<BTreeSet<AccountId>, String> {
        if accounts.is_empty() {
            return Ok(accounts);
        }
        let all = self.access.store.accounts_with_keys().await;
        let rules = self.access.rules();
        for (account, keys) in all.map_err(failed)?.into_iter().flatten() {
            let configured = keys
                .iter()
                .any(|key| rules.has_operator_key(&key.fingerprint));
            let rank = Rank::of(account.role, configured);
            if self.rank.check(Permission::Restrict, rank).is_err() {
                accounts.remove(&account.id);
            }
        }
        Ok(accounts)
    }

    /// Removes messages. The error is why it stopped before the end.
    async fn remove_messages(
        &self,
        purge: &PurgeFilter,
        removed: &mut Removed,
    ) -> Result<(), String> {
        let store = &self.access.store;
        let all = store.conversations().await;
        let all = all.map_err(|error| error.to_string())?;
        // Rooms first: more people see them.
        let (rooms, direct): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|conversation| matches!(conversation, Conversation::Room(_)));
        for conversation in rooms.into_iter().chain(direct) {
            let (mut count, mut before) = (0, None);
            let end = loop {
                if self.access.is_stopping() {
                    break Err(STOPPING.to_owned());
                }
                match store.purge(&conversation, purge, before).await {
                    Ok(step) => {
                        count += step.removed;
                        before = step.before;
                        if before.is_none() {
                            break Ok(());
                        }
                    }
                    Err(error) => break Err(error.to_string()),
                }
            };
            removed.add(&conversation, count);
            end?;
        }
        // Even if nothing was found: an earlier purge may have stopped here.
        self.clean_up().await
    }

    /// Erases removed messages from the disk. The error is why it stopped before the end.
    async fn clean_up(&self) -> Result<(), String> {
        for _ in 0..MAX_CLEANING_STEPS {
            if self.access.is_stopping() {
                return Err(STOPPING.to_owned());
            }
            let more = self.access.store.purged().await;
            if !more.map_err(|error| error.to_string())? {
                break;
            }
        }
        Ok(())
    }

    /// Removes a room and its messages. The hub removes the room, so that nothing is said there
    /// meanwhile.
    pub(super) async fn remove_room(&self, room: RoomName) -> Reply {
        if room == RoomName::lobby() {
            return Err("The lobby can't be removed. /purge removes messages.".into());
        }
        let remove = self.change(ChangeAction::RemoveRoom { room: room.clone() });
        let notice = Text::stored(&format!("{} removed the room {room}.", self.actor));
        let removed = self
            .access
            .hub
            .remove_room(room.clone(), remove, notice)
            .await;
        let existed = match removed.ok_or_else(|| failed(STOPPING))? {
            Ok(applied) => {
                super::log_applied(applied);
                true
            }
            // An earlier removal may have stopped after this step.
            Err(ChangeError::NotFound) => false,
            Err(error) => return Err(failed(error)),
        };
        match self.clear_room(&room).await {
            Err(why) => Err(format!(
                "Room {room} removed, but not all of its messages are deleted yet: {why}. Repeat \
                 the command to delete the rest."
            )),
            Ok(()) if existed => Ok(format!("Room {room} removed, with all its messages.")),
            Ok(()) => Err(Refusal::NoRoom(room).to_string()),
        }
    }

    async fn clear_room(&self, room: &RoomName) -> Result<(), String> {
        loop {
            if self.access.is_stopping() {
                return Err(STOPPING.to_owned());
            }
            let more = self.access.store.clear_room(room).await;
            if !more.map_err(|error| error.to_string())? {
                return self.clean_up().await;
            }
        }
    }
}

fn messages(count: u64) -> String {
    if count == 1 {
        "1 message".to_owned()
    } else {
        format!("{count} messages")
    }
}
