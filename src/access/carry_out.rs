//! Carrying out orders: the store first, with an audit entry, then those who are online.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tracing::Instrument as _;

use super::authenticate::NotNow;
use super::authenticator::{AuthDecision, AuthRequest, AuthTicket, ClaimAnswer};
use super::orders::{Order, Report, Requester};
use super::{AccessControl, AdminService, Admission, Mode, NotAdmitted, ORDERS};
use crate::chat::access::{Actor, KeyRecord, Rank, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::clock;
use crate::store::{Account, Change, ChangeAction, ChangeError, ChangeOutcome, StoreError};

const NOT_REGISTERED: &str = "Your key is not registered here any more.";
const NOT_ALLOWED: &str = "That is for operators.";

#[async_trait]
impl AdminService for AccessControl {
    async fn carry_out(
        self: Arc<Self>,
        requester: Requester,
        order: Order,
    ) -> Result<Report, String> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err("Not done: the server is stopping, or too busy.".into());
        };
        // A task of its own: the connection that gave the order may be gone before it is done.
        let work = async move {
            let _permit = permit;
            self.execute(&requester, order).await
        };
        let done = tokio::spawn(work.in_current_span()).await;
        done.unwrap_or_else(|_panicked| {
            Err("Not done, or not completely: internal error. The server's log has it.".into())
        })
    }

    fn changes(&self) -> u64 {
        self.known.generation()
    }

    async fn admit(
        &self,
        who: AuthRequest<'_>,
        ticket: Option<Box<AuthTicket>>,
    ) -> Result<Admission, NotAdmitted> {
        let looked = self.look(who, ticket).await;
        let looked = looked.map_err(|NotNow| NotAdmitted::NotNow)?;
        match looked.decision {
            AuthDecision::Accepted(_) => {
                let account = looked.into_account();
                if let (Some(account), Some(key)) = (&account, who.key) {
                    let proven = self.prove(account, key, clock::now()).await;
                    if !proven.map_err(|_unanswered| NotAdmitted::NotNow)? {
                        return Err(NotAdmitted::Refused(NOT_REGISTERED.into()));
                    }
                }
                Ok(Admission {
                    account,
                    may_be_new: self.rules().mode == Mode::Open || self.is_named(who.key),
                })
            }
            AuthDecision::AskInvite { .. } => Err(NotAdmitted::Refused(NOT_REGISTERED.into())),
            AuthDecision::Refused { notice, .. } => Err(NotAdmitted::Refused(notice)),
        }
    }

    async fn claims(&self, who: AuthRequest<'_>) -> Vec<Name> {
        self.claims_on(who).await
    }

    async fn answer_claim(&self, who: AuthRequest<'_>, answer: &str) -> ClaimAnswer {
        AccessControl::answer_claim(self, who, answer).await
    }

    async fn make_account(
        &self,
        who: AuthRequest<'_>,
        account: &Account,
        key: &KeyRecord,
    ) -> Result<(), ChangeError> {
        let asked = self.known.asks();
        let (id, name) = (account.id, account.name.clone());
        let create = ChangeAction::CreateAccount {
            account: account.clone(),
            key: key.clone(),
        };
        let made = self
            .apply(&Change::by(id, name, account.created, create))
            .await;
        match &made {
            Ok(_) => self.known.learn(&key.fingerprint, Some(account), asked),
            Err(ChangeError::NameTaken) if !account.name.is_guest() && !self.is_named(who.key) => {
                self.alert(who).await;
            }
            Err(_) => {}
        }
        made.map(|_made| ())
    }

    async fn is_free(&self, name: &Name) -> bool {
        match self.ask(self.store.account_by_name(name)).await {
            Ok(owner) => owner.is_none(),
            Err(_) => !self.known.has_name(name),
        }
    }

    fn role(&self, stored: Role, key: Option<&Fingerprint>) -> Role {
        match key {
            Some(key) if self.rules().names(key) => Role::Operator,
            _ => stored,
        }
    }
}

/// What is told when the store could not do it.
#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn failed(error: StoreError) -> String {
    format!("Not done: {error}.")
}

/// What is told when a change could not be made.
pub(super) fn not_done(error: ChangeError) -> String {
    match error {
        ChangeError::Store(error) => failed(error),
        error => format!("Not done: {error}."),
    }
}

impl AccessControl {
    /// Waits until all orders are done that were given so far; from now on none is carried out.
    pub async fn finish_orders(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let all = u32::try_from(ORDERS).unwrap_or(u32::MAX);
        let _all_done = self.permits.acquire_many(all).await;
        self.permits.close();
    }

    /// Does what someone orders who has a shell on the machine, and so stands above all others. It
    /// is saved; a running server finds it in the store and enforces it.
    ///
    /// # Errors
    /// A sentence for them, if it can't be done or needs the running server itself.
    pub async fn carry_out_at_console(&self, order: Order) -> Result<Report, String> {
        let instead = match &order {
            Order::Kick(name, _) => {
                format!("ssh-chat admin ban {name} 1m ends their sessions, too.")
            }
            Order::RemoveRoom(room) => {
                format!("Connect as an operator: ssh HOST remove-room {room}")
            }
            Order::Announce(_) => "Connect as an operator: ssh HOST announce TEXT".to_owned(),
            Order::Status => "Connect as an operator: ssh HOST status. ssh-chat doctor checks \
                              what the server needs."
                .to_owned(),
            _ => {
                let context = OrderContext {
                    guard: self,
                    actor: Actor::Console,
                    rank: Rank::Console,
                    sender: None,
                    now: clock::now(),
                };
                return context.obey(order).await;
            }
        };
        Err(format!(
            "Only the running server itself can do that. {instead}"
        ))
    }

    async fn execute(&self, requester: &Requester, order: Order) -> Result<Report, String> {
        let Some(key) = &requester.key else {
            return Err("That needs a key, and you came without one.".into());
        };
        let account = match order {
            // To be told when the store does not answer, too.
            Order::Status => self.owner(key, clock::now()).await.into_account(),
            _ => self.store.account_by_key(key).await.map_err(failed)?,
        };
        let account = account.ok_or(NOT_REGISTERED)?;
        if order.needs_operator() && self.role(account.role, Some(key)) < Role::Operator {
            return Err(NOT_ALLOWED.into());
        }
        let must_hold = order.must_hold_at_once();
        let context = OrderContext {
            guard: self,
            actor: Actor::Account(account.id, account.name.clone()),
            rank: Rank::of(account.role, self.rules().names(key)),
            sender: Some((&account, requester)),
            now: clock::now(),
        };
        let report = context.obey(order).await?;
        if must_hold {
            self.known.doubt();
            if let Err(error) = self.refresh().await {
                // It is done; the watch tries again to enforce it.
                tracing::error!(event = "order_not_enforced", %error, "an order is saved and not enforced yet");
                self.outage.failed(&error);
            }
        }
        Ok(report)
    }
}

/// One order while it is carried out. The orders themselves stand by subject: `moderation.rs`,
/// `admission.rs`; who may give them about whom, `authority.rs`.
pub(super) struct OrderContext<'a> {
    pub guard: &'a AccessControl,
    /// Who gives it.
    pub actor: Actor,
    /// How far up they stand: by the role that the store has now, and by the key they came with.
    pub rank: Rank,
    /// Their account as the store has it now, and where they are; none at the console.
    pub sender: Option<(&'a Account, &'a Requester)>,
    pub now: Time,
}

impl OrderContext<'_> {
    /// The account of whoever gives the order.
    pub(super) fn own(&self) -> Result<&Account, String> {
        let own = self.sender.map(|(account, _)| account);
        own.ok_or_else(|| {
            "The console has no keys of its own. ssh-chat keys is about everybody's.".into()
        })
    }

    /// Whether an account is that of whoever gives the order.
    pub(super) fn is_own(&self, account: AccountId) -> bool {
        self.actor.account() == Some(account)
    }

    /// How whoever gives this order would give another.
    pub(super) fn typed(&self, order: &str) -> String {
        match self.sender {
            Some(_) => format!("/{order}"),
            None => format!("ssh-chat admin {order}"),
        }
    }

    async fn obey(&self, order: Order) -> Result<Report, String> {
        let store = &self.guard.store;
        let words = match order {
            Order::Bans => return store.bans(self.now).await.map(Report::Bans).map_err(failed),
            Order::Invites => {
                let invites = store.invites(self.now).await;
                return invites.map(Report::Invites).map_err(failed);
            }
            Order::Pending => {
                let pending = store.pending(self.now).await;
                return pending.map(Report::Pending).map_err(failed);
            }
            Order::Keys => {
                let own = self.own()?.id;
                let keys = store.keys_of(own).await.map_err(failed)?;
                let claimed = store.claims_of(own, self.now).await;
                let claimed = claimed.map_err(failed)?;
                return Ok(Report::Keys { keys, claimed });
            }
            Order::Audit(count) => {
                let audits = store.audits(count).await;
                return audits.map(Report::Audits).map_err(failed);
            }
            Order::Status => {
                let status = self.guard.status().await?;
                return Ok(Report::Status(Box::new(status)));
            }
            Order::Invite { uses, life, role } => return self.invite(uses, life, role).await,
            Order::Kick(name, reason) => self.kick(name, reason).await,
            Order::Ban(whom, life, reason) => self.ban(whom, life, reason).await,
            Order::Unban(id) => self.unban(id).await,
            Order::Mute(name, life, reason) => self.mute(name, life, reason).await,
            Order::Unmute(name) => self.unmute(name).await,
            Order::Rename(name, to) => self.rename(name, to).await,
            Order::SetRole(name, role) => self.set_role(name, role).await,
            Order::Lockdown(scope, life) => self.lockdown(scope, life).await,
            Order::EndLockdown => self.end_lockdown().await,
            Order::Slow(room, slow) => self.slow(room, slow).await,
            Order::Purge(whom, millis) => self.purge(whom, millis).await,
            Order::RemoveRoom(room) => self.remove_room(room).await,
            Order::Announce(text) => self.announce(text).await,
            Order::RevokeInvite(id) => self.revoke_invite(id).await,
            Order::Approve(which, name) => self.approve(which, name).await,
            Order::Deny(which) => self.deny(which).await,
            Order::AddKey(key) => self.add_key(*key).await,
            Order::RevokeKey(which) => self.revoke_key(which).await,
        };
        words.map(Report::Done)
    }

    /// Makes a change on behalf of whoever gives the order.
    pub(super) async fn apply(&self, action: ChangeAction) -> Result<ChangeOutcome, ChangeError> {
        self.guard.apply(&self.change(action)).await
    }

    /// A change on behalf of whoever gives the order.
    pub(super) fn change(&self, action: ChangeAction) -> Change {
        Change {
            at: self.now,
            actor: self.actor.clone(),
            action,
        }
    }

    /// The account of this name, online or not.
    pub(super) async fn person(&self, name: &Name) -> Result<Account, String> {
        let found = self.guard.store.account_by_name(name).await;
        match found.map_err(failed)? {
            Some(account) if account.name == *name => Ok(account),
            // The store answers for names that look alike, too, and for earlier ones.
            Some(account) => Err(format!(
                "No account is called {name} now. Did you mean {}?",
                account.name
            )),
            None if self.sender.is_none() => Err(format!(
                "No account is called {name}. ssh-chat keys list has them all."
            )),
            None => Err(format!(
                "No account is called {name}. A guest is kept out by address: /whois {name}"
            )),
        }
    }
}
