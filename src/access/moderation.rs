//! Keeping order among those who are in.

use std::time::Duration;

use super::carry_out::{OrderContext, failed, not_done};
use super::orders::BanWhom;
use crate::chat::access::{Ban, BanTarget, Issuer, Lockdown, LockdownScope, Mute, Role};
use crate::chat::duration::every;
use crate::chat::ids::{Name, RoomName};
use crate::chat::intent::Refusal;
use crate::store::change::{lasting, with_reason};
use crate::store::{Account, Action, ChangeError, ChangeOutcome};
use crate::text::Text;

/// What is told the one who gave an order, or why it could not be done.
type Told = Result<String, String>;

impl OrderContext<'_> {
    pub(super) async fn kick(&self, name: Name, reason: Option<Text>) -> Told {
        let person = self.subject(&name).await?;
        let online = self.guard.hub.online().await;
        if online.iter().all(|online| online.account != person.id) {
            return Err(format!("Nobody was kicked: {name} is not online."));
        }
        let words = Text::stored(&with_reason("You were asked to leave", reason.as_ref()));
        let kick = Action::Kick {
            name: name.clone(),
            reason,
        };
        self.apply(kick).await.map_err(not_done)?;
        let count = self.guard.hub.dismiss_account(person.id, words).await;
        Ok(match count {
            0 => format!("{name} has just left."),
            1 => format!("{name} was asked to leave."),
            count => format!("{name} was asked to leave, at {count} terminals."),
        })
    }

    pub(super) async fn ban(&self, whom: BanWhom, life: Option<u64>, reason: Option<Text>) -> Told {
        let target = self.ban_target(whom).await?;
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
        self.may_ban(&ban).await?;
        match self.apply(Action::Ban(ban)).await.map_err(not_done)? {
            ChangeOutcome::Banned(id) => {
                let unban = self.typed(&format!("unban {id}"));
                Ok(format!("{shown} is banned{detail}. {unban} ends it."))
            }
            _ => Ok(format!("{shown} is banned{detail}.")),
        }
    }

    async fn ban_target(&self, whom: BanWhom) -> Result<BanTarget, String> {
        Ok(match whom {
            BanWhom::Person(name) => {
                let person = self.subject(&name).await?;
                BanTarget::Account(person.id, person.name)
            }
            BanWhom::Key(key) => BanTarget::Key(key),
            BanWhom::KeyPrefix(prefix) => BanTarget::Key(self.known_key(&prefix).await?),
            BanWhom::Network(net) => BanTarget::Network(net),
            BanWhom::Client(client) => BanTarget::Client(client),
        })
    }

    pub(super) async fn unban(&self, id: u64) -> Told {
        let bans = self.guard.store.bans(self.now).await.map_err(failed)?;
        if let Some(ban) = bans.iter().find(|ban| ban.id == id) {
            self.may_lift(&ban.by, &format!("ban {id}")).await?;
        }
        match self.apply(Action::Unban(id)).await {
            Ok(_) => Ok(format!("Ban {id} is ended.")),
            Err(ChangeError::NotFound) => {
                let bans = self.typed("bans");
                Err(format!("There is no ban {id}. {bans} lists them."))
            }
            Err(error) => Err(not_done(error)),
        }
    }

    pub(super) async fn mute(&self, name: Name, life: Option<u64>, reason: Option<Text>) -> Told {
        let person = self.subject(&name).await?;
        // The new mute takes the place of another.
        self.may_unmute(&person).await?;
        let detail = with_reason(&lasting(life), reason.as_ref());
        let mute = Mute {
            account: person.id,
            by: Issuer::from(&self.actor),
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        let muted = Action::Mute {
            name: name.clone(),
            mute,
        };
        self.apply(muted).await.map_err(not_done)?;
        Ok(format!("{name} can only listen{detail}."))
    }

    pub(super) async fn unmute(&self, name: Name) -> Told {
        let person = self.person(&name).await?;
        self.may_unmute(&person).await?;
        let unmute = Action::Unmute {
            account: person.id,
            name: name.clone(),
        };
        match self.apply(unmute).await.map_err(not_done)? {
            ChangeOutcome::Unchanged => Ok(format!("{name} is not muted.")),
            _ => Ok(format!("{name} can speak again.")),
        }
    }

    /// Whether the mute of somebody may be ended or replaced, if there is one.
    async fn may_unmute(&self, person: &Account) -> Result<(), String> {
        let mutes = self.guard.store.mutes(self.now).await.map_err(failed)?;
        match mutes.iter().find(|mute| mute.account == person.id) {
            Some(mute) => {
                let what = format!("the mute of {}", person.name);
                self.may_lift(&mute.by, &what).await
            }
            None => Ok(()),
        }
    }

    pub(super) async fn rename(&self, name: Name, to: Name) -> Told {
        let person = self.subject(&name).await?;
        let rename = Action::Rename {
            account: person.id,
            from: name.clone(),
            to: to.clone(),
        };
        match self.apply(rename).await {
            Ok(_) => {}
            Err(ChangeError::Store(error)) => return Err(failed(error)),
            Err(error) => return Err(format!("{name} can't be {to}: {error}.")),
        }
        self.guard.hub.renamed(person.id, to.clone()).await;
        let seen = if self.sender.is_none() {
            " Who is online sees it once they connect again."
        } else {
            ""
        };
        Ok(format!("{name} is now known as {to}.{seen}"))
    }

    pub(super) async fn set_role(&self, name: Name, role: Role) -> Told {
        let demotes = role < Role::Operator;
        let person = if demotes {
            self.subject(&name).await?
        } else {
            self.person(&name).await?
        };
        if demotes && self.is_configured(&person).await? {
            return Err(format!(
                "{name} is an operator by the configuration: operator_keys names a key of theirs."
            ));
        }
        let set = Action::SetRole {
            account: person.id,
            name: name.clone(),
            role,
        };
        match self.apply(set).await {
            Ok(_) => Ok(format!("{name} is now {}.", role.with_article())),
            Err(ChangeError::LastOperator) => Err(format!(
                "{name} is the last operator. Make another one first: {}",
                self.typed("op NAME")
            )),
            Err(error) => Err(not_done(error)),
        }
    }

    /// An error if someone of a higher rank began the lockdown that holds.
    async fn may_change_lockdown(&self) -> Result<(), String> {
        let before = self.guard.store.lockdown(self.now).await;
        match before.map_err(failed)? {
            Some(before) => self.may_lift(&before.by, "the lockdown").await,
            None => Ok(()),
        }
    }

    pub(super) async fn lockdown(&self, scope: LockdownScope, life: Option<u64>) -> Told {
        self.may_change_lockdown().await?;
        let lockdown = Lockdown {
            scope,
            by: Issuer::from(&self.actor),
            until: life.map(|life| self.now.plus(life)),
        };
        let set = self.apply(Action::SetLockdown(Some(lockdown))).await;
        set.map_err(not_done)?;
        let lasting = lasting(life);
        Ok(match scope {
            LockdownScope::Everyone => {
                format!("Lockdown{lasting}: no one new can join. /lockdown off ends it.")
            }
            LockdownScope::Guests => format!(
                "Lockdown{lasting}: guests can't join, and those online are disconnected. \
                 /lockdown off ends it."
            ),
        })
    }

    pub(super) async fn end_lockdown(&self) -> Told {
        self.may_change_lockdown().await?;
        match self.apply(Action::SetLockdown(None)).await {
            Ok(ChangeOutcome::Unchanged) => Ok("There is no lockdown.".to_owned()),
            Ok(_) => Ok("The lockdown is over: new people and guests can join again.".to_owned()),
            Err(error) => Err(not_done(error)),
        }
    }

    pub(super) async fn slow(&self, room: RoomName, slow: Option<Duration>) -> Told {
        let set = Action::SetSlow {
            room: room.clone(),
            slow,
        };
        match self.apply(set).await {
            Ok(ChangeOutcome::Unchanged) => {
                // Someone may have repeated it because the store didn't answer in time.
                self.guard.hub.set_slow_mode(room.clone(), slow, None).await;
                return Ok(match slow {
                    Some(slow) => {
                        format!(
                            "{room} is in slow mode already: one message {}.",
                            every(slow)
                        )
                    }
                    None => format!("{room} is not in slow mode."),
                });
            }
            Ok(_) => {}
            Err(ChangeError::NotFound) => return Err(Refusal::NoRoom(room).to_string()),
            Err(error) => return Err(not_done(error)),
        }
        let by = &self.actor;
        let (told, done) = match slow {
            Some(slow) => {
                let every = every(slow);
                (
                    format!("{by} slowed this room down: one message {every}."),
                    format!(
                        "{room} is in slow mode: one message {every}. /slow {room} off ends it."
                    ),
                )
            }
            None => (
                format!("{by} ended slow mode in this room."),
                format!("{room} is no longer in slow mode."),
            ),
        };
        let told = Some(Text::stored(&told));
        self.guard.hub.set_slow_mode(room, slow, told).await;
        Ok(done)
    }

    pub(super) async fn announce(&self, text: Text) -> Told {
        // The words are in front of everybody, not in the log.
        self.apply(Action::Announce).await.map_err(not_done)?;
        let words = format!("{} announces: {text}", self.actor);
        self.guard.hub.notify_all(Text::stored(&words)).await;
        Ok("Everybody was told.".into())
    }
}
