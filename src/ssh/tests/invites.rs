//! People whose key is not known, and what they are told and asked.

use super::scripted::{GOOD, SLOW, Scripted, TAKEN, USED, fingerprint, for_members, refused};
use super::*;
use crate::access::authenticator::CLAIM_NOTICE;

/// Offers a key, proves it, and is in or not.
async fn offer_key(client: &mut Handle<Trusting>, key: &Arc<PrivateKey>) -> bool {
    let login = client.authenticate_publickey("ann", offer(Arc::clone(key)));
    soon("a decision", login).await.unwrap().success()
}

/// A server that knows nobody, and a client whose key it has refused.
async fn stranger() -> (Running, Handle<Trusting>, Arc<PrivateKey>) {
    let running = start_with(Settings::default(), for_members(&key())).await;
    let mut client = running.client().await;
    let key = key();
    assert!(!offer_key(&mut client, &key).await);
    (running, client, key)
}

#[tokio::test]
async fn any_of_several_keys_may_be_the_known_one() {
    let known = key();
    let running = start_with(Settings::default(), for_members(&known)).await;
    let mut client = running.client().await;
    let stranger = key();
    for _ in 0..2 {
        assert!(!offer_key(&mut client, &stranger).await);
    }
    assert!(offer_key(&mut client, &known).await);
    let whoami = exec(&client, "whoami").await.out;
    assert!(whoami.contains(&fingerprint(&known)), "{whoami}");
    let asked = [&stranger, &known].map(|key| format!("ann {}", fingerprint(key)));
    assert_eq!(*running.door.seen(), asked, "each is looked up once");
    drop(client);
    running.open(0).await;
    assert_eq!(running.server.counters().auth_failed.get(), 0);
}

/// The first question. Its reason is in the prompt, too: `ssh -q` shows nothing else.
fn asked_who() -> Heard {
    asked(
        "Who are you?\nYou may be asked.\n",
        "Who are you? Invite code (Enter to leave): ",
    )
}

/// The question for a name, behind a good code.
fn asked_name() -> Heard {
    asked("", "The code is good. Enter keeps ann. Name: ")
}

#[tokio::test]
async fn a_code_lets_a_key_in_on_the_same_connection() {
    let (running, mut client, key) = stranger().await;
    assert_eq!(begin(&mut client).await, asked_who());
    assert_eq!(say(&mut client, &[" GOOD-CODE\n"]).await, asked_name());
    assert_eq!(say(&mut client, &["An\u{1b}n"]).await, Heard::In);
    let whoami = exec(&client, "whoami").await.out;
    assert!(whoami.contains(&fingerprint(&key)), "{whoami}");
    let redeemed = format!("ann code {GOOD:?} name \"Ann\"");
    assert_eq!(running.door.seen().last(), Some(&redeemed));
    let counters = running.server.counters();
    assert_eq!(counters.invites_redeemed.get(), 1);
    assert_eq!(counters.invites_wrong.get(), 0);
}

/// What the owner of a key is asked that accounts claim.
fn asked_claim(prompt: &str) -> Heard {
    asked(&format!("{CLAIM_NOTICE}\n"), prompt)
}

/// What is said, and what is heard upon it.
type Talk = Vec<(&'static str, Heard)>;

/// A server that knows nobody and a client that has proven these keys, each claimed by these.
async fn claimed(keys: &[(&Arc<PrivateKey>, &[&'static str])]) -> (Running, Handle<Trusting>) {
    let claims = keys
        .iter()
        .map(|(key, names)| (fingerprint(key), names.to_vec()));
    let door = Scripted {
        claims: claims.collect(),
        ..for_members(&key())
    };
    let running = start_with(Settings::default(), door).await;
    let mut client = running.client().await;
    for (key, _) in keys {
        assert!(!offer_key(&mut client, key).await);
    }
    (running, client)
}

#[tokio::test]
async fn the_owner_of_a_claimed_key_is_asked_before_the_code() {
    let (first, second) = (key(), key());
    let one =
        "The account amy wants to add this key. Type amy to accept, or press Enter to refuse: ";
    let two = "The accounts amy, zoe want to add this key. \
               Type one of the names to accept, or press Enter to refuse all: ";
    let again = || asked("", "Which? ");
    // (who claims the second key that is proven, what is said, what is heard)
    let table: [(&[&'static str], Talk); 6] = [
        (&["amy"], vec![("", asked_claim(one)), ("amy", Heard::In)]),
        (&["amy"], vec![("", asked_claim(one)), ("", asked_who())]),
        (
            &["amy", "zoe"],
            vec![("", asked_claim(two)), ("bo", again()), ("zoe", Heard::In)],
        ),
        (
            &["amy"],
            vec![
                ("", asked_claim(one)),
                ("a", again()),
                ("b", again()),
                ("c", asked_who()),
            ],
        ),
        (
            &["amy"],
            vec![("", asked_claim(one)), (TAKEN, told("Not now.\n"))],
        ),
        (&[], vec![("", asked_who())]),
    ];
    for (names, talk) in table {
        let (running, mut client) = claimed(&[(&first, &[]), (&second, names)]).await;
        let case = format!("{names:?} {talk:?}");
        let mut talk = talk.into_iter();
        assert_eq!(begin(&mut client).await, talk.next().unwrap().1, "{case}");
        let mut last = Heard::Out(Vec::new());
        for (said, heard) in talk {
            last = say(&mut client, &[said]).await;
            assert_eq!(last, heard, "{case}");
        }
        if last == Heard::In {
            let whoami = exec(&client, "whoami").await.out;
            assert!(whoami.contains(&fingerprint(&second)), "{whoami}");
        }
        assert_eq!(running.server.counters().invites_redeemed.get(), 0);
    }
}

/// A name that is taken is no guess of a code, and the code is not asked for again.
#[tokio::test]
async fn the_code_is_kept_while_somebody_looks_for_a_name() {
    let (running, mut client, _) = stranger().await;
    begin(&mut client).await;
    assert_eq!(say(&mut client, &[GOOD]).await, asked_name());
    let again = asked("", "It is taken. Another name: ");
    assert_eq!(say(&mut client, &[TAKEN]).await, again);
    assert_eq!(say(&mut client, &[TAKEN]).await, again);
    assert_eq!(say(&mut client, &["ann"]).await, Heard::In);
    let counters = running.server.counters();
    assert_eq!(counters.invites_wrong.get(), 0);
    let code = format!("ann code {GOOD:?}");
    let checks = running
        .door
        .seen()
        .iter()
        .filter(|seen| **seen == code)
        .count();
    assert_eq!(checks, 1);

    // Not for ever.
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    begin(&mut client).await;
    say(&mut client, &[GOOD]).await;
    for _ in 0..5 {
        assert_eq!(say(&mut client, &[TAKEN]).await, again);
    }
    assert_eq!(say(&mut client, &[TAKEN]).await, told("It is taken.\n"));
    assert_eq!(say(&mut client, &[]).await, out());
}

#[tokio::test]
async fn a_code_that_somebody_else_used_meanwhile_is_asked_for_again() {
    let (running, mut client, _) = stranger().await;
    begin(&mut client).await;
    assert_eq!(say(&mut client, &[USED]).await, asked_name());
    let again = "That code opens nothing. Invite code (Enter to leave): ";
    assert_eq!(say(&mut client, &["ann"]).await, asked("", again));
    assert_eq!(say(&mut client, &[GOOD]).await, asked_name());
    assert_eq!(say(&mut client, &["ann"]).await, Heard::In);
    assert_eq!(running.server.counters().invites_wrong.get(), 0);
}

#[tokio::test]
async fn a_code_is_asked_for_three_times() {
    let known = key();
    let running = start_with(Settings::default(), for_members(&known)).await;
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    let wrong = "That code opens nothing.";
    let again = asked("", &format!("{wrong} Invite code (Enter to leave): "));
    assert_eq!(begin(&mut client).await, asked_who());
    assert_eq!(say(&mut client, &["A"]).await, again);
    assert_eq!(say(&mut client, &["B"]).await, again);
    assert_eq!(say(&mut client, &["C"]).await, told(&format!("{wrong}\n")));
    assert_eq!(say(&mut client, &[]).await, out());
    assert_eq!(begin(&mut client).await, out());
    assert_eq!(running.server.counters().invites_wrong.get(), 3);

    drop(client);
    // Two more wrong codes, and for a minute codes from there are not looked at, not even on a
    // connection that was asked for one before.
    let mut before = running.client().await;
    assert!(!offer_key(&mut before, &key()).await);
    assert_eq!(begin(&mut before).await, asked_who());
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    begin(&mut client).await;
    say(&mut client, &["D"]).await;
    say(&mut client, &["E"]).await;
    assert_penalised(&say(&mut before, &[GOOD]).await);
    let mut after = running.client().await;
    assert!(!offer_key(&mut after, &key()).await);
    assert_penalised(&begin(&mut after).await);
    assert_eq!(say(&mut after, &[]).await, out());
    let counters = running.server.counters();
    assert_eq!(counters.invites_wrong.get(), 5);
    // Four connections at a time are let in, of which none is cut that was asked a question.
    let _one_more = {
        running.open(3).await;
        let mut one_more = running.client().await;
        assert!(!offer_key(&mut one_more, &key()).await);
        one_more
    };
    let config = Arc::new(client::Config::default());
    let refused = soon("a refusal", client::connect(config, running.addr, Trusting)).await;
    assert!(matches!(refused.err(), Some(russh::Error::Disconnect)));
    assert_eq!(counters.refused_penalty.get(), 1);
    drop(before);
    running.open(3).await;
    // A key that is known is not kept out by others of its address.
    assert!(offer_key(&mut running.client().await, &known).await);
}

fn assert_penalised(heard: &Heard) {
    let Heard::Words(words, questions) = heard else {
        panic!("{heard:?}");
    };
    let told = "Too many failed logins from your address. Try again in ";
    assert!(words.starts_with(told) && questions.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn an_empty_code_goes_to_the_door_and_is_no_guess() {
    for answers in [&[""][..], &[]] {
        let (running, mut client, _) = stranger().await;
        begin(&mut client).await;
        let name = asked("", "Enter keeps ann. Name: ");
        assert_eq!(say(&mut client, answers).await, name);
        let heard = say(&mut client, &["ann"]).await;
        assert_eq!(heard, told("An operator was asked.\n"));
        assert_eq!(say(&mut client, &[]).await, out());
        assert_eq!(running.server.counters().invites_wrong.get(), 0);
    }
}

#[tokio::test]
async fn a_refusal_is_explained() {
    let banned = key();
    let mut door = for_members(&key());
    let notice = "You are banned.\nFor an hour.";
    door.keys.insert(fingerprint(&banned), refused(notice));
    let running = start_with(Settings::default(), door).await;
    let mut client = running.client().await;
    // The first key is the one that counts.
    for key in [banned, key()] {
        assert!(!offer_key(&mut client, &key).await);
    }
    let heard = begin(&mut client).await;
    assert_eq!(heard, told("You are banned.\nFor an hour.\n"));
    assert_eq!(say(&mut client, &[]).await, out());
    drop(client);
    running
        .until("a failure", |c| c.auth_failed.get() == 1)
        .await;
}

#[tokio::test]
async fn an_invite_is_for_those_who_have_a_key() {
    let door = Scripted {
        guests: AuthDecision::AskInvite {
            notice: "Bring a key.".to_owned(),
            enter: "leave",
        },
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), door).await;
    let mut client = running.client().await;
    assert_eq!(begin(&mut client).await, told("Bring a key.\n"));
    assert_eq!(say(&mut client, &[GOOD]).await, out());
    assert_eq!(*running.door.seen(), ["ann none"]);
}

#[tokio::test]
async fn nothing_is_computed_for_who_is_not_served() {
    let door = Scripted {
        banned: true,
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), door).await;
    let mut stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let heard = edge::listen_only(&mut stream).await;
    assert!(heard.contains("Your address is banned here."), "{heard}");
    let counters = running.server.counters();
    assert_eq!(
        (counters.accepted.get(), counters.refused_ban.get()),
        (1, 1)
    );
    assert_eq!(counters.open.get(), 0);
}

/// Lets the time pass that the door has, once it was asked `nth` things that it won't answer.
async fn out_of_patience(running: &Running, nth: usize) {
    let mut waiting = running.door.waiting.subscribe();
    soon("a question to the door", waiting.wait_for(|n| *n == nth))
        .await
        .unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_door_that_says_nothing_is_nobodys_fault() {
    let door = Scripted {
        silent: true,
        ..Scripted::default()
    };
    let settings = Settings {
        max_auth_attempts: 1,
        ..Settings::default()
    };
    let running = start_with(settings, door).await;
    for asked in 1..=6 {
        let mut client = running.client().await;
        let first = key();
        let (entered, ()) = tokio::join!(
            offer_key(&mut client, &first),
            out_of_patience(&running, asked)
        );
        assert!(!entered);
        drop(client);
        running.open(0).await;
    }
    assert_eq!(running.server.counters().auth_failed.get(), 6);
    assert_eq!(running.server.counters().refused_penalty.get(), 0);
}

#[tokio::test]
async fn a_door_that_says_nothing_is_asked_once_and_then_excused() {
    let door = Scripted {
        silent: true,
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), door).await;
    let mut client = running.client().await;
    let first = key();
    let (entered, ()) = tokio::join!(offer_key(&mut client, &first), out_of_patience(&running, 1));
    assert!(!entered);
    assert!(!offer_key(&mut client, &key()).await, "without a wait");
    let words = "The server can't look up your key right now. Try again in a minute.\n";
    assert_eq!(begin(&mut client).await, told(words));
    assert_eq!(say(&mut client, &[]).await, out());
    assert_eq!(running.door.seen().len(), 1);
}

#[tokio::test]
async fn a_code_that_nobody_can_judge_is_no_guess() {
    let words = "The server could not check your invite code in time.\n\
        Connect again in a minute: if it was taken after all, you get in with your key alone.\n";
    // (what is answered at once, what the door says nothing to)
    for (quick, slow) in [(&[][..], SLOW), (&[GOOD][..], SLOW)] {
        let (running, mut client, _) = stranger().await;
        begin(&mut client).await;
        for answer in quick {
            say(&mut client, &[answer]).await;
        }
        let slow = [slow];
        let (heard, ()) = tokio::join!(say(&mut client, &slow), out_of_patience(&running, 1));
        assert_eq!(heard, told(words));
        assert_eq!(say(&mut client, &[]).await, out());
        assert_eq!(running.server.counters().invites_wrong.get(), 0);
    }
}

#[tokio::test]
async fn who_is_asked_has_time_to_answer() {
    let (running, mut client, _) = stranger().await;
    begin(&mut client).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    assert_eq!(say(&mut client, &[GOOD]).await, asked_name());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    assert_eq!(say(&mut client, &["ann"]).await, Heard::In);

    // Not for ever, and not until the client would have to answer a keepalive.
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    begin(&mut client).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(59)).await;
    tokio::time::resume();
    running.until("a cut", |c| c.auth_failed.get() == 1).await;
}
