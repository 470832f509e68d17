//! Letting people in: invites, keys that ask, one's own keys.

use std::net::IpAddr;

use super::AdminService as _;
use super::authenticate::new_account;
use super::carry_out::{OrderContext, failed, not_done};
use super::orders::Report;
use crate::chat::access::{Issuer, KeyRecord, PendingKey, Role, network};
use crate::chat::ids::{Fingerprint, Name};
use crate::chat::invite::{Code, Invite, InviteId};
use crate::store::change::{MAX_DENIED, key_count};
use crate::store::{ChangeAction, ChangeError, ChangeOutcome};

/// The fewest characters of a fingerprint that name a key.
const PREFIX: usize = 6;

impl OrderContext<'_> {
    pub(super) async fn invite(
        &self,
        uses: u32,
        life: Option<u64>,
        role: Role,
    ) -> Result<Report, String> {
        let code = Code::new(rand::random());
        let rules = self.guard.rules();
        let invite = Invite {
            hash: code.hash(),
            role,
            left: uses,
            uses,
            expires: self.now.plus(life.unwrap_or(rules.invite_life)),
            by: Issuer::from(&self.actor),
            at: self.now,
        };
        let created = self.apply(ChangeAction::CreateInvite(invite.clone())).await;
        created.map_err(not_done)?;
        let code = code.to_string();
        let link = rules.web_url.as_ref().map(|url| format!("{url}#{code}"));
        Ok(Report::Invited { code, link, invite })
    }

    pub(super) async fn revoke_invite(&self, id: InviteId) -> Result<String, String> {
        match self.apply(ChangeAction::RevokeInvite(id.clone())).await {
            Ok(_) => Ok(format!("The invite {id} is ended.")),
            Err(ChangeError::NotFound) => {
                Err(format!("There is no invite {id}. /invite list shows them."))
            }
            Err(error) => Err(not_done(error)),
        }
    }

    pub(super) async fn approve(
        &self,
        which: String,
        name: Option<Name>,
    ) -> Result<String, String> {
        let waiting = self.waiting(&which).await?;
        let name = name.unwrap_or_else(|| waiting.name.clone());
        // It may have waited since before the name was reserved.
        name.can_be_chosen()
            .map_err(|error| format!("Not done: {error}. /approve KEY NAME gives another name."))?;
        self.settle(ChangeAction::Approve {
            key: waiting.key.fingerprint,
            account: new_account(name.clone(), Role::Member, self.now),
        })
        .await?;
        Ok(format!("{name} can come in now."))
    }

    pub(super) async fn deny(&self, which: String) -> Result<String, String> {
        if which == "all" {
            return self.deny_all(which, |_| true).await;
        }
        if let Some(net) = network(&which) {
            return self.deny_all(which, |from| net.contains(&from)).await;
        }
        let waiting = self.waiting(&which).await?;
        self.settle(ChangeAction::Deny {
            key: waiting.key.fingerprint,
            name: waiting.name.clone(),
        })
        .await?;
        Ok(format!("{} does not come in.", waiting.name))
    }

    /// Denies all keys that wait from such addresses, in as few transactions as the stores take.
    async fn deny_all(
        &self,
        which: String,
        from: impl Fn(IpAddr) -> bool + Send,
    ) -> Result<String, String> {
        let pending = self.guard.store.pending(self.now).await.map_err(failed)?;
        let keys = pending.into_iter().filter(|pending| from(pending.from));
        let keys: Vec<Fingerprint> = keys.map(|pending| pending.key.fingerprint).collect();
        let mut denied = 0;
        for some in keys.chunks(MAX_DENIED) {
            let deny = ChangeAction::DenyAll {
                keys: some.to_vec(),
                which: which.clone(),
            };
            match self.apply(deny).await {
                Ok(ChangeOutcome::Denied(count)) => denied += count,
                // Others have answered them meanwhile.
                Ok(_) | Err(ChangeError::NotFound) => {}
                Err(error) if denied > 0 => {
                    return Err(format!(
                        "Denied {} of {}, then it failed: {error}. /deny {which} denies the rest.",
                        key_count(denied),
                        keys.len()
                    ));
                }
                Err(error) => return Err(not_done(error)),
            }
        }
        match denied {
            0 if which == "all" => Err("No key waits.".into()),
            0 => Err(format!(
                "No key from {which} waits. /pending lists those that do."
            )),
            denied => Ok(format!("Denied {}.", key_count(denied))),
        }
    }

    /// The key that waits under this name or fingerprint.
    async fn waiting(&self, which: &str) -> Result<PendingKey, String> {
        let pending = self.guard.store.pending(self.now).await.map_err(failed)?;
        let mut fitting = pending.into_iter().filter(|pending| {
            pending.name.as_str() == which || begins(pending.key.fingerprint.as_str(), which)
        });
        let found = fitting
            .next()
            .ok_or_else(|| format!("Nobody called {which} waits. /pending lists who does."))?;
        if fitting.next().is_some() {
            return Err(format!(
                "Several wait under {which}. Name the fingerprint: /pending lists them."
            ));
        }
        Ok(found)
    }

    async fn settle(&self, action: ChangeAction) -> Result<(), String> {
        match self.apply(action).await {
            Ok(_) => Ok(()),
            Err(ChangeError::NotFound) => Err("Somebody else has answered already.".into()),
            Err(ChangeError::Store(error)) => Err(failed(error)),
            Err(error) => Err(format!(
                "Not done: {error}. /approve KEY NAME gives another name."
            )),
        }
    }

    pub(super) async fn add_key(&self, key: KeyRecord) -> Result<String, String> {
        let own = self.own()?;
        let key_used = self.sender.and_then(|(_, sender)| sender.key.as_ref());
        let role = self.guard.role(own.role, key_used);
        if role < self.guard.rules().add_keys {
            return Err("Only operators add keys here. Ask one.".into());
        }
        let fingerprint = key.fingerprint.clone();
        let claim = ChangeAction::ClaimKey {
            account: own.id,
            name: own.name.clone(),
            key,
        };
        match self.apply(claim).await.map_err(not_done)? {
            ChangeOutcome::Unchanged => Ok(format!(
                "The key {fingerprint} is yours already, or waits for its owner. /keys shows which."
            )),
            _ => Ok(format!(
                "The key {fingerprint} waits for its owner: within 7 days, connect with it from a \
                 terminal, and type {} when asked.",
                own.name
            )),
        }
    }

    pub(super) async fn revoke_key(&self, which: String) -> Result<String, String> {
        let (store, own) = (&self.guard.store, self.own()?);
        let keys = store.keys_of(own.id).await.map_err(failed)?;
        let claimed = store.claims_of(own.id, self.now).await;
        let claimed = claimed.map_err(failed)?;
        let mut fitting = keys
            .iter()
            .chain(&claimed)
            .map(|key| &key.fingerprint)
            .filter(|key| begins(key.as_str(), &which));
        let (Some(key), None) = (fitting.next(), fitting.next()) else {
            return Err(format!(
                "{which:?} names no key of yours. /keys lists them."
            ));
        };
        let remove = ChangeAction::RemoveKey {
            account: own.id,
            name: own.name.clone(),
            key: key.clone(),
            last: false,
        };
        match self.apply(remove).await {
            Ok(_) if claimed.iter().any(|claimed| claimed.fingerprint == *key) => {
                Ok(format!("The key {key} waits for its owner no longer."))
            }
            Ok(_) => Ok(format!("The key {key} is not yours any more.")),
            Err(ChangeError::LastKey) => Err(
                "It is your only key: without it you could never come back. Add another first."
                    .into(),
            ),
            Err(error) => Err(not_done(error)),
        }
    }
}

/// Whether a fingerprint begins like this, with or without `SHA256:`.
fn begins(fingerprint: &str, which: &str) -> bool {
    let bare = |text: &'_ str| text.trim_start_matches("SHA256:").to_owned();
    let which = bare(which);
    which.len() >= PREFIX && bare(fingerprint).starts_with(&which)
}
