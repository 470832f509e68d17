//! Store lookups during and after authentication, and notices to operators.

use crate::harness::Changes;
use ssh_chat::access::authenticator::AuthTicket;
use ssh_chat::chat::intent::Intent;
use ssh_chat::chat::preferences::IgnoreChange;
use ssh_chat::chat::preferences::Ignored;

use super::*;

/// A request with the usual address and client.
fn auth_request<'a>(user: &'a Text, key: &'a ProvenKey) -> AuthRequest<'a> {
    AuthRequest {
        addr: "192.0.2.1:4022".parse().unwrap(),
        user,
        client: &CLIENT,
        key: Some(key),
    }
}

async fn pass(house: &House, who: &str) -> Option<Box<AuthTicket>> {
    let user = Text::stored_line(who);
    match house
        .guard
        .authenticate(auth_request(&user, &proven(who)))
        .await
    {
        AuthDecision::Accepted(pass) => pass,
        other => panic!("{who} was refused: {other:?}"),
    }
}

/// A session right after authentication needs no second lookup, unless something changed in
/// between.
#[tokio::test]
async fn a_ticket_replaces_a_lookup_until_something_changes() {
    let house = House::new(Mode::Allowlist).await;
    let (member, operator) = (proven("member"), proven("operator"));
    let user = Text::stored_line("member");
    let with = |pass, key| house.guard.admit(auth_request(&user, key), pass);

    let fresh = pass(&house, "member").await;
    assert!(fresh.is_some());
    house.port.calls();
    let admitted = with(fresh.clone(), &member).await.unwrap();
    assert_eq!(admitted.account.unwrap().name, name("member"));
    assert!(house.port.calls().is_empty(), "no lookup");

    let other = with(fresh.clone(), &operator).await.unwrap();
    assert_eq!(other.account.unwrap().name, name("operator"));
    assert_eq!(
        house.port.calls(),
        ["account_by_key"],
        "the ticket is for another key"
    );

    let ban = Order::Ban(BanSelector::Key(member.fingerprint.clone()), None, None);
    house.order("operator", ban).await.unwrap();
    let banned = with(fresh.clone(), &member).await;
    assert!(banned.is_err(), "{banned:?}");
    house.order("operator", Order::Unban(5)).await.unwrap();

    let fresh = pass(&house, "member").await;
    let account = house.find("member").await.id;
    let (lost, entry) = (&member.fingerprint, audit());
    let removed = house.store.remove_key(account, lost, true, &entry);
    removed.await.unwrap();
    house.guard.refresh().await.unwrap();
    let gone = with(fresh, &member).await;
    assert!(gone.is_err(), "the key was revoked: {gone:?}");
}

/// A new user's key is cached from then on, for store outages too.
#[tokio::test]
async fn a_new_account_is_cached() {
    let house = House::new(Mode::Open).await;
    let stranger = proven("stranger");
    let user = Text::stored_line("stranger");
    let who = auth_request(&user, &stranger);
    let fresh = pass(&house, "stranger").await;
    assert!(house.guard.admit(who, fresh).await.unwrap().may_be_new);
    let account = Account::new(AccountId(9), name("stranger"), Role::Member, Time(0));
    let record = key("stranger");
    let made = house.guard.create_account(who, &account, &record);
    made.await.unwrap();
    house.port.set(StoreMode::Down);
    let again = house.guard.admit(who, None).await.unwrap();
    assert_eq!(again.account, Some(account));
}

/// Operators are notified, once, when an unknown key logs in under the name of an account, whether
/// it's admitted or not.
#[tokio::test]
async fn operators_are_notified_of_unknown_keys_under_known_names() {
    // (access mode, login name, whether it belongs to an account)
    let table = [
        (Mode::Allowlist, "member", true),
        (Mode::Allowlist, "stranger", false),
        (Mode::Open, "member", true),
        (Mode::Open, "stranger", false),
    ];
    for (mode, user, told) in table {
        let house = House::new(mode).await;
        let (_operator, inbox) = house.online("operator").await;
        let stranger = proven("stranger");
        let login = Text::stored_line(user);
        let who = auth_request(&login, &stranger);
        for _ in 0..2 {
            if let AuthDecision::Accepted(pass) = house.guard.authenticate(who).await {
                assert_eq!(mode, Mode::Open);
                house.guard.admit(who, pass).await.unwrap();
                let id = AccountId(rand::random());
                let account = Account::new(id, name(user), Role::Member, Time(0));
                let record = key("stranger");
                let made = house.guard.create_account(who, &account, &record);
                assert_eq!(made.await.is_err(), told);
                break;
            }
        }
        house.hub.ping().await.unwrap();
        let (heard, _) = inbox.take();
        let heard: Vec<String> = heard.iter().map(|one| format!("{one:?}")).collect();
        let words = format!("Login with an unknown key as {user}, which belongs to member");
        assert_eq!(
            heard.len(),
            usize::from(told),
            "{mode:?}, {user}: {heard:?}"
        );
        assert!(heard.iter().all(|one| one.contains(&words)), "{heard:?}");
    }
}

/// The preferences were read before another session changed them.
#[tokio::test]
async fn a_new_session_gets_its_ignore_list() {
    let house = House::new(Mode::Open).await;
    let ignored = Ignored {
        account: AccountId(9),
        name: "zoe".to_owned(),
    };
    let told = |inbox: &Inbox| {
        let (deliveries, _) = inbox.take();
        let lists = deliveries
            .into_iter()
            .filter_map(|delivery| match delivery {
                Delivery::Ignored(ignored) => Some(ignored.to_vec()),
                _ => None,
            });
        lists.collect::<Vec<_>>()
    };
    let (first, inbox) = house.online("member").await;
    assert!(told(&inbox).is_empty(), "the ticket's copy is unchanged");
    let change = IgnoreChange::Add(ignored.clone());
    first.submit(1, Intent::Ignore(change)).unwrap();
    let (_second, late) = house.online("member").await;
    let (_other, others) = house.online("operator").await;
    house.hub.ping().await.unwrap();
    assert_eq!(told(&inbox), [vec![ignored.clone()]]);
    assert_eq!(told(&late), [vec![ignored]]);
    assert!(told(&others).is_empty());
}
