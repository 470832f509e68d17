//! Keeping order among those who are in.

use std::time::Duration;

use super::carry_out::{OrderContext, failed, not_done};
use super::orders::BanWhom;
use crate::chat::access::{Ban, BanTarget, Lockdown, LockdownScope, Mute, Role, Suspect};
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
        let person = self.person(&name).await?;
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
            by: self.actor.name.to_string(),
            at: self.now,
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        self.spares_them(&ban)?;
        match self.apply(Action::Ban(ban)).await.map_err(not_done)? {
            ChangeOutcome::Banned(id) => {
                Ok(format!("{shown} is banned{detail}. /unban {id} ends it."))
            }
            _ => Ok(format!("{shown} is banned{detail}.")),
        }
    }

    async fn ban_target(&self, whom: BanWhom) -> Result<BanTarget, String> {
        Ok(match whom {
            BanWhom::Person(name) => {
                let person = self.person(&name).await?;
                BanTarget::Account(person.id, person.name)
            }
            BanWhom::Key(key) => BanTarget::Key(key),
            BanWhom::Network(net) => BanTarget::Network(net),
            BanWhom::Client(client) => BanTarget::Client(client),
        })
    }

    /// Whoever bans themselves is out at once, and could not take it back.
    fn spares_them(&self, ban: &Ban) -> Result<(), String> {
        let (addr, client) = (self.requester.addr.to_canonical(), &self.requester.client);
        let them = Suspect {
            account: Some(self.actor.id),
            key: self.requester.key.as_ref(),
            addr,
            client,
        };
        if !ban.hits(them) {
            return Ok(());
        }
        Err(match ban.target {
            BanTarget::Account(..) => "That is you.".to_owned(),
            BanTarget::Key(_) => "That is your own key.".to_owned(),
            BanTarget::Network(_) => {
                format!("You would be out yourself: you come from {addr}.")
            }
            BanTarget::Client(_) => {
                format!("You would be out yourself: your client says that it is {client}.")
            }
        })
    }

    pub(super) async fn unban(&self, id: u64) -> Told {
        match self.apply(Action::Unban(id)).await {
            Ok(_) => Ok(format!("Ban {id} is ended.")),
            Err(ChangeError::NotFound) => Err(format!("There is no ban {id}. /bans lists them.")),
            Err(error) => Err(not_done(error)),
        }
    }

    pub(super) async fn mute(&self, name: Name, life: Option<u64>, reason: Option<Text>) -> Told {
        let person = self.person(&name).await?;
        let detail = with_reason(&lasting(life), reason.as_ref());
        let mute = Mute {
            account: person.id,
            by: self.actor.name.to_string(),
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
        let unmute = Action::Unmute {
            account: person.id,
            name: name.clone(),
        };
        match self.apply(unmute).await.map_err(not_done)? {
            ChangeOutcome::Unchanged => Ok(format!("{name} is not muted.")),
            _ => Ok(format!("{name} can speak again.")),
        }
    }

    pub(super) async fn rename(&self, name: Name, to: Name) -> Told {
        let person = self.person(&name).await?;
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
        Ok(format!("{name} is now known as {to}."))
    }

    pub(super) async fn set_role(&self, name: Name, role: Role) -> Told {
        let person = self.person(&name).await?;
        if role < Role::Operator && self.set_by_configuration(&person).await? {
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
                "{name} is the last operator. Make another one first: /op NAME"
            )),
            Err(error) => Err(not_done(error)),
        }
    }

    async fn set_by_configuration(&self, person: &Account) -> Result<bool, String> {
        let keys = self.guard.store.keys_of(person.id).await.map_err(failed)?;
        let operators = &self.guard.rules().operator_keys;
        Ok(keys.iter().any(|key| operators.contains(&key.fingerprint)))
    }

    pub(super) async fn lockdown(&self, scope: LockdownScope, life: Option<u64>) -> Told {
        let lockdown = Lockdown {
            scope,
            by: self.actor.name.to_string(),
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
                self.guard.hub.set_slow(room.clone(), slow, None).await;
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
        let by = &self.actor.name;
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
        self.guard.hub.set_slow(room, slow, told).await;
        Ok(done)
    }

    pub(super) async fn announce(&self, text: Text) -> Told {
        // The words are in front of everybody, not in the log.
        self.apply(Action::Announce).await.map_err(not_done)?;
        let words = format!("{} announces: {text}", self.actor.name);
        self.guard.hub.announce(Text::stored(&words)).await;
        Ok("Everybody was told.".into())
    }
}
