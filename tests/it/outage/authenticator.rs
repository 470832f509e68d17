//! Who can log in during a store outage, as a table, and that no one else can.

use crate::harness::Changes;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ssh_chat::access::Mode;
use ssh_chat::access::orders::{BanSelector, Order};
use ssh_chat::chat::access::{BanTarget, Role};

use tokio::time::timeout;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::access::{House, OPENSSH, audit, dismissed, key, name};
use crate::harness::DEADLINE;
use crate::harness::flaky::StoreMode;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn judge(house: &House, who: &str) -> &'static str {
    house.judge(who, "192.0.2.1", OPENSSH).await
}

/// Revokes a user's key, as another process would.
async fn remove_key(house: &House, who: &str) {
    let account = house.find(who).await;
    let fingerprint = key(who).fingerprint;
    let entry = audit();
    let removed = house
        .store
        .remove_key(account.id, &fingerprint, true, &entry);
    removed.await.unwrap();
}

/// Advances the clock.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A user's key was revoked, and access control knows.
async fn house(mode: Mode) -> House {
    let house = House::new(mode).await;
    house.account("removed", Role::Member).await;
    assert_eq!(judge(&house, "removed").await, "in");
    remove_key(&house, "removed").await;
    house.refreshed().await
}

#[tokio::test]
async fn known_keys_log_in_for_a_limited_time() {
    // User; then the decisions for open and for allowlist: the store works, is down for a minute,
    // is down for two hours.
    let table = [
        ("member", ["in", "in", "no"], ["in", "in", "no"]),
        ("operator", ["in", "in", "no"], ["in", "in", "no"]),
        ("stranger", ["in", "no", "no"], ["invite", "no", "no"]),
        ("removed", ["in", "no", "no"], ["invite", "no", "no"]),
        // In the configuration, but without an account, which can't be created now.
        ("config", ["in", "no", "no"], ["in", "no", "no"]),
        ("banned", ["no", "no", "no"], ["no", "no", "no"]),
        ("badkey", ["no", "no", "no"], ["no", "no", "no"]),
        ("nobody", ["in", "in", "no"], ["no", "no", "no"]),
    ];
    for (mode, column) in [(Mode::Open, 0), (Mode::Allowlist, 1)] {
        for down in [StoreMode::Down, StoreMode::Hanging] {
            let house = house(mode).await;
            for (moment, time) in [None, Some(MINUTE), Some(2 * HOUR)].into_iter().enumerate() {
                if let Some(time) = time {
                    house.port.set(down);
                    pass(time).await;
                    // Hanging calls time out.
                    tokio::time::pause();
                }
                for (who, open, allowlist) in &table {
                    let expected = [open, allowlist][column][moment];
                    let case = format!("{who}, {mode:?}, {down:?} for {time:?}");
                    assert_eq!(judge(&house, who).await, expected, "{case}");
                    let elsewhere = house.judge(who, "203.0.113.9", OPENSSH).await;
                    // Network bans don't apply to configured keys.
                    let expected = if *who == "config" { expected } else { "no" };
                    assert_eq!(elsewhere, expected, "{case}, from a banned network");
                }
                if time.is_some() {
                    tokio::time::resume();
                }
            }
            house.port.set(StoreMode::Working);
            let house = house.refreshed().await;
            for (who, open, allowlist) in &table {
                let expected = [open, allowlist][column][0];
                assert_eq!(judge(&house, who).await, expected, "{who}, {mode:?}, again");
            }
        }
    }
}

#[tokio::test]
async fn the_access_watch_confirms_cached_keys() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let every = Duration::from_millis(1);
    let watch = tokio::spawn(house.guard.clone().watch(every));
    // By the second call, the first has been answered.
    let answered = async || {
        let mut seen = 0;
        house.port.calls();
        while seen < 2 {
            tokio::time::sleep(every).await;
            seen += house
                .port
                .calls()
                .iter()
                .filter(|c| **c == "revision")
                .count();
        }
    };
    pass(59 * MINUTE).await;
    timeout(DEADLINE, answered()).await.unwrap();
    house.port.set(StoreMode::Down);
    pass(59 * MINUTE).await;
    assert_eq!(judge(&house, "member").await, "in");
    pass(MINUTE).await;
    assert_eq!(judge(&house, "member").await, "no");
    timeout(DEADLINE, answered()).await.unwrap();
    house.port.set(StoreMode::Working);
    timeout(DEADLINE, answered()).await.unwrap();
    house.port.set(StoreMode::Down);
    assert_eq!(judge(&house, "member").await, "in", "for another hour");
    watch.abort();
}

/// Three seconds once, and then so short that a client can offer all keys of its agent.
#[tokio::test]
async fn calls_to_a_hanging_store_time_out() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.port.set(StoreMode::Hanging);
    tokio::time::pause();
    let since = tokio::time::Instant::now();
    assert_eq!(judge(&house, "member").await, "in");
    assert_eq!(since.elapsed().as_secs(), 3);
    for n in 0..10 {
        assert_eq!(judge(&house, &format!("agent{n}")).await, "no");
    }
    assert_eq!(judge(&house, "member").await, "in");
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
}

/// The result of the last login is valid until something newer contradicts it.
#[tokio::test]
async fn later_logins_are_cached() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.account("late", Role::Member).await;
    house.account("later", Role::Member).await;
    assert_eq!(judge(&house, "late").await, "in");
    house.port.set(StoreMode::Down);
    assert_eq!(judge(&house, "late").await, "in");
    assert_eq!(judge(&house, "later").await, "no", "never logged in here");

    house.port.set(StoreMode::Working);
    remove_key(&house, "late").await;
    assert_eq!(judge(&house, "late").await, "invite");
    house.port.set(StoreMode::Down);
    assert_eq!(
        judge(&house, "late").await,
        "no",
        "the key was seen to be revoked"
    );
}

/// A revoked key can't log in, however its revocation and the outage coincide.
#[tokio::test]
async fn an_outdated_key_cache_admits_no_one() {
    // Another process revoked a key; the watch noticed that something changed, but couldn't read
    // it.
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let watch = tokio::spawn(house.guard.clone().watch(Duration::from_millis(1)));
    house.port.set(StoreMode::Without(&["accounts_with_keys"]));
    house.port.calls();
    remove_key(&house, "member").await;
    let asked = async {
        while !house.port.calls().contains(&"accounts_with_keys") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap();
    house.port.set(StoreMode::Down);
    assert_eq!(judge(&house, "member").await, "no");
    watch.abort();

    // A command was saved here, but the result couldn't be read back.
    for order in [
        Order::Ban(BanSelector::Account(name("member")), None, None),
        Order::RevokeKey(key("member").fingerprint.to_string()),
    ] {
        let house = House::new(Mode::Allowlist).await.refreshed().await;
        let member = house.find("member").await;
        let (second, entry) = (key("second"), audit());
        let added = house.store.add_key(member.id, &second, &entry);
        added.await.unwrap();
        house.port.set(StoreMode::Without(&["revision"]));
        let by = match order {
            Order::RevokeKey(_) => "member",
            _ => "operator",
        };
        house.order(by, order.clone()).await.unwrap();
        house.port.set(StoreMode::Down);
        assert_eq!(judge(&house, "member").await, "no", "{order:?}");
        house.port.set(StoreMode::Working);
        let house = house.refreshed().await;
        house.port.set(StoreMode::Down);
        assert_eq!(judge(&house, "member").await, "no", "{order:?}");
        assert_eq!(judge(&house, "operator").await, "in", "{order:?}");
    }
}

/// Users who logged in during an outage are checked when it's over.
#[tokio::test]
async fn changes_by_other_processes_apply_after_an_outage() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.account("other", Role::Member).await;
    let house = house.refreshed().await;
    house.port.set(StoreMode::Down);
    let watch = tokio::spawn(house.guard.clone().watch(Duration::from_millis(1)));
    let mut sessions = Vec::new();
    for who in ["member", "other", "operator"] {
        assert_eq!(judge(&house, who).await, "in");
        sessions.push(house.online(who).await);
    }
    remove_key(&house, "member").await;
    let other = house.find("other").await;
    house.ban(BanTarget::Account(other.id, other.name)).await;
    assert!(house.guard.refresh().await.is_err());
    assert!(!dismissed(&house, &sessions[0].1).await, "not known yet");
    house.port.set(StoreMode::Working);
    let enforced = async {
        while house.hub.online().await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, enforced).await.unwrap();
    assert!(dismissed(&house, &sessions[0].1).await);
    assert!(dismissed(&house, &sessions[1].1).await);
    assert!(!dismissed(&house, &sessions[2].1).await);
    watch.abort();
}

/// Logging in while the keys are being read neither escapes the check nor ends because of older
/// data.
#[tokio::test]
async fn logins_during_a_refresh_are_checked() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let before = house.online("operator").await;
    remove_key(&house, "member").await;
    house.port.set(StoreMode::Holding("accounts_with_keys"));
    let refreshing = tokio::spawn({
        let guard = Arc::clone(&house.guard);
        async move { guard.refresh().await }
    });
    house.port.holds().await;
    // One whose key was just revoked, admitted from the cache; and a new user.
    let gone = house.online("member").await;
    house.account("new", Role::Member).await;
    let new = house.online("new").await;
    house.port.calls();
    house.port.set(StoreMode::Working);
    refreshing.await.unwrap().unwrap();
    assert!(dismissed(&house, &gone.1).await);
    assert!(!dismissed(&house, &new.1).await);
    assert!(!dismissed(&house, &before.1).await);
    let calls = house.port.calls();
    assert_eq!(
        calls,
        ["account_by_key", "account_by_key"],
        "one lookup each"
    );
}

/// Checking all online users takes a constant number of store calls.
#[tokio::test]
async fn a_refresh_asks_the_store_a_few_times() {
    let house = House::new(Mode::Allowlist).await;
    let mut sessions = Vec::new();
    for n in 0..200 {
        let who = format!("p{n}");
        house.account(&who, Role::Member).await;
        sessions.push(house.online(&who).await);
    }
    house.port.calls();
    let house = house.refreshed().await;
    assert_eq!(
        house.port.calls(),
        [
            "revision",
            "bans",
            "mutes",
            "lockdown",
            "accounts_with_keys"
        ]
    );
    assert_eq!(house.hub.online().await.len(), 200);
}

/// A log that tests can read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The events so far, in order, without those of commands.
    fn events(&self) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = log.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let level = line["level"].as_str().unwrap().to_lowercase();
            let fields = &line["fields"];
            let logins = match fields["logins"].as_u64() {
                Some(logins) => format!(" after {logins} logins"),
                None => String::new(),
            };
            format!("{level} {}{logins}", fields["event"].as_str().unwrap())
        });
        lines.collect()
    }
}

#[tokio::test]
async fn an_outage_is_a_few_lines_in_the_log() {
    // While there's only one subscriber, on this thread, an event first reached by another thread
    // would be cached as disabled.
    let elsewhere = tracing_subscriber::registry().with(tracing::level_filters::LevelFilter::INFO);
    let _set_before = tracing::subscriber::set_global_default(elsewhere);
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(log);
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let watch = tokio::spawn(house.guard.clone().watch(Duration::from_millis(1)));
    for round in 0..2 {
        house.port.set(StoreMode::Down);
        for _ in 0..5 {
            judge(&house, "member").await;
            judge(&house, "stranger").await;
            judge(&house, "banned").await;
        }
        if round == 1 {
            pass(2 * HOUR).await;
            judge(&house, "member").await;
            let closed = async {
                while !lines.events().iter().any(|e| e.contains("access_closed")) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(DEADLINE, closed).await.unwrap();
        }
        house.port.set(StoreMode::Working);
        let again = |e: &String| e.contains("access_known_again");
        let known = async {
            while lines.events().iter().filter(|e| again(e)).count() <= round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, known).await.unwrap();
    }
    watch.abort();
    let expected = [
        "error access_unknown",
        "warn login_from_snapshot",
        "info access_known_again after 5 logins",
        "error access_unknown",
        "warn login_from_snapshot",
        "error access_closed after 5 logins",
        "info access_known_again after 5 logins",
    ];
    assert_eq!(lines.events(), expected);
}
