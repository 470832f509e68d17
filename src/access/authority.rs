//! Who may order what about whom: every order that takes something from somebody, or ends what
//! somebody decided, passes here. [`Rank::may`] has the rule.

use std::collections::{BTreeMap, HashSet};

use super::carry_out::{OrderContext, failed};
use crate::chat::access::{Ban, BanSubject, BanTarget, Deed, Issuer, Rank};
use crate::chat::ids::{AccountId, Fingerprint, FingerprintPrefix, Name};
use crate::store::Account;

/// How many keys are named when several begin alike.
const NAMED: usize = 5;

impl OrderContext<'_> {
    /// The account of this name, if whoever gives the order may restrict it: it stands below them,
    /// or is their own.
    pub(super) async fn subject(&self, name: &Name) -> Result<Account, String> {
        let person = self.person(name).await?;
        self.may_restrict(&person).await?;
        Ok(person)
    }

    async fn may_restrict(&self, person: &Account) -> Result<(), String> {
        if self.is_own(person.id) {
            return Ok(());
        }
        let rank = self.rank_of(person).await?;
        let judged = self.rank.may(Deed::Restrict, rank);
        judged.map_err(|outranked| format!("Not done: {} {outranked}.", person.name))
    }

    /// Whether whoever gives the order may end or replace what `issuer` decided; `what` is that, as
    /// it stands in a sentence.
    pub(super) async fn may_lift(&self, issuer: &Issuer, what: &str) -> Result<(), String> {
        let rank = match issuer {
            Issuer::Console => Rank::Console,
            Issuer::Unverified(_) => Rank::Guest,
            Issuer::Account(name) => {
                let store = &self.guard.store;
                match store.account_by_name(name).await.map_err(failed)? {
                    Some(person) if self.is_own(person.id) => return Ok(()),
                    Some(person) => self.rank_of(&person).await?,
                    None => Rank::Guest,
                }
            }
        };
        let judged = self.rank.may(Deed::Lift, rank);
        judged.map_err(|outranked| match outranked.rank() {
            Rank::Console => format!(
                "Not done: {what} comes from the server's console, and ends only there: ssh-chat admin."
            ),
            _ => format!("Not done: {what} comes from {issuer}, who {outranked}."),
        })
    }

    /// Whether whoever gives the order may ban somebody: neither themselves, who would be out
    /// at once and could not take it back, nor anybody of their rank or above. A key is judged
    /// by its owner, online or not; a network and a client by who is online.
    pub(super) async fn may_ban(&self, ban: &Ban) -> Result<(), String> {
        self.spares_them(ban)?;
        if self.rank == Rank::Console {
            return Ok(());
        }
        match &ban.target {
            // [`OrderContext::subject`] has judged.
            BanTarget::Account(..) => Ok(()),
            BanTarget::Key(key) => {
                let owner = self.guard.store.account_by_key(key).await;
                match owner.map_err(failed)? {
                    Some(owner) => self.may_restrict(&owner).await,
                    None if self.guard.rules().names(key) => {
                        let judged = self.rank.may(Deed::Restrict, Rank::Configured);
                        judged.map_err(|outranked| {
                            format!("Not done: the owner of {key} {outranked}.")
                        })
                    }
                    None => Ok(()),
                }
            }
            BanTarget::Network(_) | BanTarget::Client(_) => self.may_ban_crowd(ban).await,
        }
    }

    /// Whoever bans themselves is out at once, and could not take it back.
    fn spares_them(&self, ban: &Ban) -> Result<(), String> {
        let Some((account, requester)) = self.sender else {
            return Ok(());
        };
        let (addr, client) = (requester.addr.to_canonical(), &requester.client);
        let them = BanSubject {
            account: Some(account.id),
            key: requester.key.as_ref(),
            addr,
            client,
            // Their next connection would be refused before they could prove who they are.
            configured: false,
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

    async fn may_ban_crowd(&self, ban: &Ban) -> Result<(), String> {
        let online = self.guard.hub.online().await;
        let hit = online.into_iter().filter(|online| {
            let who = BanSubject {
                account: Some(online.account),
                key: online.key.as_ref(),
                addr: online.addr,
                client: &online.client,
                configured: false,
            };
            ban.hits(who) && !self.is_own(online.account)
        });
        let hit: Vec<_> = hit.collect();
        if hit.is_empty() {
            return Ok(());
        }
        let configured = self.configured().await?;
        for online in hit {
            let rank = Rank::of(online.role, configured.contains(&online.account));
            if let Err(outranked) = self.rank.may(Deed::Restrict, rank) {
                let name = &online.name;
                return Err(format!(
                    "Not done: it would be about {name}, who is online and {outranked}."
                ));
            }
        }
        Ok(())
    }

    /// The accounts of which the configuration names a key.
    async fn configured(&self) -> Result<HashSet<AccountId>, String> {
        let mut accounts = HashSet::new();
        let rules = self.guard.rules();
        for key in &rules.operator_keys {
            let owner = self.guard.store.account_by_key(key).await;
            if let Some(owner) = owner.map_err(failed)?
                && owner.is_proven()
            {
                accounts.insert(owner.id);
            }
        }
        Ok(accounts)
    }

    /// Whether the configuration names any of the account's keys.
    pub(super) async fn is_configured(&self, person: &Account) -> Result<bool, String> {
        let keys = self.guard.store.keys_of(person.id).await.map_err(failed)?;
        let rules = self.guard.rules();
        Ok(person.is_proven() && keys.iter().any(|key| rules.names(&key.fingerprint)))
    }

    /// How far up somebody stands, online or not. Who has not proven to be somebody is a member at
    /// the most.
    async fn rank_of(&self, person: &Account) -> Result<Rank, String> {
        if !person.is_proven() {
            return Ok(Rank::Member);
        }
        let configured = self.is_configured(person).await?;
        Ok(Rank::of(person.role, configured))
    }

    /// The one known key that begins like this: an account's, one that waits, or one of somebody
    /// who is online.
    pub(super) async fn known_key(
        &self,
        prefix: &FingerprintPrefix,
    ) -> Result<Fingerprint, String> {
        let store = &self.guard.store;
        let mut found = BTreeMap::new();
        for online in self.guard.hub.online().await {
            found.extend(online.key.map(|key| (key, online.name)));
        }
        for pending in store.pending(self.now).await.map_err(failed)? {
            found.insert(pending.key.fingerprint, pending.name);
        }
        let accounts = store.accounts_with_keys().await.map_err(failed)?;
        for (account, keys) in accounts.into_iter().flatten() {
            for key in keys {
                found.insert(key.fingerprint, account.name.clone());
            }
        }
        found.retain(|key, _| prefix.begins(key));
        let named: Vec<String> = found
            .iter()
            .take(NAMED)
            .map(|(key, name)| format!("{key} ({name})"))
            .collect();
        let count = found.len();
        match (found.pop_first(), count) {
            (Some((key, _)), 1) => Ok(key),
            (None, _) => Err(format!(
                "No known key begins with {prefix}. To ban one that was never here, give all of it: \
                 SHA256: and 43 characters."
            )),
            (Some(_), _) => Err(format!(
                "{count} known keys begin with {prefix}: {}{}. Give more of it.",
                named.join(", "),
                if count > NAMED { ", …" } else { "" }
            )),
        }
    }
}
