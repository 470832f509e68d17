//! Keeping order among those who are in.

use super::carry_out::{Act, because, failed, lasting};
use super::orders::BanWhom;
use crate::chat::access::{Ban, BanTarget, Lockdown, Mute, Role, Suspect};
use crate::chat::ids::Name;
use crate::store::people::RoleChangeError;
use crate::store::{Account, ClaimError};
use crate::text::Text;

/// What is told the one who gave an order, or why it could not be done.
type Told = Result<String, String>;

impl Act<'_> {
    pub(super) async fn kick(&self, name: Name, reason: Option<Text>) -> Told {
        let person = self.person(&name).await?;
        let because = because(reason.as_ref());
        let entry = self.entry("kick", name.as_str(), &because);
        self.guard.store.audit(&entry).await.map_err(failed)?;
        let words = Text::stored(&format!("You were asked to leave{because}"));
        let count = self.guard.hub.dismiss_account(person.id, words).await;
        Ok(match count {
            0 => format!("{name} is not online."),
            1 => format!("{name} was asked to leave."),
            count => format!("{name} was asked to leave, at {count} terminals."),
        })
    }

    pub(super) async fn ban(&self, whom: BanWhom, life: Option<u64>, reason: Option<Text>) -> Told {
        let target = self.ban_target(whom).await?;
        let shown = target.to_string();
        let detail = format!("{}{}", lasting(life), because(reason.as_ref()));
        let ban = Ban {
            id: 0,
            target,
            by: self.actor.name.to_string(),
            at: self.now,
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        self.spares_them(&ban)?;
        let entry = self.entry("ban", &shown, &detail);
        let id = self
            .guard
            .store
            .add_ban(&ban, &entry)
            .await
            .map_err(failed)?;
        Ok(format!("{shown} is banned{detail}. /unban {id} ends it."))
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
        let (addr, client) = (self.here.addr.to_canonical(), &self.here.client);
        let them = Suspect {
            account: Some(self.actor.id),
            key: self.here.key.as_ref(),
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
        let entry = self.entry("unban", &id.to_string(), "");
        if self
            .guard
            .store
            .remove_ban(id, &entry)
            .await
            .map_err(failed)?
        {
            Ok(format!("Ban {id} is ended."))
        } else {
            Err(format!("There is no ban {id}. /bans lists them."))
        }
    }

    pub(super) async fn mute(&self, name: Name, life: Option<u64>, reason: Option<Text>) -> Told {
        let person = self.person(&name).await?;
        let detail = format!("{}{}", lasting(life), because(reason.as_ref()));
        let mute = Mute {
            account: person.id,
            by: self.actor.name.to_string(),
            until: life.map(|life| self.now.plus(life)),
            reason,
        };
        let entry = self.entry("mute", name.as_str(), &detail);
        let muted = self.guard.store.set_mute(person.id, Some(&mute), &entry);
        muted.await.map_err(failed)?;
        Ok(format!("{name} can only listen{detail}."))
    }

    pub(super) async fn unmute(&self, name: Name) -> Told {
        let person = self.person(&name).await?;
        let entry = self.entry("unmute", name.as_str(), "");
        let unmuted = self.guard.store.set_mute(person.id, None, &entry);
        unmuted.await.map_err(failed)?;
        Ok(format!("{name} can speak again."))
    }

    pub(super) async fn rename(&self, name: Name, to: Name) -> Told {
        let person = self.person(&name).await?;
        match self.guard.store.rename(person.id, &to).await {
            Ok(()) => {}
            Err(ClaimError::Store(error)) => return Err(failed(error)),
            Err(error) => return Err(format!("{name} can't be {to}: {error}.")),
        }
        let entry = self.entry("rename", name.as_str(), to.as_str());
        self.guard.store.audit(&entry).await.map_err(failed)?;
        self.guard.hub.renamed(person.id, to.clone()).await;
        Ok(format!("{name} is {to} now."))
    }

    pub(super) async fn set_role(&self, name: Name, role: Role) -> Told {
        let person = self.person(&name).await?;
        if role < Role::Operator && self.set_by_configuration(&person).await? {
            return Err(format!(
                "{name} is an operator by the configuration: operator_keys names a key of theirs."
            ));
        }
        let entry = self.entry("role", name.as_str(), role.as_str());
        match self.guard.store.set_role(person.id, role, &entry).await {
            Ok(()) => Ok(format!("{name} is {role} now.")),
            Err(RoleChangeError::LastOperator) => Err(format!(
                "{name} is the last operator. Make another one first: /op NAME"
            )),
            Err(error) => Err(format!("Not done: {error}.")),
        }
    }

    async fn set_by_configuration(&self, person: &Account) -> Result<bool, String> {
        let keys = self.guard.store.keys_of(person.id).await.map_err(failed)?;
        let operators = &self.guard.rules().operator_keys;
        Ok(keys.iter().any(|key| operators.contains(&key.fingerprint)))
    }

    /// `None` ends it, `Some(None)` has no end.
    #[allow(
        clippy::option_option,
        reason = "off, for ever, or for a while: as it is typed"
    )]
    pub(super) async fn lockdown(&self, lockdown: Option<Option<u64>>) -> Told {
        let state = if lockdown.is_some() { "on" } else { "off" };
        let entry = self.entry("lockdown", state, &lasting(lockdown.flatten()));
        let wanted = lockdown.map(|life| Lockdown {
            by: self.actor.name.to_string(),
            until: life.map(|life| self.now.plus(life)),
        });
        let set = self.guard.store.set_lockdown(wanted.as_ref(), &entry);
        set.await.map_err(failed)?;
        Ok(match lockdown {
            Some(life) => format!("Nobody new is let in{}.", lasting(life)),
            None => "New people are let in again.".to_owned(),
        })
    }

    pub(super) async fn announce(&self, text: Text) -> Told {
        // The words are in front of everybody, not in the log.
        let entry = self.entry("announce", "everybody", "");
        self.guard.store.audit(&entry).await.map_err(failed)?;
        let words = format!("{} announces: {text}", self.actor.name);
        self.guard.hub.announce(Text::stored(&words)).await;
        Ok("Everybody was told.".into())
    }
}
