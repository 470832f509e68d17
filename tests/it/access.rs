//! Who can log in and what they may do: every combination as a table, on the real store.

mod authenticator;
mod authority;
mod claims;
mod orders;
mod proof;

use crate::harness::Changes;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ssh_chat::access::authenticator::{AuthDecision, AuthRequest, Authenticator as _, ProvenKey};
use ssh_chat::access::orders::{BanSelector, Order, OrderReply, Requester};
use ssh_chat::access::{AccessControl, AdminService as _, Mode, Rules};
use ssh_chat::chat::access::{
    Actor, AuditEntry, Ban, BanTarget, ClientPrefix, KeyRecord, Lockdown, LockdownScope, Role,
    network,
};
use ssh_chat::chat::ids::{AccountId, Fingerprint, Name, SessionId, Time};
use ssh_chat::chat::intent::{Intent, NewSession, Target};
use ssh_chat::hub::feed::{Delivery, Inbox};
use ssh_chat::hub::{self, Attachment, Hub};
use ssh_chat::rate_limit::TrustedNetworks;
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{Account, PeopleStore as _, Store as _};
use ssh_chat::text::Text;

use crate::harness::DEADLINE;
use crate::harness::flaky::{Flaky, StoreMode};

/// Access control with a hub and a store, without SSH.
pub(crate) struct House {
    pub guard: Arc<AccessControl>,
    pub hub: hub::Handle,
    /// The store behind the port: changes here are those of another process.
    pub store: Arc<Sqlite>,
    pub port: Arc<Flaky>,
    _folder: tempfile::TempDir,
}

pub(crate) fn key(name: &str) -> KeyRecord {
    KeyRecord {
        fingerprint: Fingerprint::new(&format!("SHA256:{name:0>43}")),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored(""),
        added: Time(0),
    }
}

fn proven(name: &str) -> ProvenKey {
    ProvenKey {
        fingerprint: key(name).fingerprint,
        algorithm: Text::stored_line("ssh-ed25519"),
    }
}

pub(crate) fn name(name: &str) -> Name {
    Name::stored(name).unwrap()
}

pub(crate) fn audit() -> AuditEntry {
    AuditEntry {
        at: Time(0),
        actor: Actor::System,
        action: "test".into(),
        target: Text::stored(""),
        detail: Text::stored(""),
    }
}

/// Makes this user a configured operator.
fn rules(mode: Mode, operator: &str) -> Rules {
    Rules {
        mode,
        operator_keys: vec![key(operator).fingerprint],
        approval: false,
        add_keys: Role::Member,
        trusted: ssh_chat::rate_limit::TrustedNetworks::default(),
        web_url: None,
        invite_life: 86_400_000,
        outage_logins: Duration::from_secs(3600),
    }
}

impl House {
    pub async fn new(mode: Mode) -> House {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(&folder.path().join("chat.db")).unwrap());
        let limits = hub::Limits {
            rooms: 10,
            ..hub::Limits::default()
        };
        let port = Arc::new(Flaky::new(store.clone()));
        let (task, hub) = Hub::load(port.clone(), limits).await.unwrap();
        tokio::spawn(task.run());
        let guard = AccessControl::new(port.clone(), hub.clone(), rules(mode, "config"));
        let guard = guard.await.unwrap();
        let house = House {
            guard: Arc::new(guard),
            hub,
            store,
            port,
            _folder: folder,
        };
        for (who, role) in [
            ("member", Role::Member),
            ("operator", Role::Operator),
            ("banned", Role::Member),
            ("badkey", Role::Member),
        ] {
            house.account(who, role).await;
        }
        let banned = house.find("banned").await;
        house.ban(BanTarget::Account(banned.id, banned.name)).await;
        house.ban(BanTarget::Key(key("badkey").fingerprint)).await;
        house
            .ban(BanTarget::Network(network("203.0.113.0/24").unwrap()))
            .await;
        house
            .ban(BanTarget::Client(ClientPrefix::stored("SSH-2.0-Bad")))
            .await;
        house
    }

    pub async fn account(&self, who: &str, role: Role) -> Account {
        let account = Account::new(AccountId(rand::random()), name(who), role, Time(0));
        self.make(account, who).await
    }

    /// With accounts whose keys aren't proven yet: before and after the deadline.
    async fn with_unproven(self) -> House {
        let later = ssh_chat::clock::now().plus(3_600_000);
        for (who, proof_by) in [("newcomer", later), ("late", Time(1))] {
            let account = Account {
                proof_by: Some(proof_by),
                ..Account::new(AccountId(rand::random()), name(who), Role::Member, Time(0))
            };
            self.make(account, who).await;
        }
        self
    }

    async fn make(&self, account: Account, who: &str) -> Account {
        self.store
            .create_account(&account, &key(who))
            .await
            .unwrap();
        account
    }

    pub async fn find(&self, who: &str) -> Account {
        self.store
            .account_by_name(&name(who))
            .await
            .unwrap()
            .unwrap()
    }

    pub async fn ban(&self, target: BanTarget) {
        let ban = Ban {
            id: 0,
            target,
            by: "test".into(),
            at: Time(0),
            until: None,
            reason: None,
        };
        self.store.add_ban(&ban, &audit()).await.unwrap();
    }

    /// Makes access control notice changes made directly in the store.
    pub async fn refreshed(self) -> House {
        self.guard.refresh().await.unwrap();
        self
    }

    pub async fn judge(&self, who: &str, addr: &str, client: &str) -> &'static str {
        let proven = proven(who);
        let candidate = AuthRequest {
            addr: format!("{addr}:4022").parse().unwrap(),
            user: &SOMEBODY,
            client: &Text::stored_line(client),
            key: (who != "nobody").then_some(&proven),
        };
        match self.guard.authenticate(candidate).await {
            AuthDecision::Accepted(_) => "in",
            AuthDecision::AskInvite { .. } => "invite",
            AuthDecision::Refused { .. } => "no",
        }
    }

    pub async fn requester(&self, who: &str) -> Requester {
        let account = self.store.account_by_name(&name(who)).await.unwrap();
        Requester {
            account: account.map_or(AccountId(1), |account| account.id),
            name: name(who),
            key: (who != "nobody").then(|| key(who).fingerprint),
            addr: "198.51.100.9".parse().unwrap(),
            client: Text::stored_line(OPENSSH),
        }
    }

    pub async fn order(&self, who: &str, order: Order) -> Result<(), String> {
        self.report(who, order).await.map(|_| ())
    }

    pub async fn report(&self, who: &str, order: Order) -> Result<OrderReply, String> {
        let requester = self.requester(who).await;
        Arc::clone(&self.guard).execute(requester, order).await
    }

    /// Brings a user online.
    pub async fn online(&self, who: &str) -> (Attachment, Arc<Inbox>) {
        self.attach(arrival(self, who).await).await
    }

    /// Brings a guest online.
    pub async fn guest(&self, who: &str) -> (Attachment, Arc<Inbox>) {
        let id = AccountId(rand::random());
        let account = Account::new(id, name(who), Role::Guest, Time(0));
        self.attach(arriving(account, None)).await
    }

    async fn attach(&self, arrival: NewSession) -> (Attachment, Arc<Inbox>) {
        let inbox = Arc::new(Inbox::default());
        let (attachment, _) = self.hub.attach(arrival, inbox.clone()).await.unwrap();
        (attachment, inbox)
    }
}

/// The identity of a user who connects with a key.
async fn arrival(house: &House, who: &str) -> NewSession {
    arriving(house.find(who).await, Some(key(who).fingerprint))
}

fn arriving(account: Account, key: Option<Fingerprint>) -> NewSession {
    NewSession {
        session: SessionId(rand::random()),
        author: ssh_chat::chat::event::Author {
            account: account.id,
            name: account.name,
        },
        guest: key.is_none(),
        bot: false,
        role: account.role,
        key,
        addr: "192.0.2.7".parse().unwrap(),
        client: Text::stored_line("SSH-2.0-Test"),
        ignored: Arc::default(),
    }
}

/// Whether a session was told to end. Waits until the hub has processed everything before.
pub(crate) async fn dismissed(house: &House, inbox: &Inbox) -> bool {
    house.hub.ping().await.unwrap();
    let (deliveries, _) = inbox.take();
    let out = |d: &Delivery| matches!(d, Delivery::Dismissed(_));
    deliveries.iter().any(out)
}

pub(crate) const OPENSSH: &str = "SSH-2.0-OpenSSH_9.2";

/// [`OPENSSH`] as a client sends it.
static CLIENT: LazyLock<Text> = LazyLock::new(|| Text::stored_line(OPENSSH));

/// A login name that no account has.
static SOMEBODY: LazyLock<Text> = LazyLock::new(|| Text::stored_line("somebody"));

#[tokio::test]
async fn every_combination_is_decided_correctly() {
    // User, address, client; then the decisions with: open, open and lockdown, allowlist, allowlist
    // and lockdown.
    let table = [
        ("nobody", "192.0.2.1", OPENSSH, ["in", "no", "no", "no"]),
        (
            "stranger",
            "192.0.2.1",
            OPENSSH,
            ["in", "no", "invite", "no"],
        ),
        ("member", "192.0.2.1", OPENSSH, ["in", "in", "in", "in"]),
        ("newcomer", "192.0.2.1", OPENSSH, ["in", "no", "in", "no"]),
        ("late", "192.0.2.1", OPENSSH, ["in", "no", "invite", "no"]),
        ("operator", "192.0.2.1", OPENSSH, ["in", "in", "in", "in"]),
        ("config", "192.0.2.1", OPENSSH, ["in", "in", "in", "in"]),
        ("banned", "192.0.2.1", OPENSSH, ["no", "no", "no", "no"]),
        ("badkey", "192.0.2.1", OPENSSH, ["no", "no", "no", "no"]),
        ("member", "203.0.113.9", OPENSSH, ["no", "no", "no", "no"]),
        ("operator", "203.0.113.9", OPENSSH, ["no", "no", "no", "no"]),
        ("nobody", "203.0.113.9", OPENSSH, ["no", "no", "no", "no"]),
        (
            "member",
            "192.0.2.1",
            "SSH-2.0-Bad_1",
            ["no", "no", "no", "no"],
        ),
        (
            "stranger",
            "192.0.2.1",
            "SSH-2.0-Bad_1",
            ["no", "no", "no", "no"],
        ),
    ];
    for (column, (mode, locked)) in [
        (Mode::Open, false),
        (Mode::Open, true),
        (Mode::Allowlist, false),
        (Mode::Allowlist, true),
    ]
    .into_iter()
    .enumerate()
    {
        let house = House::new(mode).await.with_unproven().await;
        if locked {
            let lockdown = Lockdown {
                scope: LockdownScope::Everyone,
                by: "test".into(),
                until: None,
            };
            house
                .store
                .set_lockdown(Some(&lockdown), &audit())
                .await
                .unwrap();
        }
        let house = house.refreshed().await;
        for (who, addr, client, expected) in &table {
            let decision = house.judge(who, addr, client).await;
            assert_eq!(
                decision, expected[column],
                "{who} from {addr} with {client}, {mode:?}, locked: {locked}"
            );
        }
        assert!(!house.guard.allows_address("203.0.113.1".parse().unwrap()));
        assert!(house.guard.allows_address("192.0.2.1".parse().unwrap()));
    }
}

/// A lockdown for guests affects no one else, and no chat that doesn't admit guests anyway.
#[tokio::test]
async fn a_lockdown_for_guests_affects_only_guests() {
    // (user, in an open chat, with an allowlist)
    let table = [
        ("nobody", "no", "no"),
        ("stranger", "in", "invite"),
        ("newcomer", "in", "in"),
        ("member", "in", "in"),
        ("config", "in", "in"),
        ("badkey", "no", "no"),
    ];
    for mode in [Mode::Open, Mode::Allowlist] {
        let house = House::new(mode).await.with_unproven().await;
        let lockdown = Order::Lockdown(LockdownScope::Guests, Some(3_600_000));
        house.order("operator", lockdown).await.unwrap();
        for (who, open, allowlist) in table {
            let expected = if mode == Mode::Open { open } else { allowlist };
            let decision = house.judge(who, "192.0.2.1", OPENSSH).await;
            assert_eq!(decision, expected, "{who}, {mode:?}");
        }
        house.order("operator", Order::EndLockdown).await.unwrap();
        let expected = if mode == Mode::Open { "in" } else { "no" };
        assert_eq!(house.judge("nobody", "192.0.2.1", OPENSSH).await, expected);
    }
}

/// A lockdown by any process disconnects guests who are online, and no one else.
#[tokio::test]
async fn a_lockdown_for_guests_ends_their_sessions() {
    for (scope, out) in [
        (LockdownScope::Everyone, false),
        (LockdownScope::Guests, true),
    ] {
        let house = House::new(Mode::Open).await;
        let (_member, member) = house.online("member").await;
        let (_guest, guest) = house.guest("guest-7f3a").await;
        let lockdown = Lockdown {
            scope,
            by: "test".into(),
            until: None,
        };
        let set = house.store.set_lockdown(Some(&lockdown), &audit()).await;
        set.unwrap();
        let house = house.refreshed().await;
        assert_eq!(dismissed(&house, &guest).await, out, "{scope:?}");
        assert!(!dismissed(&house, &member).await, "{scope:?}");
    }
}

/// Configured operators are those of the latest configuration.
#[tokio::test]
async fn new_settings_apply_to_online_users() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let (_attachment, _inbox) = house.online("member").await;
    let watch = tokio::spawn(house.guard.clone().watch(Duration::from_millis(1)));
    for (operator, role) in [("member", Role::Operator), ("config", Role::Member)] {
        house.guard.set_rules(rules(Mode::Allowlist, operator));
        let held = async {
            while house.hub.online().await[0].role != role {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, held).await.unwrap();
    }
    watch.abort();
}

/// A key that another process revokes ends its sessions and can't log in any more, even if both
/// happen at once.
#[tokio::test]
async fn a_key_revoked_elsewhere_ends_its_sessions() {
    let house = House::new(Mode::Allowlist).await;
    for round in 0..20 {
        let who = format!("p{round}");
        let account = house.account(&who, Role::Member).await;
        let (_attachment, inbox) = house.online(&who).await;
        let fingerprint = key(&who).fingerprint;
        let entry = audit();
        let (removed, _) = tokio::join!(
            house
                .store
                .remove_key(account.id, &fingerprint, true, &entry),
            house.judge(&who, "192.0.2.1", OPENSSH),
        );
        removed.unwrap();
        house.guard.refresh().await.unwrap();
        assert!(dismissed(&house, &inbox).await, "round {round}");
        assert_eq!(house.judge(&who, "192.0.2.1", OPENSSH).await, "invite");
    }
}
