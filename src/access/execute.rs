//! Executing orders: permission checks, the change in the store with its audit entry, then
//! enforcement on those who are online. The orders themselves are in `moderation` and `admission`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tracing::Instrument as _;

use super::authenticator::{AuthDecision, AuthRequest, AuthTicket, ClaimAnswer};
use super::login::LoginDecision;
use super::orders::{Order, OrderReply, Requester};
use super::{
    AccessControl, AdminService, Admission, MAX_ORDERS, Mode, NotAdmitted, StoreUnavailable,
};
use crate::chat::access::{
    Actor, Ban, BanSubject, BanTarget, Issuer, KeyRecord, Outranked, Permission, Rank, Role,
};
use crate::chat::ids::{AccountId, Fingerprint, FingerprintPrefix, Name, Time};
use crate::clock;
use crate::store::{Account, Change, ChangeAction, ChangeError, ChangeOutcome};

const NOT_REGISTERED: &str = "Your key is no longer registered here.";
const NOT_ALLOWED: &str = "Only operators can do that.";

/// How many keys an error lists when several have the same prefix.
const LISTED_KEYS: usize = 5;

#[async_trait]
impl AdminService for AccessControl {
    async fn execute(
        self: Arc<Self>,
        requester: Requester,
        order: Order,
    ) -> Result<OrderReply, String> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err("Failed: the server is stopping or overloaded.".into());
        };
        // A task of its own: the client may disconnect before the order is done.
        let work = async move {
            let _permit = permit;
            self.run_order(&requester, order).await
        };
        let done = tokio::spawn(work.in_current_span()).await;
        done.unwrap_or_else(|_panicked| {
            Err("Internal error: the order may be incomplete. See the server's log.".into())
        })
    }

    fn changes(&self) -> u64 {
        self.keys.generation()
    }

    async fn admit(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<Admission, NotAdmitted> {
        let LoginDecision { decision, owner } = self
            .decide(who, ticket)
            .await
            .map_err(|StoreUnavailable| NotAdmitted::Unavailable)?;
        match decision {
            AuthDecision::Accepted(_) => {
                let account = owner.into_account();
                if let (Some(account), Some(key)) = (&account, who.key) {
                    let proven = self.prove(account, key, clock::now()).await;
                    if !proven.map_err(|_unavailable| NotAdmitted::Unavailable)? {
                        return Err(NotAdmitted::Refused(NOT_REGISTERED.into()));
                    }
                }
                Ok(Admission {
                    account,
                    may_be_new: self.rules().mode == Mode::Open || self.is_configured_key(who.key),
                })
            }
            AuthDecision::AskInvite { .. } => Err(NotAdmitted::Refused(NOT_REGISTERED.into())),
            AuthDecision::Refused { notice, .. } => Err(NotAdmitted::Refused(notice)),
        }
    }

    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name> {
        self.claim_names(who).await
    }

    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        AccessControl::answer_claim(self, who, answer).await
    }

    async fn create_account(
        &self,
        who: AuthRequest<'_>,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<(), ChangeError> {
        let stamp = self.keys.stamp();
        let (id, name) = (account.id, account.name.clone());
        let create = ChangeAction::CreateAccount {
            account: account.clone(),
            key: key.clone(),
        };
        let change = Change::by(id, name, account.created, create);
        let created = self.apply(&change).await;
        match &created {
            Ok(_) => self.keys.learn(&key.fingerprint, Some(account), stamp),
            Err(ChangeError::NameTaken)
                if !account.name.is_guest() && !self.is_configured_key(who.key) =>
            {
                self.alert_unknown_key(who).await;
            }
            Err(_) => {}
        }
        created.map(|_outcome| ())
    }

    async fn is_name_free(&self, name: &Name) -> bool {
        match self.query(self.store.account_by_name(name)).await {
            Ok(owner) => owner.is_none(),
            Err(_) => !self.keys.has_name(name),
        }
    }

    fn role(&self, stored: Role, key: Option<&Fingerprint>) -> Role {
        match key {
            Some(key) if self.rules().has_operator_key(key) => Role::Operator,
            _ => stored,
        }
    }
}

/// The reply when a change was rejected, or the store failed.
pub(super) fn failed(error: impl std::fmt::Display) -> String {
    format!("Failed: {error}.")
}

impl AccessControl {
    /// Waits for all orders given so far. New ones are refused.
    pub async fn finish_orders(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let all = u32::try_from(MAX_ORDERS).unwrap_or(u32::MAX);
        let _all_done = self.permits.acquire_many(all).await;
        self.permits.close();
    }

    /// Executes an order from the server's console, which outranks everyone. The change is saved; a
    /// running server finds it in the store and enforces it.
    ///
    /// # Errors
    /// A sentence for the user, if the order failed or needs the running server.
    pub async fn execute_at_console(&self, order: Order) -> Result<OrderReply, String> {
        let instead = match &order {
            Order::Kick(name, _) => {
                format!("To end {name}'s sessions: ssh-chat admin ban {name} 1m")
            }
            Order::RemoveRoom(room) => {
                format!("Connect as an operator: ssh HOST remove-room {room}")
            }
            Order::Announce(_) => "Connect as an operator: ssh HOST announce TEXT".to_owned(),
            Order::Status => "Connect as an operator: ssh HOST status. To check the server's \
                              environment: ssh-chat doctor"
                .to_owned(),
            _ => {
                let context = OrderContext {
                    access: self,
                    actor: Actor::Console,
                    rank: Rank::Console,
                    sender: None,
                    now: clock::now(),
                };
                return context.run(order).await;
            }
        };
        Err(format!("Only the running server can do that. {instead}"))
    }

    async fn run_order(&self, requester: &Requester, order: Order) -> Result<OrderReply, String> {
        let Some(key) = &requester.key else {
            return Err("That needs an SSH key, and you connected without one.".into());
        };
        let account = match order {
            // Also answered during an outage.
            Order::Status => self.key_owner(key, clock::now()).await.into_account(),
            _ => self.store.account_by_key(key).await.map_err(failed)?,
        };
        let account = account.ok_or(NOT_REGISTERED)?;
        if order.needs_operator() && self.role(account.role, Some(key)) < Role::Operator {
            return Err(NOT_ALLOWED.into());
        }
        let must_enforce = order.must_enforce();
        let context = OrderContext {
            access: self,
            actor: Actor::Account(account.id, account.name.clone()),
            rank: Rank::of(account.role, self.rules().has_operator_key(key)),
            sender: Some((&account, requester)),
            now: clock::now(),
        };
        let reply = context.run(order).await?;
        if must_enforce {
            self.keys.doubt();
            if let Err(error) = self.refresh().await {
                // It's saved; the watch tries again to enforce it.
                tracing::error!(event = "enforcement_failed", %error, "order saved but not enforced yet; retrying");
                self.outage.failed(&error);
            }
        }
        Ok(reply)
    }
}

/// An order while it is executed: who gives it, and with which rights.
pub(super) struct OrderContext<'a> {
    pub access: &'a AccessControl,
    pub actor: Actor,
    /// By the role that the store has now, and the key of the connection.
    pub rank: Rank,
    /// The actor's account as the store has it now, and their connection; `None` at the console.
    pub sender: Option<(&'a Account, &'a Requester)>,
    pub now: Time,
}

impl OrderContext<'_> {
    async fn run(&self, order: Order) -> Result<OrderReply, String> {
        let store = &self.access.store;
        let done = match order {
            Order::Bans => {
                let bans = store.bans(self.now).await.map_err(failed)?;
                return Ok(OrderReply::Bans(bans));
            }
            Order::Invites => {
                let invites = store.invites(self.now).await.map_err(failed)?;
                return Ok(OrderReply::Invites(invites));
            }
            Order::Pending => {
                let pending = store.pending(self.now).await.map_err(failed)?;
                return Ok(OrderReply::Pending(pending));
            }
            Order::Keys => {
                let own = self.own_account()?.id;
                return Ok(OrderReply::Keys {
                    keys: store.keys_of(own).await.map_err(failed)?,
                    claimed: store.claims_of(own, self.now).await.map_err(failed)?,
                });
            }
            Order::Audit(count) => {
                let entries = store.audits(count).await.map_err(failed)?;
                return Ok(OrderReply::Audit(entries));
            }
            Order::Status => {
                let status = self.access.status().await?;
                return Ok(OrderReply::Status(Box::new(status)));
            }
            Order::Invite { uses, life, role } => return self.invite(uses, life, role).await,
            Order::Kick(name, reason) => self.kick(name, reason).await,
            Order::Ban(target, life, reason) => self.ban(target, life, reason).await,
            Order::Unban(id) => self.unban(id).await,
            Order::Mute(name, life, reason) => self.mute(name, life, reason).await,
            Order::Unmute(name) => self.unmute(name).await,
            Order::Rename(name, to) => self.rename(name, to).await,
            Order::SetRole(name, role) => self.set_role(name, role).await,
            Order::Lockdown(scope, life) => self.lockdown(scope, life).await,
            Order::EndLockdown => self.end_lockdown().await,
            Order::Slow(room, interval) => self.slow_mode(room, interval).await,
            Order::Purge(target, millis) => self.purge(target, millis).await,
            Order::RemoveRoom(room) => self.remove_room(room).await,
            Order::Announce(text) => self.announce(text).await,
            Order::RevokeInvite(id) => self.revoke_invite(id).await,
            Order::Approve(which, name) => self.approve(which, name).await,
            Order::Deny(which) => self.deny(which).await,
            Order::AddKey(key) => self.add_key(*key).await,
            Order::RevokeKey(which) => self.revoke_key(which).await,
        };
        done.map(OrderReply::Done)
    }

    /// Applies a change on behalf of the actor.
    pub(super) async fn apply(&self, action: ChangeAction) -> Result<ChangeOutcome, ChangeError> {
        self.access.apply(&self.change(action)).await
    }

    /// A change on behalf of the actor.
    pub(super) fn change(&self, action: ChangeAction) -> Change {
        Change {
            at: self.now,
            actor: self.actor.clone(),
            action,
        }
    }

    /// How the actor would type another order.
    pub(super) fn typed(&self, order: &str) -> String {
        match self.sender {
            Some(_) => format!("/{order}"),
            None => format!("ssh-chat admin {order}"),
        }
    }

    /// The actor's account.
    pub(super) fn own_account(&self) -> Result<&Account, String> {
        let own = self.sender.map(|(account, _)| account);
        own.ok_or_else(|| {
            "The console has no keys of its own. To manage accounts' keys: ssh-chat keys".into()
        })
    }

    fn is_own(&self, account: AccountId) -> bool {
        self.actor.account() == Some(account)
    }

    /// The account of this name, online or not.
    pub(super) async fn account(&self, name: &Name) -> Result<Account, String> {
        let found = self.access.store.account_by_name(name).await;
        match found.map_err(failed)? {
            Some(account) if account.name == *name => Ok(account),
            // The store also finds look-alikes and former names.
            Some(account) => Err(format!(
                "No account named {name}. Did you mean {}?",
                account.name
            )),
            None if self.sender.is_none() => Err(format!(
                "No account named {name}. ssh-chat keys list shows all accounts."
            )),
            None => Err(format!(
                "No account named {name}. Ban a guest by address: /whois {name} shows it."
            )),
        }
    }

    /// The account of this name, if the actor may restrict it: it ranks below them, or is their
    /// own.
    pub(super) async fn restrictable_account(&self, name: &Name) -> Result<Account, String> {
        let account = self.account(name).await?;
        self.check_restrict(&account).await?;
        Ok(account)
    }

    async fn check_restrict(&self, account: &Account) -> Result<(), String> {
        if self.is_own(account.id) {
            return Ok(());
        }
        let rank = self.rank_of(account).await?;
        let checked = self.rank.check(Permission::Restrict, rank);
        checked.map_err(|outranked| not_allowed(&account.name.to_string(), outranked))
    }

    /// Checks whether the actor may lift or replace what `issuer` decided. `what` names it in the
    /// error, such as `ban 3`.
    pub(super) async fn check_lift(&self, issuer: &Issuer, what: &str) -> Result<(), String> {
        let rank = match issuer {
            Issuer::Console => Rank::Console,
            Issuer::Unverified(_) => Rank::Guest,
            Issuer::Account(name) => {
                let account = self.access.store.account_by_name(name).await;
                match account.map_err(failed)? {
                    Some(account) if self.is_own(account.id) => return Ok(()),
                    Some(account) => self.rank_of(&account).await?,
                    None => Rank::Guest,
                }
            }
        };
        let checked = self.rank.check(Permission::Lift, rank);
        checked.map_err(|outranked| match outranked.rank() {
            Rank::Console => format!(
                "Not allowed: {what} was set on the server's console and can only be lifted \
                 there: ssh-chat admin."
            ),
            _ => format!("Not allowed: {what} was set by {issuer}, who {outranked}."),
        })
    }

    /// Checks whether the actor may set a ban. It may match neither themselves, who could not undo
    /// it, nor anyone of their rank or above: the owner of a key, online or not; for a network or a
    /// client, those who are online.
    pub(super) async fn check_ban(&self, ban: &Ban) -> Result<(), String> {
        self.check_not_self(ban)?;
        if self.rank == Rank::Console {
            return Ok(());
        }
        match &ban.target {
            // [`OrderContext::restrictable_account`] has checked.
            BanTarget::Account(..) => Ok(()),
            BanTarget::Key(key) => {
                let owner = self.access.store.account_by_key(key).await;
                match owner.map_err(failed)? {
                    Some(owner) => self.check_restrict(&owner).await,
                    None if self.access.rules().has_operator_key(key) => self
                        .rank
                        .check(Permission::Restrict, Rank::Configured)
                        .map_err(|outranked| {
                            not_allowed(&format!("the owner of {key}"), outranked)
                        }),
                    None => Ok(()),
                }
            }
            BanTarget::Network(_) | BanTarget::Client(_) => self.check_ban_online(ban).await,
        }
    }

    fn check_not_self(&self, ban: &Ban) -> Result<(), String> {
        let Some((account, requester)) = self.sender else {
            return Ok(());
        };
        let (addr, client) = (requester.addr.to_canonical(), &requester.client);
        let own = BanSubject {
            account: Some(account.id),
            key: requester.key.as_ref(),
            addr,
            client,
            // Their next connection would be refused before they could prove their key.
            configured: false,
        };
        if !ban.matches(own) {
            return Ok(());
        }
        Err(match ban.target {
            BanTarget::Account(..) => "That's you.".to_owned(),
            BanTarget::Key(_) => "That's your own key.".to_owned(),
            BanTarget::Network(_) => {
                format!("That would ban you too: you're connected from {addr}.")
            }
            BanTarget::Client(_) => {
                format!("That would ban you too: your client is {client}.")
            }
        })
    }

    async fn check_ban_online(&self, ban: &Ban) -> Result<(), String> {
        let online = self.access.hub.online().await.into_iter();
        let matching = online.filter(|online| {
            ban.matches(BanSubject::online(online, false)) && !self.is_own(online.account)
        });
        let matching: Vec<_> = matching.collect();
        if matching.is_empty() {
            return Ok(());
        }
        let configured = self.configured_accounts().await?;
        for online in matching {
            let rank = Rank::of(online.role, configured.contains(&online.account));
            if let Err(outranked) = self.rank.check(Permission::Restrict, rank) {
                return Err(format!(
                    "Not allowed: that would ban {}, who is online and {outranked}.",
                    online.name
                ));
            }
        }
        Ok(())
    }

    /// The proven accounts with a key that the configuration names.
    async fn configured_accounts(&self) -> Result<HashSet<AccountId>, String> {
        let mut accounts = HashSet::new();
        for key in &self.access.rules().operator_keys {
            let owner = self.access.store.account_by_key(key).await;
            let owner = owner.map_err(failed)?.filter(Account::is_proven);
            accounts.extend(owner.map(|owner| owner.id));
        }
        Ok(accounts)
    }

    /// Whether an account is proven and has a key that the configuration names.
    pub(super) async fn is_configured(&self, account: &Account) -> Result<bool, String> {
        let keys = self.access.store.keys_of(account.id).await;
        let rules = self.access.rules();
        let mut keys = keys.map_err(failed)?.into_iter();
        Ok(account.is_proven() && keys.any(|key| rules.has_operator_key(&key.fingerprint)))
    }

    /// The rank of an account, online or not. An account that is not proven is a member at most.
    async fn rank_of(&self, account: &Account) -> Result<Rank, String> {
        if !account.is_proven() {
            return Ok(Rank::Member);
        }
        let configured = self.is_configured(account).await?;
        Ok(Rank::of(account.role, configured))
    }

    /// The one known key with this prefix: an account's, a pending one, or one that is online.
    pub(super) async fn known_key(
        &self,
        prefix: &FingerprintPrefix,
    ) -> Result<Fingerprint, String> {
        let store = &self.access.store;
        let mut found = BTreeMap::new();
        for online in self.access.hub.online().await {
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
        found.retain(|key, _| prefix.matches(key));
        let count = found.len();
        let listed = found.iter().take(LISTED_KEYS);
        let listed: Vec<String> = listed
            .map(|(key, name)| format!("{key} ({name})"))
            .collect();
        match (found.pop_first(), count) {
            (Some((key, _)), 1) => Ok(key),
            (None, _) => Err(format!(
                "No known key begins with {prefix}. To ban an unknown key, give the whole \
                 fingerprint: SHA256: and 43 characters."
            )),
            (Some(_), _) => Err(format!(
                "{count} known keys begin with {prefix}: {}{}. Type more characters.",
                listed.join(", "),
                if count > LISTED_KEYS { ", …" } else { "" }
            )),
        }
    }
}

fn not_allowed(who: &str, outranked: Outranked) -> String {
    format!("Not allowed: {who} {outranked}.")
}
