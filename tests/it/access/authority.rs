//! Console over configured operators over operators over members: who can act on whom, and whose
//! decisions they can lift.

use ssh_chat::chat::access::Issuer;

use super::*;

/// Targets, in addition to the usual accounts.
const PEOPLE: [(&str, Role); 4] = [
    ("config", Role::Member),
    ("second", Role::Operator),
    ("other", Role::Member),
    ("zoe", Role::Member),
];

async fn house() -> House {
    let house = House::new(Mode::Allowlist).await;
    for (who, role) in PEOPLE {
        house.account(who, role).await;
    }
    let config = house.find("config").await;
    // The configuration contains one of its two keys.
    let second = key("configs-second");
    house
        .store
        .add_key(config.id, &second, &audit())
        .await
        .unwrap();
    let configured = [key("config").fingerprint, key("config2").fingerprint];
    house.guard.set_rules(Rules {
        operator_keys: configured.to_vec(),
        ..rules(Mode::Allowlist, "config")
    });
    house.account("config2", Role::Member).await;
    house
}

impl House {
    /// A command by this actor; `(console)` is the console.
    async fn by(&self, who: &str, order: Order) -> Result<(), String> {
        match who {
            "(console)" => self.guard.execute_at_console(order).await.map(|_| ()),
            who => self.order(who, order).await,
        }
    }
}

/// Every command that restricts a user.
fn restricting(whom: &str) -> Vec<(&'static str, Order)> {
    let ban = |whom| Order::Ban(whom, None, None);
    let fingerprint = key(whom).fingerprint;
    vec![
        ("kick", Order::Kick(name(whom), None)),
        ("ban", ban(BanSelector::Account(name(whom)))),
        ("ban key", ban(BanSelector::Key(fingerprint))),
        (
            "ban network",
            ban(BanSelector::Network(network("192.0.2.0/24").unwrap())),
        ),
        (
            "ban client",
            ban(BanSelector::Client(ClientPrefix::new("Test").unwrap())),
        ),
        ("mute", Order::Mute(name(whom), None, None)),
        ("rename", Order::Rename(name(whom), name("renamed"))),
        ("deop", Order::SetRole(name(whom), Role::Member)),
    ]
}

/// Each command by each rank on each rank: all follow the same rule.
#[tokio::test]
async fn users_restrict_only_lower_ranks() {
    // (actor, whether they can act on: a member, an operator, a configured operator)
    for (actor, allowed) in [
        ("member", [false, false, false]),
        ("operator", [true, false, false]),
        ("config", [true, true, false]),
        ("(console)", [true, true, true]),
    ] {
        for (whom, allowed) in ["other", "second", "config2"].into_iter().zip(allowed) {
            let mut house = house().await;
            for (what, order) in restricting(whom) {
                // The console has no running server to act on, and no command overrides the
                // configuration.
                let never = actor == "(console)"
                    && (what == "kick" || (what == "deop" && whom == "config2"));
                if what == "deop" && whom == "config2" && actor == "config" {
                    // Refused in any case.
                    continue;
                }
                let (_attachment, _inbox) = house.online(whom).await;
                let done = house.by(actor, order).await;
                assert_eq!(
                    done.is_ok(),
                    allowed && !never,
                    "{what} {whom} by {actor}: {done:?}"
                );
                if let Err(words) = done
                    && actor != "member"
                    && !never
                {
                    assert!(words.starts_with("Not allowed: "), "{words}");
                    assert!(
                        words.contains(whom) && words.contains("ssh-chat admin"),
                        "{words}"
                    );
                } else {
                    house = self::house().await;
                }
            }
            let bans = house.store.bans(Time(0)).await.unwrap();
            assert!(bans.iter().all(|ban| ban.id <= 4), "{bans:?}");
        }
    }
}

/// One key in the list protects the account; acting with its authority takes that key.
#[tokio::test]
async fn an_account_is_configured_by_any_of_its_keys() {
    let house = house().await;
    let ban = |key| Order::Ban(BanSelector::Key(key), None, None);
    for fingerprint in ["config", "configs-second"] {
        let refused = house
            .order("operator", ban(key(fingerprint).fingerprint))
            .await;
        assert!(
            refused.unwrap_err().contains("operator_keys"),
            "{fingerprint}"
        );
    }
    let online = NewSession {
        key: Some(key("configs-second").fingerprint),
        ..arrival(&house, "config").await
    };
    let inbox = Arc::new(Inbox::default());
    let _there = house.hub.attach(online, inbox).await.unwrap();
    let crowd = Order::Ban(
        BanSelector::Network(network("192.0.2.7").unwrap()),
        None,
        None,
    );
    let refused = house.order("operator", crowd.clone()).await.unwrap_err();
    assert!(refused.contains("config, who is online"), "{refused}");
    assert!(house.order("config2", crowd.clone()).await.is_err());
    assert_eq!(house.by("(console)", crowd).await, Ok(()));

    let mut requester = house.requester("config").await;
    requester.key = Some(key("configs-second").fingerprint);
    let refused = Arc::clone(&house.guard)
        .execute(requester, Order::Bans)
        .await;
    assert!(refused.is_err(), "{refused:?}");
    // A key in the list without an account.
    let unknown = Rules {
        operator_keys: vec![key("unknown").fingerprint],
        ..rules(Mode::Allowlist, "config")
    };
    house.guard.set_rules(unknown);
    let refused = house
        .order("operator", ban(key("unknown").fingerprint))
        .await;
    assert!(refused.unwrap_err().contains("operator_keys"));
}

/// Acting on oneself is allowed where it makes sense.
#[tokio::test]
async fn users_may_restrict_themselves() {
    for (order, allowed) in [
        (Order::SetRole(name("operator"), Role::Member), true),
        (Order::Rename(name("operator"), name("renamed")), true),
        (Order::Mute(name("operator"), None, None), true),
        (Order::Kick(name("operator"), None), true),
        (
            Order::Ban(BanSelector::Account(name("operator")), None, None),
            false,
        ),
    ] {
        let house = house().await;
        let (_attachment, _inbox) = house.online("operator").await;
        let done = house.order("operator", order.clone()).await;
        assert_eq!(done.is_ok(), allowed, "{order:?}: {done:?}");
    }
}

/// Only the same or a higher rank can lift or replace a decision.
#[tokio::test]
async fn decisions_are_lifted_by_the_same_rank_or_above() {
    let ranks = ["operator", "config", "(console)"];
    for (made, by) in ranks.into_iter().enumerate() {
        for (lifted, who) in ["second", "config2", "(console)"].into_iter().enumerate() {
            let house = house().await;
            let allowed = lifted >= made;
            for (begin, replace, end) in [
                (
                    Order::Ban(BanSelector::Account(name("zoe")), None, None),
                    None,
                    Order::Unban(5),
                ),
                (
                    Order::Mute(name("other"), None, None),
                    Some(Order::Mute(name("other"), Some(60_000), None)),
                    Order::Unmute(name("other")),
                ),
                (
                    Order::Lockdown(LockdownScope::Everyone, None),
                    Some(Order::Lockdown(LockdownScope::Guests, Some(60_000))),
                    Order::EndLockdown,
                ),
            ] {
                house.by(by, begin.clone()).await.unwrap();
                for end in replace.into_iter().chain([end]) {
                    let done = house.by(who, end.clone()).await;
                    assert_eq!(done.is_ok(), allowed, "{end:?} of {by} by {who}: {done:?}");
                    if let Err(words) = done {
                        assert!(words.contains("ssh-chat admin"), "{words}");
                    }
                }
            }
        }
    }
}

/// A muted operator can still use commands, but can't unmute themselves; a demoted operator loses
/// all authority.
#[tokio::test]
async fn the_current_rank_counts() {
    let house = house().await;
    let mute = Order::Mute(name("operator"), None, None);
    house.order("config", mute).await.unwrap();
    let unmute = || Order::Unmute(name("operator"));
    let refused = house.order("operator", unmute()).await.unwrap_err();
    assert!(refused.contains("was set by config, who"), "{refused}");
    assert_eq!(house.order("config2", unmute()).await, Ok(()));

    let rogue = Order::Ban(BanSelector::Account(name("zoe")), None, None);
    house.order("second", rogue).await.unwrap();
    let demote = Order::SetRole(name("second"), Role::Member);
    house.by("(console)", demote).await.unwrap();
    assert_eq!(house.order("operator", Order::Unban(5)).await, Ok(()));
    let last = house.store.audits(2).await.unwrap();
    assert_eq!(last[1].actor, Actor::Console);
}

/// Network and client bans target crowds: after authentication they don't apply to keys in the
/// configuration. Before it, no one has proven anything.
#[tokio::test]
async fn network_bans_spare_configured_operators_after_authentication() {
    let house = house().await;
    let (_attachment, inbox) = house.online("config").await;
    let (_other, others) = house.online("other").await;
    for target in [
        BanTarget::Network(network("192.0.2.0/24").unwrap()),
        BanTarget::Client(ClientPrefix::new("Test").unwrap()),
    ] {
        house.ban(target).await;
    }
    let house = house.refreshed().await;
    assert!(!dismissed(&house, &inbox).await);
    assert!(dismissed(&house, &others).await);
    for (who, decision) in [("config", "in"), ("second", "no"), ("other", "no")] {
        assert_eq!(
            house.judge(who, "192.0.2.7", OPENSSH).await,
            decision,
            "{who}"
        );
        assert_eq!(
            house.judge(who, "198.51.100.1", "SSH-2.0-Test").await,
            decision,
            "{who}"
        );
    }
    assert!(!house.guard.allows_address("192.0.2.7".parse().unwrap()));
    // A ban on their own account or key applies, and only the console can make one.
    let ban = Order::Ban(BanSelector::Account(name("config")), None, None);
    house.by("(console)", ban).await.unwrap();
    let house = house.refreshed().await;
    assert!(dismissed(&house, &inbox).await);
    assert_eq!(house.judge("config", "198.51.100.1", OPENSSH).await, "no");
}

/// A key given by a prefix: exactly one known key, or a refusal that helps.
#[tokio::test]
async fn a_prefix_names_one_known_key() {
    let house = house().await;
    let fingerprint = |tail: &str| Fingerprint::new(&format!("SHA256:{tail:x<43}"));
    let record = |tail: &str| KeyRecord {
        fingerprint: fingerprint(tail),
        ..key("unused")
    };
    let zoe = house.find("zoe").await;
    for tail in ["AAAABBBB1", "AAAABBBB2", "CCCCDDDD1"] {
        let (key, entry) = (record(tail), audit());
        let added = house.store.add_key(zoe.id, &key, &entry).await;
        added.unwrap();
    }
    let ban = |raw: &str| {
        let read =
            ssh_chat::access::orders::read(ssh_chat::chat::command::Verb::Ban, &[raw], |_| {
                Err(String::new())
            });
        read.unwrap()
    };
    let one = ban("SHA256:CCCCDDDD").unwrap();
    assert_eq!(house.order("operator", one).await, Ok(()));
    let bans = house.store.bans(Time(0)).await.unwrap();
    let last = bans.last().unwrap();
    assert_eq!(last.target, BanTarget::Key(fingerprint("CCCCDDDD1")));
    assert_eq!(last.by, Issuer::Account(name("operator")));
    for (raw, words) in [
        (
            "SHA256:AAAABBBB",
            "2 known keys begin with SHA256:AAAABBBB: SHA256:AAAABBBB1",
        ),
        (
            "SHA256:EEEEFFFF",
            "No known key begins with SHA256:EEEEFFFF",
        ),
    ] {
        let refused = house
            .order("operator", ban(raw).unwrap())
            .await
            .unwrap_err();
        assert!(refused.starts_with(words), "{refused}");
    }
    for raw in [
        "SHA256:",
        "SHA256:CCCCDDD",
        "SHA256:CCCCDDDD\u{202e}",
        "SHA256:CCCCDDDD!",
    ] {
        let refused = ban(raw).unwrap_err();
        assert!(refused.contains("is not a fingerprint"), "{refused}");
        assert!(!refused.contains('\u{202e}'), "{refused:?}");
    }
    assert_eq!(house.store.bans(Time(0)).await.unwrap(), bans, "no new ban");
}
