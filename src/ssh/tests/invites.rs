//! The login dialog for users whose key is unknown.

use super::scripted::{GOOD, SLOW, Scripted, TAKEN, USED, fingerprint, for_members, refused};
use super::*;
use crate::access::authenticator::CLAIM_NOTICE;

/// Offers a key, proves it, and is in or not.
async fn offer_key(client: &mut Handle<AnyHostKey>, key: &Arc<PrivateKey>) -> bool {
    let login = client.authenticate_publickey("ann", offer(Arc::clone(key)));
    soon("a decision", login).await.unwrap().success()
}

/// A server that knows no keys, and a client whose key it has rejected.
async fn stranger() -> (Running, Handle<AnyHostKey>, Arc<PrivateKey>) {
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
    assert_eq!(
        *running.authenticator.seen(),
        asked,
        "each is looked up once"
    );
    drop(client);
    running.open(0).await;
    assert_eq!(running.server.counters().auth_failed.get(), 0);
}

/// The first question. Its reason is in the prompt, too: `ssh -q` shows nothing else.
fn prompts_for_code() -> DialogReply {
    prompts(
        "Who are you?\nYou may be asked.\n",
        "Who are you? Invite code (Enter to leave): ",
    )
}

/// The question for a name, behind a good code.
fn prompts_for_name() -> DialogReply {
    prompts("", "Code accepted. Enter keeps ann. Name: ")
}

#[tokio::test]
async fn a_code_admits_a_key_on_the_same_connection() {
    let (running, mut client, key) = stranger().await;
    assert_eq!(start_dialog(&mut client).await, prompts_for_code());
    assert_eq!(
        respond(&mut client, &[" GOOD-CODE\n"]).await,
        prompts_for_name()
    );
    assert_eq!(
        respond(&mut client, &["An\u{1b}n"]).await,
        DialogReply::LoggedIn
    );
    let whoami = exec(&client, "whoami").await.out;
    assert!(whoami.contains(&fingerprint(&key)), "{whoami}");
    let redeemed = format!("ann code {GOOD:?} name \"Ann\"");
    assert_eq!(running.authenticator.seen().last(), Some(&redeemed));
    let counters = running.server.counters();
    assert_eq!(counters.invites_redeemed.get(), 1);
    assert_eq!(counters.invites_wrong.get(), 0);
}

/// The prompt about a key that accounts claim.
fn prompts_for_claim(prompt: &str) -> DialogReply {
    prompts(&format!("{CLAIM_NOTICE}\n"), prompt)
}

/// An answer and the reply to it.
type Talk = Vec<(&'static str, DialogReply)>;

/// A server that knows no keys, and a client that has proven these, each claimed by these accounts.
async fn claimed(keys: &[(&Arc<PrivateKey>, &[&'static str])]) -> (Running, Handle<AnyHostKey>) {
    let claims = keys
        .iter()
        .map(|(key, names)| (fingerprint(key), names.to_vec()));
    let authenticator = Scripted {
        claims: claims.collect(),
        ..for_members(&key())
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    for (key, _) in keys {
        assert!(!offer_key(&mut client, key).await);
    }
    (running, client)
}

#[tokio::test]
async fn claims_are_asked_about_before_the_code() {
    let (first, second) = (key(), key());
    let one =
        "The account amy wants to add this key. Type amy to accept, or press Enter to refuse: ";
    let two = "The accounts amy, zoe want to add this key. \
               Type one of the names to accept, or press Enter to refuse all: ";
    let again = || prompts("", "Which? ");
    // (claims of the second proven key, answers, replies)
    let table: [(&[&'static str], Talk); 6] = [
        (
            &["amy"],
            vec![("", prompts_for_claim(one)), ("amy", DialogReply::LoggedIn)],
        ),
        (
            &["amy"],
            vec![("", prompts_for_claim(one)), ("", prompts_for_code())],
        ),
        (
            &["amy", "zoe"],
            vec![
                ("", prompts_for_claim(two)),
                ("bo", again()),
                ("zoe", DialogReply::LoggedIn),
            ],
        ),
        (
            &["amy"],
            vec![
                ("", prompts_for_claim(one)),
                ("a", again()),
                ("b", again()),
                ("c", prompts_for_code()),
            ],
        ),
        (
            &["amy"],
            vec![("", prompts_for_claim(one)), (TAKEN, shows("Not now.\n"))],
        ),
        (&[], vec![("", prompts_for_code())]),
    ];
    for (names, talk) in table {
        let (running, mut client) = claimed(&[(&first, &[]), (&second, names)]).await;
        let case = format!("{names:?} {talk:?}");
        let mut talk = talk.into_iter();
        assert_eq!(
            start_dialog(&mut client).await,
            talk.next().unwrap().1,
            "{case}"
        );
        let mut last = DialogReply::Rejected(Vec::new());
        for (said, heard) in talk {
            last = respond(&mut client, &[said]).await;
            assert_eq!(last, heard, "{case}");
        }
        if last == DialogReply::LoggedIn {
            let whoami = exec(&client, "whoami").await.out;
            assert!(whoami.contains(&fingerprint(&second)), "{whoami}");
        }
        assert_eq!(running.server.counters().invites_redeemed.get(), 0);
    }
}

/// A taken name does not count as a wrong code, and the code is not prompted for again.
#[tokio::test]
async fn the_code_stays_valid_while_the_user_picks_a_name() {
    let (running, mut client, _) = stranger().await;
    start_dialog(&mut client).await;
    assert_eq!(respond(&mut client, &[GOOD]).await, prompts_for_name());
    let again = prompts("", "It is taken. Another name: ");
    assert_eq!(respond(&mut client, &[TAKEN]).await, again);
    assert_eq!(respond(&mut client, &[TAKEN]).await, again);
    assert_eq!(respond(&mut client, &["ann"]).await, DialogReply::LoggedIn);
    let counters = running.server.counters();
    assert_eq!(counters.invites_wrong.get(), 0);
    let code = format!("ann code {GOOD:?}");
    let checks = running
        .authenticator
        .seen()
        .iter()
        .filter(|seen| **seen == code)
        .count();
    assert_eq!(checks, 1);

    // Not for ever.
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    start_dialog(&mut client).await;
    respond(&mut client, &[GOOD]).await;
    for _ in 0..5 {
        assert_eq!(respond(&mut client, &[TAKEN]).await, again);
    }
    assert_eq!(
        respond(&mut client, &[TAKEN]).await,
        shows("It is taken.\n")
    );
    assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
}

#[tokio::test]
async fn a_code_used_up_meanwhile_is_prompted_for_again() {
    let (running, mut client, _) = stranger().await;
    start_dialog(&mut client).await;
    assert_eq!(respond(&mut client, &[USED]).await, prompts_for_name());
    let again = "That code opens nothing. Invite code (Enter to leave): ";
    assert_eq!(respond(&mut client, &["ann"]).await, prompts("", again));
    assert_eq!(respond(&mut client, &[GOOD]).await, prompts_for_name());
    assert_eq!(respond(&mut client, &["ann"]).await, DialogReply::LoggedIn);
    assert_eq!(running.server.counters().invites_wrong.get(), 0);
}

#[tokio::test]
async fn a_code_is_prompted_for_three_times() {
    let known = key();
    let running = start_with(Settings::default(), for_members(&known)).await;
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    let wrong = "That code opens nothing.";
    let again = prompts("", &format!("{wrong} Invite code (Enter to leave): "));
    assert_eq!(start_dialog(&mut client).await, prompts_for_code());
    assert_eq!(respond(&mut client, &["A"]).await, again);
    assert_eq!(respond(&mut client, &["B"]).await, again);
    assert_eq!(
        respond(&mut client, &["C"]).await,
        shows(&format!("{wrong}\n"))
    );
    assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
    assert_eq!(start_dialog(&mut client).await, rejected_for_good());
    assert_eq!(running.server.counters().invites_wrong.get(), 3);

    drop(client);
    // After two more wrong codes, codes from this address are not checked for a minute, not even
    // on connections that were prompted before.
    let mut before = running.client().await;
    assert!(!offer_key(&mut before, &key()).await);
    assert_eq!(start_dialog(&mut before).await, prompts_for_code());
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    start_dialog(&mut client).await;
    respond(&mut client, &["D"]).await;
    respond(&mut client, &["E"]).await;
    assert_penalized(&respond(&mut before, &[GOOD]).await);
    let mut after = running.client().await;
    assert!(!offer_key(&mut after, &key()).await);
    assert_penalized(&start_dialog(&mut after).await);
    assert_eq!(respond(&mut after, &[]).await, rejected_for_good());
    let counters = running.server.counters();
    assert_eq!(counters.invites_wrong.get(), 5);
    // Four connections at a time are admitted, and prompted ones are not evicted.
    let _one_more = {
        running.open(3).await;
        let mut one_more = running.client().await;
        assert!(!offer_key(&mut one_more, &key()).await);
        one_more
    };
    let config = Arc::new(client::Config::default());
    let refused = soon(
        "a refusal",
        client::connect(config, running.addr, AnyHostKey),
    )
    .await;
    assert!(matches!(refused.err(), Some(russh::Error::Disconnect)));
    assert_eq!(counters.refused_penalty.get(), 1);
    drop(before);
    running.open(3).await;
    // A key that is known is not kept out by others of its address.
    assert!(offer_key(&mut running.client().await, &known).await);
}

fn assert_penalized(heard: &DialogReply) {
    let DialogReply::Prompts(words, questions) = heard else {
        panic!("{heard:?}");
    };
    let told = "Too many failed logins from your address. Try again in ";
    assert!(words.starts_with(told) && questions.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn an_empty_code_is_no_guess() {
    for answers in [&[""][..], &[]] {
        let (running, mut client, _) = stranger().await;
        start_dialog(&mut client).await;
        let name = prompts("", "Enter keeps ann. Name: ");
        assert_eq!(respond(&mut client, answers).await, name);
        let heard = respond(&mut client, &["ann"]).await;
        assert_eq!(heard, shows("An operator was asked.\n"));
        assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
        assert_eq!(running.server.counters().invites_wrong.get(), 0);
    }
}

#[tokio::test]
async fn rejections_are_explained() {
    let banned = key();
    let mut authenticator = for_members(&key());
    let notice = "You are banned.\nFor an hour.";
    authenticator
        .keys
        .insert(fingerprint(&banned), refused(notice));
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    // The first key is the one that counts.
    for key in [banned, key()] {
        assert!(!offer_key(&mut client, &key).await);
    }
    let heard = start_dialog(&mut client).await;
    assert_eq!(heard, shows("You are banned.\nFor an hour.\n"));
    assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
    drop(client);
    running
        .until("a failure", |c| c.auth_failed.get() == 1)
        .await;
}

#[tokio::test]
async fn invites_require_a_key() {
    let authenticator = Scripted {
        guests: AuthDecision::AskInvite {
            notice: "Bring a key.".to_owned(),
            enter: "leave",
        },
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    assert_eq!(start_dialog(&mut client).await, shows("Bring a key.\n"));
    assert_eq!(respond(&mut client, &[GOOD]).await, rejected_for_good());
    assert_eq!(*running.authenticator.seen(), ["ann none"]);
}

#[tokio::test]
async fn banned_addresses_are_rejected_before_the_handshake() {
    let authenticator = Scripted {
        banned: true,
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let heard = connections::listen_only(&mut stream).await;
    assert!(heard.contains("Your address is banned here."), "{heard}");
    let counters = running.server.counters();
    assert_eq!(
        (counters.accepted.get(), counters.refused_ban.get()),
        (1, 1)
    );
    assert_eq!(counters.open.get(), 0);
}

/// Lets the time pass that the authenticator has, once it was asked `nth` things that it won't
/// answer.
async fn pass_auth_timeout(running: &Running, nth: usize) {
    let mut waiting = running.authenticator.waiting.subscribe();
    soon(
        "a call of the authenticator",
        waiting.wait_for(|n| *n == nth),
    )
    .await
    .unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_auth_timeout_does_not_count_as_a_failure() {
    let authenticator = Scripted {
        silent: true,
        ..Scripted::default()
    };
    let settings = Settings {
        max_auth_attempts: 1,
        ..Settings::default()
    };
    let running = start_with(settings, authenticator).await;
    for asked in 1..=6 {
        let mut client = running.client().await;
        let first = key();
        let (entered, ()) = tokio::join!(
            offer_key(&mut client, &first),
            pass_auth_timeout(&running, asked)
        );
        assert!(!entered);
        drop(client);
        running.open(0).await;
    }
    assert_eq!(running.server.counters().auth_failed.get(), 6);
    assert_eq!(running.server.counters().refused_penalty.get(), 0);
}

#[tokio::test]
async fn an_authenticator_that_times_out_is_called_once() {
    let authenticator = Scripted {
        silent: true,
        ..Scripted::default()
    };
    let running = start_with(Settings::default(), authenticator).await;
    let mut client = running.client().await;
    let first = key();
    let (entered, ()) = tokio::join!(
        offer_key(&mut client, &first),
        pass_auth_timeout(&running, 1)
    );
    assert!(!entered);
    assert!(!offer_key(&mut client, &key()).await, "without a wait");
    let words = "The server can't look up your key right now. Try again in a minute.\n";
    assert_eq!(start_dialog(&mut client).await, shows(words));
    assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
    assert_eq!(running.authenticator.seen().len(), 1);
}

#[tokio::test]
async fn a_code_that_times_out_is_no_guess() {
    let words = "The server couldn't check your invite code in time.\n\
        Connect again in a minute: if the code was accepted after all, your key is enough.\n";
    // (answers that are handled at once, the answer whose check times out)
    for (quick, slow) in [(&[][..], SLOW), (&[GOOD][..], SLOW)] {
        let (running, mut client, _) = stranger().await;
        start_dialog(&mut client).await;
        for answer in quick {
            respond(&mut client, &[answer]).await;
        }
        let slow = [slow];
        let (heard, ()) = tokio::join!(respond(&mut client, &slow), pass_auth_timeout(&running, 1));
        assert_eq!(heard, shows(words));
        assert_eq!(respond(&mut client, &[]).await, rejected_for_good());
        assert_eq!(running.server.counters().invites_wrong.get(), 0);
    }
}

#[tokio::test]
async fn prompts_extend_the_login_grace() {
    let (running, mut client, _) = stranger().await;
    start_dialog(&mut client).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    assert_eq!(respond(&mut client, &[GOOD]).await, prompts_for_name());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(45)).await;
    tokio::time::resume();
    assert_eq!(respond(&mut client, &["ann"]).await, DialogReply::LoggedIn);

    // Not for ever, and not until the client would have to answer a keepalive.
    let mut client = running.client().await;
    assert!(!offer_key(&mut client, &key()).await);
    start_dialog(&mut client).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(59)).await;
    tokio::time::resume();
    running.until("a cut", |c| c.auth_failed.get() == 1).await;
}
