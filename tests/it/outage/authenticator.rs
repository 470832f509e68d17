//! Who gets in while the store does not answer, as a table; and that nobody is who should not.

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
use crate::harness::flaky::Weather;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn judge(house: &House, who: &str) -> &'static str {
    house.judge(who, "192.0.2.1", OPENSSH).await
}

/// Removes somebody's key, as another process would.
async fn remove_key(house: &House, who: &str) {
    let account = house.find(who).await;
    let fingerprint = key(who).fingerprint;
    let entry = audit();
    let removed = house
        .store
        .remove_key(account.id, &fingerprint, true, &entry);
    removed.await.unwrap();
}

/// Lets time pass at once.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A house in which somebody's key was removed and that knows of it.
async fn house(mode: Mode) -> House {
    let house = House::new(mode).await;
    house.account("removed", Role::Member).await;
    assert_eq!(judge(&house, "removed").await, "in");
    remove_key(&house, "removed").await;
    house.refreshed().await
}

#[tokio::test]
async fn the_door_opens_for_those_who_are_known_and_not_for_ever() {
    // Who they are; then, for open and for allowlist: the store is there, down for a minute, down
    // for two hours.
    let table = [
        ("member", ["in", "in", "no"], ["in", "in", "no"]),
        ("operator", ["in", "in", "no"], ["in", "in", "no"]),
        ("stranger", ["in", "no", "no"], ["invite", "no", "no"]),
        ("removed", ["in", "no", "no"], ["invite", "no", "no"]),
        // Named by the configuration, and never here: the account can't be made.
        ("config", ["in", "no", "no"], ["in", "no", "no"]),
        ("banned", ["no", "no", "no"], ["no", "no", "no"]),
        ("badkey", ["no", "no", "no"], ["no", "no", "no"]),
        ("nobody", ["in", "in", "no"], ["no", "no", "no"]),
    ];
    for (mode, column) in [(Mode::Open, 0), (Mode::Allowlist, 1)] {
        for down in [Weather::Down, Weather::Hanging] {
            let house = house(mode).await;
            for (moment, time) in [None, Some(MINUTE), Some(2 * HOUR)].into_iter().enumerate() {
                if let Some(time) = time {
                    house.port.set(down);
                    pass(time).await;
                    // Hanging calls are given up by the clock.
                    tokio::time::pause();
                }
                for (who, open, allowlist) in &table {
                    let expected = [open, allowlist][column][moment];
                    let case = format!("{who}, {mode:?}, {down:?} for {time:?}");
                    assert_eq!(judge(&house, who).await, expected, "{case}");
                    let elsewhere = house.judge(who, "203.0.113.9", OPENSSH).await;
                    // The bans of networks spare those whom the configuration names.
                    let expected = if *who == "config" { expected } else { "no" };
                    assert_eq!(elsewhere, expected, "{case}, from a banned network");
                }
                if time.is_some() {
                    tokio::time::resume();
                }
            }
            house.port.set(Weather::Fair);
            let house = house.refreshed().await;
            for (who, open, allowlist) in &table {
                let expected = [open, allowlist][column][0];
                assert_eq!(judge(&house, who).await, expected, "{who}, {mode:?}, again");
            }
        }
    }
}

#[tokio::test]
async fn the_watch_confirms_what_is_known() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let every = Duration::from_millis(1);
    let watch = tokio::spawn(house.guard.clone().watch(every));
    // One that is asked after another has an answer.
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
    house.port.set(Weather::Down);
    pass(59 * MINUTE).await;
    assert_eq!(judge(&house, "member").await, "in");
    pass(MINUTE).await;
    assert_eq!(judge(&house, "member").await, "no");
    timeout(DEADLINE, answered()).await.unwrap();
    house.port.set(Weather::Fair);
    timeout(DEADLINE, answered()).await.unwrap();
    house.port.set(Weather::Down);
    assert_eq!(judge(&house, "member").await, "in", "for another hour");
    watch.abort();
}

/// Three seconds once, and then so little that a client can offer all the keys of its agent.
#[tokio::test]
async fn a_store_that_hangs_is_not_waited_for_for_long() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.port.set(Weather::Hanging);
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

/// What was learned at the last login counts, until something newer says otherwise.
#[tokio::test]
async fn who_logged_in_since_is_known_too() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.account("late", Role::Member).await;
    house.account("later", Role::Member).await;
    assert_eq!(judge(&house, "late").await, "in");
    house.port.set(Weather::Down);
    assert_eq!(judge(&house, "late").await, "in");
    assert_eq!(judge(&house, "later").await, "no", "never seen here");

    house.port.set(Weather::Fair);
    remove_key(&house, "late").await;
    assert_eq!(judge(&house, "late").await, "invite");
    house.port.set(Weather::Down);
    assert_eq!(judge(&house, "late").await, "no", "seen to be gone");
}

/// However the end of a key and the end of the store fall together.
#[tokio::test]
async fn what_is_known_to_be_out_of_date_lets_nobody_in() {
    // Another process removed a key, the watch saw that something changed, and no more.
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let watch = tokio::spawn(house.guard.clone().watch(Duration::from_millis(1)));
    house.port.set(Weather::Without(&["accounts_with_keys"]));
    house.port.calls();
    remove_key(&house, "member").await;
    let asked = async {
        while !house.port.calls().contains(&"accounts_with_keys") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap();
    house.port.set(Weather::Down);
    assert_eq!(judge(&house, "member").await, "no");
    watch.abort();

    // An order was saved here, and could not be read back.
    for order in [
        Order::Ban(BanSelector::Account(name("member")), None, None),
        Order::RevokeKey(key("member").fingerprint.to_string()),
    ] {
        let house = House::new(Mode::Allowlist).await.refreshed().await;
        let member = house.find("member").await;
        let (second, entry) = (key("second"), audit());
        let added = house.store.add_key(member.id, &second, &entry);
        added.await.unwrap();
        house.port.set(Weather::Without(&["revision"]));
        let by = match order {
            Order::RevokeKey(_) => "member",
            _ => "operator",
        };
        house.order(by, order.clone()).await.unwrap();
        house.port.set(Weather::Down);
        assert_eq!(judge(&house, "member").await, "no", "{order:?}");
        house.port.set(Weather::Fair);
        let house = house.refreshed().await;
        house.port.set(Weather::Down);
        assert_eq!(judge(&house, "member").await, "no", "{order:?}");
        assert_eq!(judge(&house, "operator").await, "in", "{order:?}");
    }
}

/// Those who came in during an outage are measured when it is over.
#[tokio::test]
async fn what_was_ordered_elsewhere_meanwhile_holds_afterwards() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    house.account("other", Role::Member).await;
    let house = house.refreshed().await;
    house.port.set(Weather::Down);
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
    assert!(!dismissed(&house, &sessions[0].1).await, "nobody knows yet");
    house.port.set(Weather::Fair);
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

/// Who comes while the keys are read is neither overlooked nor thrown out by what is older.
#[tokio::test]
async fn who_comes_while_the_keys_are_read_is_measured_rightly() {
    let house = House::new(Mode::Allowlist).await.refreshed().await;
    let before = house.online("operator").await;
    remove_key(&house, "member").await;
    house.port.set(Weather::Holding("accounts_with_keys"));
    let refreshing = tokio::spawn({
        let guard = Arc::clone(&house.guard);
        async move { guard.refresh().await }
    });
    house.port.holds().await;
    // One whose key was removed just before, let in by what was known; one who is new.
    let gone = house.online("member").await;
    house.account("new", Role::Member).await;
    let new = house.online("new").await;
    house.port.calls();
    house.port.set(Weather::Fair);
    refreshing.await.unwrap().unwrap();
    assert!(dismissed(&house, &gone.1).await);
    assert!(!dismissed(&house, &new.1).await);
    assert!(!dismissed(&house, &before.1).await);
    let calls = house.port.calls();
    assert_eq!(calls, ["account_by_key", "account_by_key"], "only for them");
}

/// What everybody online is measured by takes the same number of questions, however many they
/// are.
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

/// A log that a test can read.
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
    /// The events so far, in order, those of orders left out.
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
    // As long as there is one subscriber, of this thread, an event that another thread comes to
    // first is taken for one that nobody wants.
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
        house.port.set(Weather::Down);
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
        house.port.set(Weather::Fair);
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
