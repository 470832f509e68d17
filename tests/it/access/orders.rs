//! Moderation commands: who may use them, and their effect.

use ssh_chat::access::orders::PurgeSelector;
use ssh_chat::chat::access::PendingKey;
use ssh_chat::chat::ids::{Conversation, RoomName};

use super::*;
use ssh_chat::chat::intent::{Answer, Query};

#[tokio::test]
async fn commands_require_the_right_rank() {
    let reason = || Some(Text::stored("because"));
    let orders: Vec<(&str, Order)> = vec![
        ("kick", Order::Kick(name("member"), reason())),
        (
            "ban",
            Order::Ban(
                BanSelector::Client(ClientPrefix::stored("SSH-2.0-Worse")),
                Some(1000),
                None,
            ),
        ),
        ("unban", Order::Unban(1)),
        ("bans", Order::Bans),
        ("mute", Order::Mute(name("member"), None, reason())),
        ("unmute", Order::Unmute(name("member"))),
        ("rename", Order::Rename(name("banned"), name("renamed"))),
        ("op", Order::SetRole(name("renamed"), Role::Operator)),
        ("deop", Order::SetRole(name("member"), Role::Member)),
        ("lockdown", Order::Lockdown(LockdownScope::Everyone, None)),
        ("no guests", Order::Lockdown(LockdownScope::Guests, None)),
        ("unlock", Order::EndLockdown),
        (
            "purge",
            Order::Purge(PurgeSelector::Author(name("guest-7f3a")), 3_600_000),
        ),
        ("announce", Order::Announce(Text::stored("hear"))),
        (
            "invite",
            Order::Invite {
                uses: 1,
                life: None,
                role: Role::Member,
            },
        ),
        ("invites", Order::Invites),
        ("pending", Order::Pending),
        ("audit", Order::Audit(10)),
    ];
    for (who, allowed) in [
        ("nobody", false),
        ("stranger", false),
        ("member", false),
        ("operator", true),
    ] {
        let house = House::new(Mode::Allowlist).await;
        let _to_be_kicked = house.online("member").await;
        for (what, order) in &orders {
            let result = house.order(who, order.clone()).await;
            assert_eq!(result.is_ok(), allowed, "{what} by {who}: {result:?}");
        }
        // Users with an account manage their own keys.
        let own = house
            .order(who, Order::AddKey(Box::new(key("second"))))
            .await;
        assert_eq!(
            own.is_ok(),
            matches!(who, "member" | "operator"),
            "{who}: {own:?}"
        );
    }
}

/// Sends a message as a user, and waits until it's saved.
async fn say((person, inbox): &(Attachment, Arc<Inbox>), to: Target, words: &str) {
    let intent = Intent::Say {
        to,
        text: Text::stored(words),
        action: false,
    };
    person.submit(7, intent).unwrap();
    let accepted = |delivery: &Delivery| matches!(delivery, Delivery::Accepted(7));
    while !inbox.take().0.iter().any(accepted) {
        inbox.notified().await;
    }
}

/// Two guests, a member and an operator have sent messages, all from one address.
async fn flooded() -> (House, Vec<(Attachment, Arc<Inbox>)>) {
    let house = House::new(Mode::Open).await;
    let lobby = || Target::Room(RoomName::lobby());
    let people = vec![
        house.guest("guest-7f3a").await,
        house.guest("guest-8888").await,
        house.online("member").await,
        house.online("operator").await,
    ];
    for (who, to) in [
        (0, lobby()),
        (0, lobby()),
        (0, Target::Person(name("member"))),
        (1, lobby()),
        (2, lobby()),
        (2, lobby()),
        (3, lobby()),
    ] {
        say(&people[who], to, &format!("flood by {who}")).await;
    }
    (house, people)
}

async fn in_the_lobby(house: &House) -> usize {
    let lobby = Conversation::Room(RoomName::lobby());
    let said = house.store.history(&lobby, None, 100).await.unwrap();
    said.len()
}

#[tokio::test]
async fn a_purge_removes_only_its_targets_messages() {
    let person = |who| PurgeSelector::Author(name(who));
    let from = |net| PurgeSelector::Network(network(net).unwrap());
    let since = "Addresses are known for sessions of the last";
    // (target, output, messages left in the lobby)
    let nothing = "No messages by guest-9999 in the last 1h.";
    for (whom, told, left) in [
        (
            person("guest-7f3a"),
            "Removed 3 messages by guest-7f3a from the last 1h, in 1 room, 1 of them direct.",
            4,
        ),
        (
            PurgeSelector::Guests,
            "Removed 4 messages by guests from the last 1h, in 1 room, 1 of them direct.",
            3,
        ),
        (
            person("member"),
            "Removed 2 messages by member from the last 1h, in 1 room.",
            4,
        ),
        // Except what the operator sent.
        (
            from("192.0.2.0/24"),
            "Removed 6 messages by 192.0.2.0/24 from the last 1h, in 1 room, 1 of them direct.",
            1,
        ),
        (person("guest-9999"), nothing, 6),
        (
            from("192.0.2.8"),
            "No one who can be purged connected from 192.0.2.8.",
            6,
        ),
        (person("somebody"), "No account named somebody.", 6),
    ] {
        let (house, people) = flooded().await;
        // Online or not: the log contains what's needed.
        drop(people);
        let order = Order::Purge(whom.clone(), 3_600_000);
        let report = match house.report("operator", order).await {
            Ok(OrderReply::Done(words)) | Err(words) => words,
            other => panic!("{other:?}"),
        };
        assert!(report.starts_with(told), "{report}");
        let by_address = matches!(whom, PurgeSelector::Network(_));
        assert_eq!(report.contains(since), by_address, "{report}");
        assert_eq!(in_the_lobby(&house).await, left, "{whom:?}");
        let audits = house.store.audits(100).await.unwrap();
        let purges = audits.iter().filter(|audit| audit.action == "purge");
        assert_eq!(purges.count(), usize::from(left < 6), "{whom:?}");
    }
}

/// However a purge is interrupted, completed steps stay, and the same command removes the rest.
#[tokio::test]
async fn an_interrupted_purge_reports_its_progress() {
    let purge = || Order::Purge(PurgeSelector::Guests, 3_600_000);
    for (without, removed, left) in [("conversations", 0, 6), ("purge", 0, 6), ("purged", 4, 3)] {
        let (house, _people) = flooded().await;
        house.port.set(StoreMode::Without(match without {
            "conversations" => &["conversations"],
            "purge" => &["purge"],
            _ => &["purged"],
        }));
        let cut = house.order("operator", purge()).await.unwrap_err();
        let expected = format!("Removed {removed} messages by guests, then stopped: ");
        assert!(cut.starts_with(&expected), "{cut}");
        assert!(
            cut.ends_with("Repeat the command to remove the rest."),
            "{cut}"
        );
        assert_eq!(in_the_lobby(&house).await, left);
        house.port.set(StoreMode::Working);
        house.order("operator", purge()).await.unwrap();
        assert_eq!(in_the_lobby(&house).await, 3);
    }

    // A shutdown waits for running commands, but not long for this one.
    let (house, _people) = flooded().await;
    let house = Arc::new(house);
    house.port.set(StoreMode::Holding("purge"));
    let ordered = Arc::clone(&house);
    let order = tokio::spawn(async move { ordered.order("operator", purge()).await });
    house.port.holds().await;
    let guard = Arc::clone(&house.guard);
    let finished = tokio::spawn(async move { guard.finish_orders().await });
    tokio::task::yield_now().await;
    house.port.set(StoreMode::Working);
    finished.await.unwrap();
    let cut = order.await.unwrap().unwrap_err();
    assert!(
        cut.contains("then stopped: the server is stopping."),
        "{cut}"
    );
    let audits = house.store.audits(1).await.unwrap();
    assert!(
        audits[0].detail.as_str().ends_with("not complete"),
        "{audits:?}"
    );
}

#[tokio::test]
async fn commands_apply_to_online_users() {
    let house = House::new(Mode::Allowlist).await;
    // (command, whether the member's session ends)
    let table = [
        (Order::Kick(name("member"), None), true),
        (
            Order::Ban(BanSelector::Account(name("member")), Some(60_000), None),
            true,
        ),
        (Order::Unban(5), false),
        (
            Order::Ban(BanSelector::Key(key("member").fingerprint), None, None),
            true,
        ),
        (Order::Unban(6), false),
        (
            Order::Ban(
                BanSelector::Network(network("192.0.2.0/24").unwrap()),
                None,
                None,
            ),
            true,
        ),
        (Order::Unban(7), false),
        (
            Order::Ban(
                BanSelector::Client(ClientPrefix::stored("SSH-2.0-Test")),
                None,
                None,
            ),
            true,
        ),
        (Order::Unban(8), false),
        (Order::Mute(name("member"), None, None), false),
    ];
    for (order, ends) in table {
        let (_attachment, inbox) = house.online("member").await;
        house.order("operator", order.clone()).await.unwrap();
        assert_eq!(dismissed(&house, &inbox).await, ends, "{order:?}");
    }
}

#[tokio::test]
async fn operators_can_not_ban_themselves() {
    let house = House::new(Mode::Allowlist).await;
    let out = "That would ban you too:";
    let bans = house.store.bans(Time(0)).await.unwrap();
    for (whom, expected) in [
        (
            BanSelector::Account(name("operator")),
            "That's you.".to_owned(),
        ),
        (
            BanSelector::Key(key("operator").fingerprint),
            "That's your own key.".to_owned(),
        ),
        (
            BanSelector::Network(network("198.51.0.0/16").unwrap()),
            format!("{out} you're connected from 198.51.100.9."),
        ),
        (
            BanSelector::Client(ClientPrefix::stored("SSH-2.0-OpenSSH")),
            format!("{out} your client is {OPENSSH}."),
        ),
    ] {
        let refused = house.order("operator", Order::Ban(whom, None, None)).await;
        assert_eq!(refused, Err(expected));
    }
    assert_eq!(house.store.bans(Time(0)).await.unwrap(), bans, "no new ban");
}

/// Out of the chat at once, without waiting for the client.
#[tokio::test]
async fn a_dismissed_user_can_send_nothing_more() {
    let house = House::new(Mode::Allowlist).await;
    let (member, inbox) = house.online("member").await;
    let (_other, heard) = house.online("operator").await;
    let kick = Order::Kick(name("member"), None);
    house.order("operator", kick).await.unwrap();
    member
        .submit(
            7,
            Intent::Say {
                to: Target::Person(name("operator")),
                text: Text::stored("still here"),
                action: false,
            },
        )
        .unwrap();
    assert!(dismissed(&house, &inbox).await);
    let online = house.hub.online().await;
    assert_eq!(online.len(), 1, "{online:?}");
    house.store.ping().await.unwrap();
    house.hub.ping().await.unwrap();
    assert!(heard.take().0.is_empty(), "no one sees their message");
}

/// The store also finds look-alike names, and earlier names of an account.
#[tokio::test]
async fn a_command_affects_no_one_else() {
    let house = House::new(Mode::Allowlist).await;
    let (_attachment, inbox) = house.online("member").await;
    for look_alike in ["rnernber", "mernber", "member_", "mem-ber"] {
        for order in [
            Order::Kick(name(look_alike), None),
            Order::Ban(BanSelector::Account(name(look_alike)), None, None),
            Order::Mute(name(look_alike), None, None),
            Order::SetRole(name(look_alike), Role::Operator),
        ] {
            let result = house.order("operator", order.clone()).await;
            assert!(result.is_err(), "{order:?}");
        }
    }
    let refused = house.order("operator", Order::Kick(name("rnernber"), None));
    assert!(refused.await.unwrap_err().contains("member"));
    assert!(!dismissed(&house, &inbox).await);
    assert_eq!(house.find("member").await.role, Role::Member);
}

#[tokio::test]
async fn the_last_operator_stays() {
    let house = House::new(Mode::Allowlist).await;
    let refused = house
        .order("operator", Order::SetRole(name("operator"), Role::Member))
        .await;
    assert!(refused.unwrap_err().contains("last operator"));
    let promoted = house.order("operator", Order::SetRole(name("member"), Role::Operator));
    promoted.await.unwrap();
    let stepped_down = house.order("operator", Order::SetRole(name("operator"), Role::Member));
    stepped_down.await.unwrap();
    // A revoked role is lost at once.
    assert!(house.order("operator", Order::Bans).await.is_err());
}

/// A command is completed, and takes effect, even if its user disconnects before it's done.
#[tokio::test]
async fn a_command_in_progress_is_completed() {
    let house = House::new(Mode::Allowlist).await;
    let (_there, _inbox) = house.online("member").await;
    house.port.set(StoreMode::Holding("rename"));
    let rename = Order::Rename(name("member"), name("renamed"));
    let guard = Arc::clone(&house.guard);
    let requester = house.requester("operator").await;
    let given = tokio::spawn(async move { guard.execute(requester, rename).await });
    house.port.holds().await;
    given.abort();
    assert!(given.await.unwrap_err().is_cancelled());
    house.port.set(StoreMode::Working);
    house.guard.finish_orders().await;
    let audits = house.store.audits(1).await.unwrap();
    assert_eq!(audits[0].action, "rename");
    let seen = house
        .hub
        .query(Query::Whois(name("renamed")))
        .await
        .unwrap();
    assert!(matches!(seen, Answer::Person(_)), "{seen:?}");

    let refused = house.order("operator", Order::Bans).await;
    assert!(refused.unwrap_err().contains("stopping"));
}

#[tokio::test]
async fn an_offline_user_can_not_be_kicked() {
    let house = House::new(Mode::Allowlist).await;
    let kick = Order::Kick(name("member"), None);
    let absent = house.order("operator", kick.clone()).await;
    assert_eq!(absent, Err("member is not online.".into()));
    let audits = house.store.audits(9).await.unwrap();
    assert!(audits.iter().all(|entry| entry.action != "kick"));
    let (_there, _inbox) = house.online("member").await;
    assert_eq!(house.order("operator", kick).await, Ok(()));
    assert_eq!(house.store.audits(1).await.unwrap()[0].action, "kick");
}

/// A regression: if a rename's audit entry couldn't be saved, the store had the new name and the
/// chat the old one.
#[tokio::test]
async fn a_failed_rename_changes_nothing() {
    let house = House::new(Mode::Allowlist).await;
    let (_there, _inbox) = house.online("member").await;
    house.port.set(StoreMode::Without(&["rename"]));
    let rename = Order::Rename(name("member"), name("renamed"));
    let failed = house.order("operator", rename).await;
    assert!(failed.unwrap_err().starts_with("Failed: "));
    assert_eq!(house.find("member").await.name, name("member"));
    let seen = house
        .hub
        .query(Query::Whois(name("renamed")))
        .await
        .unwrap();
    assert!(matches!(seen, Answer::Refused(_)), "{seen:?}");
}

/// A pending key whose name was reserved in the meantime can only be approved under another one.
#[tokio::test]
async fn a_name_reserved_since_is_not_approved() {
    let house = House::new(Mode::Allowlist).await;
    let pending = PendingKey {
        key: key("stranger"),
        name: name("admin"),
        from: "192.0.2.9".parse().unwrap(),
        at: ssh_chat::clock::now(),
    };
    assert!(house.store.add_pending(&pending).await.unwrap());
    let approve = |name| Order::Approve("admin".to_owned(), name);
    let refused = house.order("operator", approve(None)).await.unwrap_err();
    assert!(
        refused.contains("the name admin is reserved") && refused.contains("/approve KEY NAME"),
        "{refused}"
    );
    assert_eq!(
        house.store.pending(ssh_chat::clock::now()).await,
        Ok(vec![pending])
    );
    let named = approve(Some(name("zoe")));
    assert_eq!(house.order("operator", named).await, Ok(()));
    assert_eq!(house.find("zoe").await.role, Role::Member);
}

#[tokio::test]
async fn pending_keys_are_denied_together() {
    let house = House::new(Mode::Allowlist).await;
    let ask = async |number: usize, from: &str| {
        let pending = PendingKey {
            key: key(&format!("stranger{number}")),
            name: name(&format!("stranger{number}")),
            from: from.parse().unwrap(),
            at: ssh_chat::clock::now(),
        };
        assert!(house.store.add_pending(&pending).await.unwrap());
    };
    let deny = async |which: &str| {
        let requester = house.requester("operator").await;
        let order = Order::Deny(which.to_owned());
        match Arc::clone(&house.guard).execute(requester, order).await {
            Ok(OrderReply::Done(words)) | Err(words) => words,
            other => panic!("{other:?}"),
        }
    };
    for number in 0..100 {
        ask(number, "192.0.2.1").await;
    }
    ask(100, "192.0.2.9").await;
    ask(101, "2001:db8::1").await;
    for (which, expected) in [
        (
            "192.0.2.7",
            "No pending requests from 192.0.2.7. /pending lists them all.",
        ),
        ("2001:db8::/64", "Denied 1 key."),
        ("192.0.2.9", "Denied 1 key."),
        ("stranger0", "Request from stranger0 denied."),
        ("all", "Denied 99 keys."),
        ("all", "No pending requests."),
    ] {
        assert_eq!(deny(which).await, expected, "{which}");
    }
    let audits = house.store.audits(3).await.unwrap();
    let details: Vec<&str> = audits.iter().map(|audit| audit.detail.as_str()).collect();
    assert_eq!(details[..2], ["9 keys", "90 keys"], "in two transactions");
}

/// Replies to a user who requests access, and notices to operators.
#[tokio::test]
async fn pending_keys_are_limited_per_address() {
    let house = House::new(Mode::Allowlist).await;
    house.guard.set_rules(Rules {
        approval: true,
        trusted: TrustedNetworks::new(vec![network("198.51.100.0/24").unwrap()]),
        ..rules(Mode::Allowlist, "config")
    });
    let (_operator, inbox) = house.online("operator").await;
    let ask = async |number: usize, from: &str| {
        let stranger = proven(&format!("stranger{number}"));
        let who = AuthRequest {
            addr: format!("{from}:4022").parse().unwrap(),
            user: &SOMEBODY,
            client: &CLIENT,
            key: Some(&stranger),
        };
        let asked = house
            .guard
            .redeem_invite(who, "", &format!("stranger{number}"))
            .await;
        asked.unwrap_err().notice
    };
    let asked = "Request sent to the operators. Connect again later.";
    for number in 0..7 {
        let expected = match number {
            0..5 => asked,
            _ => "5 requests from your address are pending. Ask an operator for an invite.",
        };
        assert_eq!(ask(number, "192.0.2.1").await, expected, "{number}");
    }
    let again = "Your request is already pending. Connect again later.";
    assert_eq!(ask(0, "192.0.2.1").await, again);
    for number in 10..20 {
        assert_eq!(ask(number, "198.51.100.1").await, asked, "{number}");
    }
    house.hub.ping().await.unwrap();
    let heard = format!("{:?}", inbox.take().0);
    assert_eq!(heard.matches("wants to join").count(), 1, "{heard}");
    assert!(heard.contains("/approve stranger0"), "{heard}");
}
