//! Orders that let people in: invites, pending keys, and a user's own keys.

use std::net::IpAddr;

use super::AdminService as _;
use super::execute::{OrderContext, failed};
use super::login::new_account;
use super::orders::OrderReply;
use crate::chat::access::{Issuer, KeyRecord, PendingKey, Role, network};
use crate::chat::ids::{Fingerprint, Name};
use crate::chat::invite::{Code, Invite, InviteId};
use crate::store::change::{MAX_DENIED, key_count};
use crate::store::{ChangeAction, ChangeError, ChangeOutcome};

/// The fewest characters after `SHA256:` that identify a pending key, or a key of one's own.
const MIN_PREFIX: usize = 6;

impl OrderContext<'_> {
    pub(super) async fn invite(
        &self,
        uses: u32,
        life: Option<u64>,
        role: Role,
    ) -> Result<OrderReply, String> {
        let code = Code::new(rand::random());
        let rules = self.access.rules();
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
        created.map_err(failed)?;
        let code = code.to_string();
        let link = rules.web_url.as_ref().map(|url| format!("{url}#{code}"));
        Ok(OrderReply::Invited { code, link, invite })
    }

    pub(super) async fn revoke_invite(&self, id: InviteId) -> Result<String, String> {
        match self.apply(ChangeAction::RevokeInvite(id.clone())).await {
            Ok(_) => Ok(format!("Invite {id} revoked.")),
            Err(ChangeError::NotFound) => {
                Err(format!("There is no invite {id}. /invite list shows them."))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn approve(
        &self,
        which: String,
        name: Option<Name>,
    ) -> Result<String, String> {
        let pending = self.pending_key(&which).await?;
        let name = name.unwrap_or_else(|| pending.name.clone());
        // The name may have been reserved since the request.
        name.can_be_chosen().map_err(|error| {
            format!("Failed: {error}. To choose another name: /approve KEY NAME")
        })?;
        self.answer_pending(ChangeAction::Approve {
            key: pending.key.fingerprint,
            account: new_account(name.clone(), Role::Member, self.now),
        })
        .await?;
        Ok(format!("{name} can join now."))
    }

    pub(super) async fn deny(&self, which: String) -> Result<String, String> {
        if which == "all" {
            return self.deny_all(which, |_| true).await;
        }
        if let Some(net) = network(&which) {
            return self.deny_all(which, |from| net.contains(&from)).await;
        }
        let pending = self.pending_key(&which).await?;
        self.answer_pending(ChangeAction::Deny {
            key: pending.key.fingerprint,
            name: pending.name.clone(),
        })
        .await?;
        Ok(format!("Request from {} denied.", pending.name))
    }

    /// Denies all pending keys from matching addresses, in as few transactions as the store allows.
    async fn deny_all(
        &self,
        which: String,
        from: impl Fn(IpAddr) -> bool + Send,
    ) -> Result<String, String> {
        let pending = self.access.store.pending(self.now).await.map_err(failed)?;
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
                // Another operator has answered them meanwhile.
                Ok(_) | Err(ChangeError::NotFound) => {}
                Err(error) if denied > 0 => {
                    return Err(format!(
                        "Denied {} of {}, then stopped: {error}. /deny {which} denies the rest.",
                        key_count(denied),
                        keys.len()
                    ));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        match denied {
            0 if which == "all" => Err("No pending requests.".into()),
            0 => Err(format!(
                "No pending requests from {which}. /pending lists them all."
            )),
            denied => Ok(format!("Denied {}.", key_count(denied))),
        }
    }

    /// The pending key with this name or fingerprint.
    async fn pending_key(&self, which: &str) -> Result<PendingKey, String> {
        let pending = self.access.store.pending(self.now).await.map_err(failed)?;
        let mut fitting = pending.into_iter().filter(|pending| {
            pending.name.as_str() == which || matches_prefix(&pending.key.fingerprint, which)
        });
        let found = fitting
            .next()
            .ok_or_else(|| format!("No pending request from {which}. /pending lists them all."))?;
        if fitting.next().is_some() {
            return Err(format!(
                "Several pending requests match {which}. Give the fingerprint: /pending lists them."
            ));
        }
        Ok(found)
    }

    async fn answer_pending(&self, action: ChangeAction) -> Result<(), String> {
        match self.apply(action).await {
            Ok(_) => Ok(()),
            Err(ChangeError::NotFound) => Err("Another operator has already answered.".into()),
            Err(ChangeError::Store(error)) => Err(failed(error)),
            Err(error) => Err(format!(
                "Failed: {error}. To choose another name: /approve KEY NAME"
            )),
        }
    }

    pub(super) async fn add_key(&self, key: KeyRecord) -> Result<String, String> {
        let own = self.own_account()?;
        let key_used = self.sender.and_then(|(_, sender)| sender.key.as_ref());
        let role = self.access.role(own.role, key_used);
        if role < self.access.rules().add_keys {
            return Err("Only operators can add keys here. Ask one.".into());
        }
        let fingerprint = key.fingerprint.clone();
        let claim = ChangeAction::ClaimKey {
            account: own.id,
            name: own.name.clone(),
            key,
        };
        match self.apply(claim).await.map_err(failed)? {
            ChangeOutcome::Unchanged => Ok(format!(
                "The key {fingerprint} is already yours, or waiting to be confirmed. /keys shows which."
            )),
            _ => Ok(format!(
                "The key {fingerprint} is waiting to be confirmed: connect with it from a terminal \
                 within 7 days, and type {} when asked.",
                own.name
            )),
        }
    }

    pub(super) async fn revoke_key(&self, which: String) -> Result<String, String> {
        let (store, own) = (&self.access.store, self.own_account()?);
        let keys = store.keys_of(own.id).await.map_err(failed)?;
        let claimed = store.claims_of(own.id, self.now).await;
        let claimed = claimed.map_err(failed)?;
        let mut fitting = keys
            .iter()
            .chain(&claimed)
            .map(|key| &key.fingerprint)
            .filter(|key| matches_prefix(key, &which));
        let (Some(key), None) = (fitting.next(), fitting.next()) else {
            return Err(format!(
                "None of your keys matches {which:?}. /keys lists them."
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
                Ok(format!("Key {key} is no longer waiting to be confirmed."))
            }
            Ok(_) => Ok(format!("Key {key} revoked.")),
            Err(ChangeError::LastKey) => Err(
                "That's your only key, and you couldn't log in without it. Add another first."
                    .into(),
            ),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Whether a fingerprint begins with `prefix`, which may lack `SHA256:`.
fn matches_prefix(key: &Fingerprint, prefix: &str) -> bool {
    let prefix = prefix.trim_start_matches(Fingerprint::ALGORITHM);
    prefix.len() >= MIN_PREFIX && key.hash().starts_with(prefix)
}
