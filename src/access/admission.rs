//! Letting people in: invites, keys that ask, one's own keys.

use super::carry_out::{Act, failed};
use super::judge::new_account;
use super::orders::Report;
use crate::chat::access::{Audit, KeyRecord, PendingKey, Role};
use crate::chat::ids::Name;
use crate::chat::invite::{Code, Invite};
use crate::store::people::KeyError;
use crate::store::{Account, ClaimError};

/// The fewest characters of a fingerprint that name a key.
const PREFIX: usize = 6;

impl Act<'_> {
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
            by: self.actor.name.to_string(),
            at: self.now,
        };
        let entry = self.entry(
            "invite_create",
            invite.id(),
            &format!("{uses} uses, {role}"),
        );
        let created = self.guard.store.create_invite(&invite, &entry);
        created.await.map_err(failed)?;
        let code = code.to_string();
        let link = rules.web_url.as_ref().map(|url| format!("{url}#{code}"));
        Ok(Report::Invited { code, link, invite })
    }

    pub(super) async fn revoke_invite(&self, id: String) -> Result<String, String> {
        let entry = self.entry("invite_revoke", &id, "");
        let revoked = self.guard.store.revoke_invite(&id, &entry);
        if revoked.await.map_err(failed)? {
            Ok(format!("The invite {id} is ended."))
        } else {
            Err(format!("There is no invite {id}. /invite list shows them."))
        }
    }

    pub(super) async fn approve(
        &self,
        which: String,
        name: Option<Name>,
    ) -> Result<String, String> {
        let waiting = self.waiting(&which).await?;
        let name = name.unwrap_or_else(|| waiting.name.clone());
        let account = new_account(name.clone(), Role::Member, self.now);
        let key = waiting.key.fingerprint.to_string();
        let entry = self.entry("approve", name.as_str(), &key);
        self.settle(&waiting, Some(&account), &entry).await?;
        Ok(format!("{name} can come in now."))
    }

    pub(super) async fn deny(&self, which: String) -> Result<String, String> {
        let waiting = self.waiting(&which).await?;
        let key = waiting.key.fingerprint.to_string();
        let entry = self.entry("deny", waiting.name.as_str(), &key);
        self.settle(&waiting, None, &entry).await?;
        Ok(format!("{} does not come in.", waiting.name))
    }

    /// The key that waits under this name or fingerprint.
    async fn waiting(&self, which: &str) -> Result<PendingKey, String> {
        let pending = self.guard.store.pending().await.map_err(failed)?;
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

    async fn settle(
        &self,
        waiting: &PendingKey,
        account: Option<&Account>,
        entry: &Audit,
    ) -> Result<(), String> {
        let key = &waiting.key.fingerprint;
        match self.guard.store.settle_pending(key, account, entry).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("Somebody else has answered already.".into()),
            Err(ClaimError::Store(error)) => Err(failed(error)),
            Err(error) => Err(format!(
                "Not done: {error}. /approve KEY NAME gives another name."
            )),
        }
    }

    pub(super) async fn add_key(&self, key: KeyRecord) -> Result<String, String> {
        let entry = self.entry("key_add", key.fingerprint.as_str(), "");
        match self.guard.store.add_key(self.actor.id, &key, &entry).await {
            Ok(()) => Ok(format!("The key {} is yours too now.", key.fingerprint)),
            Err(KeyError::Store(error)) => Err(failed(error)),
            Err(error) => Err(format!("Not done: {error}.")),
        }
    }

    pub(super) async fn revoke_key(&self, which: String) -> Result<String, String> {
        let keys = self.guard.store.keys_of(self.actor.id).await;
        let keys = keys.map_err(failed)?;
        let mut fitting = keys
            .iter()
            .map(|key| &key.fingerprint)
            .filter(|key| begins(key.as_str(), &which));
        let (Some(key), None) = (fitting.next(), fitting.next()) else {
            return Err(format!(
                "{which:?} names no key of yours. /keys lists them."
            ));
        };
        let entry = self.entry("key_revoke", key.as_str(), "");
        let removed = self
            .guard
            .store
            .remove_key(self.actor.id, key, false, &entry);
        match removed.await {
            Ok(()) => Ok(format!("The key {key} is not yours any more.")),
            Err(KeyError::Last) => Err(
                "It is your only key: without it you could never come back. Add another first."
                    .into(),
            ),
            Err(KeyError::Store(error)) => Err(failed(error)),
            Err(error) => Err(format!("Not done: {error}.")),
        }
    }
}

/// Whether a fingerprint begins like this, with or without `SHA256:`.
fn begins(fingerprint: &str, which: &str) -> bool {
    let bare = |text: &'_ str| text.trim_start_matches("SHA256:").to_owned();
    let which = bare(which);
    which.len() >= PREFIX && bare(fingerprint).starts_with(&which)
}
