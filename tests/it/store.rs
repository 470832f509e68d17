//! The contract of the store port: one test for each thing that an adapter MUST keep, as said in
//! `ssh_chat::store`, run against every adapter. What only concerns one of them is tested beside
//! its code.
//!
//! A new adapter implements [`Place`] and adds one `contract!` line.

// A test that can't go on panics, in what tests share too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use ssh_chat::chat::access::{KeyRecord, Role};
use ssh_chat::chat::event::{Author, Body, Draft, Message};
use ssh_chat::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use ssh_chat::chat::preferences::{Ignored, Preferences, Timestamps};
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{Account, AmendError, Amendment, ClaimError, MAX_NAMES, Mark, Search, Store};
use ssh_chat::text::Text;

/// Where one test keeps its store: empty at first, gone when dropped.
pub(crate) trait Place {
    /// Opens it, again and again if need be, also beside one that is open already.
    fn open(&self) -> Arc<dyn Store>;
}

/// Runs the whole contract against one adapter.
macro_rules! contract {
    ($adapter:ident, $place:expr) => {
        mod $adapter {
            contract! { @each $place;
                numbers_have_no_gap_whoever_writes,
                a_batch_may_span_conversations,
                history_is_paged_from_the_end,
                history_shows_the_latest_words,
                history_is_what_a_list_would_say,
                amending_has_rules,
                search_finds_words_literally,
                search_stays_within,
                search_follows_changes,
                search_finds_whatever_was_said,
                names_belong_to_one_account,
                an_account_keeps_its_names,
                keys_belong_to_one_account,
                one_of_many_gets_the_name,
                marks_never_move_back,
                preferences_read_back,
                rooms_have_topics,
                reopening_shows_all_again,
                what_was_asked_for_is_written,
            }
        }
    };
    (@each $place:expr; $($must:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $must() {
            super::$must(&$place).await;
        }
    )+};
}

contract!(sqlite, tempfile::tempdir().unwrap());

/// `SQLite`: a file in a folder.
impl Place for tempfile::TempDir {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(&self.path().join("chat.db")).unwrap())
    }
}

fn room(name: &str) -> Conversation {
    Conversation::Room(RoomName::new(name).unwrap())
}

fn name(raw: &str) -> Name {
    Name::new(raw).unwrap()
}

fn text(raw: &str) -> Text {
    Text::message(raw).unwrap()
}

/// Somebody whose account is told by the first letter of their name.
fn author(raw: &str) -> Author {
    Author {
        account: AccountId(u128::from(raw.as_bytes()[0]) << 100),
        name: name(raw),
    }
}

fn draft(conversation: &Conversation, who: &str, body: Body) -> Draft {
    Draft {
        conversation: conversation.clone(),
        at: Time(1_700_000_000_000),
        author: author(who),
        to: None,
        body,
    }
}

fn said(conversation: &Conversation, who: &str, words: &str) -> Draft {
    draft(conversation, who, Body::Said(text(words)))
}

fn amendment(target: Option<u64>, who: &str, words: Option<&str>) -> Amendment {
    Amendment {
        conversation: room("ops"),
        target: target.map(Seq),
        author: author(who),
        to: None,
        text: words.map(text),
        at: Time(1_700_000_099_000),
    }
}

fn search(words: &str) -> Search {
    Search {
        words: words.to_owned(),
        within: vec![room("ops")],
        limit: 100,
    }
}

fn account(who: &str) -> Account {
    Account {
        id: author(who).account,
        name: name(who),
        role: Role::Member,
        created: Time(1_600_000_000_000),
        preferences: Preferences::default(),
    }
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::new(&format!("SHA256:{number:043}"))
}

fn key(number: u32) -> KeyRecord {
    KeyRecord {
        fingerprint: fingerprint(number),
        algorithm: "ssh-ed25519".to_owned(),
        comment: Text::stored(""),
        added: Time(1_600_000_000_000),
    }
}

/// A message in short: its place, what it says, and a star if it was edited.
fn line(message: &Message) -> String {
    let star = if message.edited { "*" } else { "" };
    match &message.body {
        Body::Said(text) => format!("{} {text}{star}", message.seq),
        Body::Did(text) => format!("{} /me {text}{star}", message.seq),
        Body::Topic(Some(text)) => format!("{} /topic {text}{star}", message.seq),
        Body::Topic(None) => format!("{} /topic{star}", message.seq),
        other => format!("{} {other:?}", message.seq),
    }
}

fn lines(messages: &[Message]) -> Vec<String> {
    messages.iter().map(line).collect()
}

async fn history(store: &dyn Store, before: Option<u64>, limit: usize) -> Vec<String> {
    let found = store.history(&room("ops"), before.map(Seq), limit).await;
    lines(&found.unwrap())
}

/// Has the words said in `ops` by alice, one message each.
async fn say(store: &dyn Store, words: &[&str]) {
    let batch = words.iter().map(|words| said(&room("ops"), "alice", words));
    store.append(batch.collect()).await.unwrap();
}

/// MUST 1 and 3, from two openings of the same store.
async fn numbers_have_no_gap_whoever_writes(place: &impl Place) {
    let stores = [place.open(), place.open()];
    let mut appenders = tokio::task::JoinSet::new();
    for who in 0..50_usize {
        let store = Arc::clone(&stores[who % stores.len()]);
        appenders.spawn(async move {
            let mut got = Vec::new();
            for turn in 0..6 {
                let words: Vec<String> = (0..=turn % 3)
                    .map(|n| format!("{who} {turn} {n}"))
                    .collect();
                let batch = words.iter().map(|words| said(&room("ops"), "alice", words));
                let places = store.append(batch.collect()).await.unwrap();
                assert!(places.is_sorted(), "in the order of the batch: {places:?}");
                got.extend(places.into_iter().zip(words));
            }
            got
        });
    }
    let written: BTreeMap<Seq, String> = appenders.join_all().await.into_iter().flatten().collect();
    assert_eq!(written.len(), 50 * (1 + 2 + 3) * 2, "no number twice");
    assert!(written.keys().map(|seq| seq.0).eq(1..=600), "no gap");
    let expected: Vec<String> = written
        .iter()
        .map(|(seq, words)| format!("{seq} {words}"))
        .collect();
    assert_eq!(history(&*stores[0], None, 1000).await, expected);
}

/// MUST 3: each conversation has its own numbers.
async fn a_batch_may_span_conversations(place: &impl Place) {
    let store = place.open();
    let (alice, bob) = (author("alice"), author("bob"));
    let direct = Conversation::between(bob.account, alice.account);
    let mut whisper = said(&direct, "alice", "psst");
    whisper.to = Some(bob.name.clone());
    let batch = vec![
        said(&room("ops"), "alice", "one"),
        whisper.clone(),
        said(&room("dev"), "bob", "eins"),
        said(&room("ops"), "bob", "two"),
        draft(&direct, "bob", Body::Did(text("nods"))),
    ];
    let places = store.append(batch).await.unwrap();
    assert_eq!(places, [1, 1, 1, 2, 2].map(Seq));
    assert_eq!(store.append(Vec::new()).await, Ok(Vec::new()));
    let found = store.history(&direct, None, 10).await.unwrap();
    assert_eq!(found[0], whisper.at_place(Seq(1)), "all of it reads back");
    assert_eq!(lines(&found), ["1 psst", "2 /me nods"]);
    assert_eq!(history(&*store, None, 10).await, ["1 one", "2 two"]);
    assert_eq!(store.history(&room("none"), None, 10).await, Ok(Vec::new()));
}

async fn history_is_paged_from_the_end(place: &impl Place) {
    let store = place.open();
    say(&*store, &["a", "b", "c", "d", "e"]).await;
    let cases: [(Option<u64>, usize, &[&str]); 7] = [
        (None, 2, &["4 d", "5 e"]),
        (Some(4), 2, &["2 b", "3 c"]),
        (Some(2), 2, &["1 a"]),
        (Some(1), 2, &[]),
        (Some(0), 2, &[]),
        (Some(u64::MAX), 1, &["5 e"]),
        (None, 0, &[]),
    ];
    for (before, limit, expected) in cases {
        assert_eq!(
            history(&*store, before, limit).await,
            expected,
            "{before:?} {limit}"
        );
    }
    for (after, expected) in [(0, 5), (3, 2), (5, 0), (9, 0), (u64::MAX, 0)] {
        let count = store.count_after(&room("ops"), Seq(after)).await;
        assert_eq!(count, Ok(expected), "after {after}");
    }
    assert_eq!(store.count_after(&room("none"), Seq(0)).await, Ok(0));
}

async fn history_shows_the_latest_words(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let topic = Body::Topic(Some(text("news")));
    let batch = vec![
        said(&ops, "alice", "helo"),
        draft(&ops, "alice", Body::Did(text("waves"))),
        draft(&ops, "bob", topic),
        said(&ops, "bob", "oops"),
    ];
    store.append(batch).await.unwrap();
    let edited = store
        .amend(amendment(Some(1), "alice", Some("hello")))
        .await
        .unwrap();
    let expected = Body::Edited {
        target: Seq(1),
        text: text("hello"),
    };
    assert_eq!(
        (edited.seq, edited.body, edited.edited),
        (Seq(5), expected, false)
    );
    assert_eq!(edited.at, Time(1_700_000_099_000));
    let deleted = store.amend(amendment(Some(4), "bob", None)).await.unwrap();
    assert_eq!(
        (deleted.seq, deleted.body),
        (Seq(6), Body::Deleted { target: Seq(4) })
    );
    store
        .amend(amendment(Some(2), "alice", Some("winks")))
        .await
        .unwrap();

    assert_eq!(
        history(&*store, None, 10).await,
        ["1 hello*", "2 /me winks*", "3 /topic news"]
    );
    assert_eq!(
        history(&*store, None, 2).await,
        ["2 /me winks*", "3 /topic news"]
    );
    assert_eq!(store.count_after(&ops, Seq(0)).await, Ok(3));
    assert_eq!(
        store.append(vec![said(&ops, "bob", "next")]).await,
        Ok(vec![Seq(8)])
    );
}

/// One step of a story that is also told to a list.
#[derive(Debug, Clone)]
enum Step {
    Say(bool, String),
    Amend(bool, Option<u64>, Option<String>),
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        (any::<bool>(), "[a-z]{1,6}").prop_map(|(who, words)| Step::Say(who, words)),
        (
            any::<bool>(),
            proptest::option::of(1..12_u64),
            proptest::option::of("[a-z]{1,6}")
        )
            .prop_map(|(who, target, words)| Step::Amend(who, target, words)),
    ];
    proptest::collection::vec(step, 0..24)
}

/// A few stories from a strategy, always the same ones.
fn samples<T: std::fmt::Debug>(
    count: usize,
    strategy: &impl proptest::strategy::Strategy<Value = T>,
) -> Vec<T> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = || strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| draw()).collect()
}

/// Whatever is said, edited and deleted: what is read equals a list to which the same was done.
async fn history_is_what_a_list_would_say(place: &impl Place) {
    let store = place.open();
    for (story, steps) in samples(40, &steps()).into_iter().enumerate() {
        let here = room(&format!("story-{story}"));
        // What each entry says and who said it; `None` for what is not shown.
        let mut list: Vec<(&str, Option<String>)> = Vec::new();
        for step in &steps {
            let who = |first: bool| if first { "alice" } else { "bob" };
            match step {
                Step::Say(first, words) => {
                    store
                        .append(vec![said(&here, who(*first), words)])
                        .await
                        .unwrap();
                    list.push((who(*first), Some(format!("{} {words}", list.len() + 1))));
                }
                Step::Amend(first, target, words) => {
                    let mut asked = amendment(*target, who(*first), words.as_deref());
                    asked.conversation = here.clone();
                    let done = store.amend(asked).await.is_ok();
                    let mine = |(author, shown): &(&str, Option<String>)| {
                        *author == who(*first) && shown.is_some()
                    };
                    let index = match target {
                        Some(target) => Some(usize::try_from(*target).unwrap() - 1),
                        None => list.iter().rposition(mine),
                    };
                    let index = index.filter(|index| list.get(*index).is_some_and(mine));
                    assert_eq!(done, index.is_some(), "{step:?} in {steps:?}");
                    if let Some(index) = index {
                        let edited = words
                            .as_ref()
                            .map(|words| format!("{} {words}*", index + 1));
                        list[index].1 = edited;
                        list.push(("", None));
                    }
                }
            }
        }
        let shown: Vec<String> = list.into_iter().filter_map(|(_, shown)| shown).collect();
        let found = store.history(&here, None, 100).await.unwrap();
        assert_eq!(lines(&found), shown, "{steps:?}");
        let count = store.count_after(&here, Seq(0)).await.unwrap();
        assert_eq!(count, shown.len() as u64, "{steps:?}");
    }
}

async fn amending_has_rules(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let amend = async |target, who: &str, words| {
        let done = store.amend(amendment(target, who, words)).await;
        done.map(|message| message.body)
    };
    let edited = |target, words| {
        Ok(Body::Edited {
            target: Seq(target),
            text: text(words),
        })
    };
    let deleted = |target| {
        Ok(Body::Deleted {
            target: Seq(target),
        })
    };
    let (not_found, gone) = (Err(AmendError::NotFound), Err(AmendError::Gone));

    assert_eq!(
        amend(None, "alice", None).await,
        not_found,
        "nothing was ever said"
    );
    let batch = vec![
        said(&ops, "alice", "one"),
        said(&ops, "bob", "two"),
        said(&ops, "alice", "three"),
        draft(&ops, "alice", Body::Topic(None)),
    ];
    store.append(batch).await.unwrap();
    assert_eq!(amend(Some(2), "alice", None).await, not_found, "not hers");
    assert_eq!(
        amend(Some(4), "alice", Some("x")).await,
        not_found,
        "a topic"
    );
    assert_eq!(
        amend(Some(9), "alice", None).await,
        not_found,
        "no such entry"
    );
    assert_eq!(amend(Some(u64::MAX), "alice", None).await, not_found);
    assert_eq!(
        amend(None, "carol", Some("x")).await,
        not_found,
        "she said nothing"
    );
    assert_eq!(amend(None, "alice", Some("3rd")).await, edited(3, "3rd"));
    assert_eq!(
        amend(Some(5), "alice", None).await,
        not_found,
        "an entry about an edit"
    );
    assert_eq!(amend(None, "alice", None).await, deleted(3));
    assert_eq!(amend(Some(3), "alice", Some("x")).await, gone);
    assert_eq!(amend(Some(3), "alice", None).await, gone);
    assert_eq!(
        amend(Some(3), "bob", None).await,
        not_found,
        "not his, gone or not"
    );
    assert_eq!(
        amend(None, "alice", None).await,
        deleted(1),
        "the last that is left"
    );
    assert_eq!(amend(None, "alice", None).await, not_found, "none is left");
    // Another name is no other person.
    let mut renamed = amendment(Some(2), "bob", Some("zwei"));
    renamed.author.name = name("robert");
    assert!(store.amend(renamed).await.is_ok());
    assert_eq!(history(&*store, None, 10).await, ["2 zwei*", "4 /topic"]);
}

async fn search_finds_words_literally(place: &impl Place) {
    let store = place.open();
    let words = [
        "The quick brown fox",
        "a Café, über alles",
        "我们明天去北京吃饭",
        "say \"cheese\" OR NOT near",
        "C++ and foo-bar_baz at 10.0.0.1",
        "今日はいい天気ですね",
        "straße и Привет мир",
        "first line\nsecond line",
    ];
    say(&*store, &words).await;
    let cases: [(&str, &[usize]); 38] = [
        ("quick", &[1]),
        ("QUICK", &[1]),
        ("qui", &[1]),
        ("uick", &[]),
        ("fox quick", &[1]),
        ("qui fox", &[]),
        ("quick fox cat", &[]),
        ("cafe", &[2]),
        ("CAFÉ ÜB", &[2]),
        ("cafe\u{301}", &[2]),
        ("uber", &[2]),
        ("北京", &[3]),
        ("明天 吃饭", &[3]),
        ("我", &[3]),
        ("京北", &[]),
        ("天", &[6, 3]),
        ("天気", &[6]),
        ("\"", &[]),
        ("\"cheese\"", &[4]),
        ("\"cheese", &[4]),
        ("cheese OR fox", &[]),
        ("cheese OR", &[4]),
        ("say NOT", &[4]),
        ("NEAR", &[4]),
        ("quick*", &[1]),
        ("^quick", &[1]),
        ("text : quick", &[]),
        ("place:1", &[]),
        ("foo-bar", &[5]),
        ("10.0.0.1", &[5]),
        ("c++", &[5]),
        ("fox :)", &[1]),
        ("привет", &[7]),
        ("second", &[8]),
        ("", &[]),
        (" \t\n", &[]),
        (":) !!! ***", &[]),
        ("a\0quick", &[]),
    ];
    for (words, expected) in cases {
        let found = store.search(search(words)).await;
        let found: Vec<u64> = found.unwrap().iter().map(|message| message.seq.0).collect();
        let expected: Vec<u64> = expected.iter().map(|seq| *seq as u64).collect();
        assert_eq!(found, expected, "{words:?}");
    }
}

async fn search_stays_within(place: &impl Place) {
    let store = place.open();
    let (ops, dev, none) = (room("ops"), room("dev"), room("none"));
    let direct = Conversation::between(author("alice").account, author("bob").account);
    for n in 1..=3 {
        let of = |conversation| said(conversation, "alice", &format!("word {n}"));
        let batch = vec![of(&ops), of(&dev), of(&direct)];
        store.append(batch).await.unwrap();
    }
    let cases: [(Vec<&Conversation>, usize, &[&str]); 6] = [
        (vec![&ops], 9, &["room/ops 3", "room/ops 2", "room/ops 1"]),
        (
            vec![&ops, &dev],
            3,
            &["room/dev 3", "room/ops 3", "room/dev 2"],
        ),
        (vec![&ops, &none, &ops], 1, &["room/ops 3"]),
        (vec![&ops], 0, &[]),
        (vec![&none], 9, &[]),
        (vec![], 9, &[]),
    ];
    for (within, limit, expected) in cases {
        let within = within.into_iter().cloned().collect();
        let asked = Search {
            words: "word".to_owned(),
            within,
            limit,
        };
        let found = store.search(asked.clone()).await.unwrap();
        let found: Vec<String> = found
            .iter()
            .map(|m| format!("{} {}", m.conversation, m.seq))
            .collect();
        assert_eq!(found, expected, "{asked:?}");
    }
    let within = vec![direct.clone()];
    let asked = Search {
        words: "word 2".to_owned(),
        within,
        limit: 9,
    };
    let found = store.search(asked).await.unwrap();
    assert_eq!(
        found,
        store.history(&direct, Some(Seq(3)), 1).await.unwrap(),
        "all of it"
    );
}

async fn search_follows_changes(place: &impl Place) {
    let store = place.open();
    say(&*store, &["red apple", "green apple", "blue plum"]).await;
    let topic = draft(&room("ops"), "alice", Body::Topic(Some(text("apple day"))));
    store.append(vec![topic]).await.unwrap();
    let find = async |words| lines(&store.search(search(words)).await.unwrap());
    assert_eq!(
        find("apple").await,
        ["2 green apple", "1 red apple"],
        "no topics"
    );
    store
        .amend(amendment(Some(1), "alice", Some("red pear")))
        .await
        .unwrap();
    store
        .amend(amendment(Some(3), "alice", Some("blue apple")))
        .await
        .unwrap();
    store
        .amend(amendment(Some(2), "alice", None))
        .await
        .unwrap();
    assert_eq!(find("apple").await, ["3 blue apple*"]);
    assert_eq!(find("red").await, ["1 red pear*"]);
    assert_eq!(find("green").await, [""; 0]);
    store
        .amend(amendment(Some(3), "alice", Some("black apple")))
        .await
        .unwrap();
    assert_eq!(find("blue").await, [""; 0]);
    assert_eq!(find("black app").await, ["3 black apple*"]);
}

/// Any text is found by any of its words; no search is an error.
async fn search_finds_whatever_was_said(place: &impl Place) {
    let store = place.open();
    let said = "([a-zA-Zäéßłя0-9\"'*():^+{}-]{0,4}[a-zé0-9北京大学東ก-ฮ]{1,5}[:.!\"*]{0,2} ?){1,6}";
    for (index, words) in samples(60, &said).iter().enumerate() {
        say(&*store, &[words]).await;
        let stored = text(words);
        let parts = stored.as_str().split_whitespace();
        for part in parts.filter(|part| part.contains(char::is_alphanumeric)) {
            let found = store.search(search(part)).await.unwrap();
            let hit = found
                .iter()
                .any(|message| message.seq.0 == index as u64 + 1);
            assert!(hit, "{part:?} in {words:?}");
        }
    }
    for words in samples(200, &proptest::arbitrary::any::<String>()) {
        assert!(store.search(search(&words)).await.is_ok(), "{words:?}");
    }
    let long = "x ".repeat(100_000) + &"北".repeat(100_000);
    assert!(store.search(search(&long)).await.is_ok());
}

/// MUST 4.
async fn names_belong_to_one_account(place: &impl Place) {
    let store = place.open();
    store
        .create_account(&account("bob1"), &key(1))
        .await
        .unwrap();
    let looks_like = Account {
        name: name("bobl"),
        ..account("carol")
    };
    let refused = store.create_account(&looks_like, &key(2)).await;
    assert_eq!(refused, Err(ClaimError::NameTaken));
    assert_eq!(
        store.account_by_key(&fingerprint(2)).await,
        Ok(None),
        "nothing was done"
    );

    store
        .create_account(&account("carol"), &key(2))
        .await
        .unwrap();
    let (bob, carol) = (account("bob1").id, account("carol").id);
    assert_eq!(
        store.rename(carol, &name("b0b1")).await,
        Err(ClaimError::NameTaken)
    );
    assert_eq!(
        store.rename(bob, &name("bobl")).await,
        Ok(()),
        "his own, spelled anew"
    );
    assert_eq!(
        store.rename(carol, &name("bob1")).await,
        Err(ClaimError::NameTaken)
    );
    assert_eq!(
        store.rename(AccountId(1), &name("dave")).await,
        Err(ClaimError::NoAccount)
    );

    let found = store.account_by_name(&name("b0b1")).await.unwrap();
    assert_eq!(
        found,
        Some(Account {
            name: name("bobl"),
            ..account("bob1")
        })
    );
    assert_eq!(store.account_by_name(&name("dave")).await, Ok(None));
}

async fn an_account_keeps_its_names(place: &impl Place) {
    let store = place.open();
    let alice = account("alice");
    store.create_account(&alice, &key(1)).await.unwrap();
    store
        .create_account(&account("bob"), &key(2))
        .await
        .unwrap();
    let more: Vec<Name> = (2..=MAX_NAMES)
        .map(|n| name(&format!("name-{n}")))
        .collect();
    for name in &more {
        assert_eq!(store.rename(alice.id, name).await, Ok(()));
    }
    let Err(ClaimError::TooManyNames(mut owned)) = store.rename(alice.id, &name("more")).await
    else {
        panic!("a name too many");
    };
    owned.sort();
    let mut all = vec![alice.name.clone()];
    all.extend(more);
    assert_eq!(owned, all);
    for name in &all {
        let refused = store.rename(account("bob").id, name).await;
        assert_eq!(refused, Err(ClaimError::NameTaken), "{name} stays hers");
        let holder = store.account_by_name(name).await.unwrap().unwrap();
        assert_eq!(holder.id, alice.id);
        assert_eq!(store.rename(alice.id, name).await, Ok(()), "back to {name}");
        let now = store
            .account_by_key(&fingerprint(1))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(now.name, *name);
    }
}

/// MUST 4 and 5.
async fn keys_belong_to_one_account(place: &impl Place) {
    let store = place.open();
    let alice = account("alice");
    assert_eq!(store.account_by_key(&fingerprint(1)).await, Ok(None));
    assert_eq!(store.create_account(&alice, &key(1)).await, Ok(()));
    assert_eq!(
        store.account_by_key(&fingerprint(1)).await,
        Ok(Some(alice.clone()))
    );
    let taken = store.create_account(&account("bob"), &key(1)).await;
    assert_eq!(taken, Err(ClaimError::KeyTaken));
    assert_eq!(
        store.account_by_name(&name("bob")).await,
        Ok(None),
        "nothing was done"
    );
    assert_eq!(
        store.create_account(&alice, &key(1)).await,
        Ok(()),
        "the same call again"
    );
}

/// MUST 4, when many want the same at once.
async fn one_of_many_gets_the_name(place: &impl Place) {
    let stores = [place.open(), place.open()];
    let mut claims = tokio::task::JoinSet::new();
    for n in 0..20_u32 {
        let store = Arc::clone(&stores[n as usize % stores.len()]);
        claims.spawn(async move {
            let account = Account {
                id: AccountId(n.into()),
                ..account("alice")
            };
            let claim = store.create_account(&account, &key(n)).await;
            // Others go into the same transactions, and must come to no harm.
            store
                .append(vec![said(&room("ops"), "bob", "hi")])
                .await
                .unwrap();
            claim
        });
    }
    let claims = claims.join_all().await;
    assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    let taken = claims
        .iter()
        .filter(|claim| **claim == Err(ClaimError::NameTaken));
    assert_eq!(taken.count(), 19);
    assert_eq!(history(&*stores[1], None, 100).await.len(), 20);
}

async fn marks_never_move_back(place: &impl Place) {
    let store = place.open();
    let (ops, dev) = (room("ops"), room("dev"));
    let id = account("alice").id;
    store
        .create_account(&account("alice"), &key(1))
        .await
        .unwrap();
    store
        .create_account(&account("bob"), &key(2))
        .await
        .unwrap();
    assert_eq!(store.mark(id, &ops).await, Ok(None));
    let mark = |seq, at| Mark {
        seq: Seq(seq),
        at: Time(at),
    };
    for (given, kept) in [
        (mark(5, 100), mark(5, 100)),
        (mark(3, 200), mark(5, 100)),
        (mark(5, 300), mark(5, 300)),
        (mark(5, 200), mark(5, 300)),
        (mark(9, 400), mark(9, 400)),
    ] {
        store
            .save_marks(vec![(id, ops.clone(), given)])
            .await
            .unwrap();
        assert_eq!(store.mark(id, &ops).await, Ok(Some(kept)), "{given:?}");
    }
    let batch = vec![
        (id, dev.clone(), mark(7, 1)),
        (id, dev.clone(), mark(6, 2)),
        (account("bob").id, ops.clone(), mark(1, 1)),
    ];
    store.save_marks(batch).await.unwrap();
    assert_eq!(store.mark(id, &dev).await, Ok(Some(mark(7, 1))));
    assert_eq!(store.mark(id, &ops).await, Ok(Some(mark(9, 400))));
    assert_eq!(
        store.mark(account("bob").id, &ops).await,
        Ok(Some(mark(1, 1)))
    );
    assert_eq!(store.save_marks(Vec::new()).await, Ok(()));
}

async fn preferences_read_back(place: &impl Place) {
    let store = place.open();
    let ignored = (0..Preferences::MAX_IGNORED).map(|n| Ignored {
        account: AccountId(n as u128),
        name: format!("name-{n}"),
    });
    let preferences = Preferences {
        timestamps: Timestamps::Seconds,
        tz: Some("Europe/Berlin".to_owned()),
        theme: Some("mono \"'\\ü".to_owned()),
        quiet: true,
        silent: true,
        ignored: ignored.collect(),
    };
    let mut alice = account("alice");
    store.create_account(&alice, &key(1)).await.unwrap();
    store
        .save_preferences(alice.id, &preferences)
        .await
        .unwrap();
    alice.preferences = preferences.clone();
    assert_eq!(store.account_by_key(&fingerprint(1)).await, Ok(Some(alice)));
    let of_a_guest = store.save_preferences(AccountId(99), &preferences).await;
    assert_eq!(of_a_guest, Ok(()));
    let born_with = Account {
        preferences,
        ..account("bob")
    };
    store.create_account(&born_with, &key(2)).await.unwrap();
    assert_eq!(
        store.account_by_key(&fingerprint(2)).await,
        Ok(Some(born_with))
    );
}

async fn rooms_have_topics(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let topic = |words: Option<&str>| draft(&ops, "alice", Body::Topic(words.map(text)));
    let rooms = async || {
        let rooms = store.rooms().await.unwrap();
        let short = rooms.iter().map(|room| {
            let topic = room.topic.as_ref().map_or("-", Text::as_str);
            format!("{} {topic} {} {}", room.name, room.last, room.created.0)
        });
        short.collect::<Vec<String>>()
    };
    assert_eq!(rooms().await, [""; 0]);
    let made = store
        .open_room(&RoomName::new("ops").unwrap(), Time(10))
        .await
        .unwrap();
    assert_eq!(
        (made.topic, made.last, made.created),
        (None, Seq(0), Time(10))
    );
    store.open_room(&RoomName::lobby(), Time(20)).await.unwrap();
    assert_eq!(rooms().await, ["lobby - 0 20", "ops - 0 10"]);
    store
        .append(vec![said(&ops, "bob", "hi"), topic(Some("news"))])
        .await
        .unwrap();
    let again = store
        .open_room(&RoomName::new("ops").unwrap(), Time(30))
        .await
        .unwrap();
    assert_eq!(
        (again.topic, again.last, again.created),
        (Some(text("news")), Seq(2), Time(10))
    );
    store
        .append(vec![topic(Some("a")), topic(Some("b"))])
        .await
        .unwrap();
    assert_eq!(rooms().await, ["lobby - 0 20", "ops b 4 10"]);
    store.append(vec![topic(None)]).await.unwrap();
    assert_eq!(rooms().await, ["lobby - 0 20", "ops - 5 10"]);
}

/// MUST 1, as far as it can be seen from here.
async fn reopening_shows_all_again(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let alice = account("alice");
    let mark = Mark {
        seq: Seq(2),
        at: Time(3),
    };
    store.ping().await.unwrap();
    store.create_account(&alice, &key(1)).await.unwrap();
    store.rename(alice.id, &name("alina")).await.unwrap();
    say(&*store, &["one", "two", "three"]).await;
    store
        .amend(amendment(Some(1), "alice", Some("uno")))
        .await
        .unwrap();
    store
        .amend(amendment(Some(2), "alice", None))
        .await
        .unwrap();
    store
        .append(vec![draft(&ops, "alice", Body::Topic(Some(text("news"))))])
        .await
        .unwrap();
    store
        .save_marks(vec![(alice.id, ops.clone(), mark)])
        .await
        .unwrap();
    drop(store);

    let store = place.open();
    assert_eq!(
        history(&*store, None, 10).await,
        ["1 uno*", "3 three", "6 /topic news"]
    );
    assert_eq!(
        lines(&store.search(search("uno")).await.unwrap()),
        ["1 uno*"]
    );
    assert_eq!(store.mark(alice.id, &ops).await, Ok(Some(mark)));
    assert_eq!(store.rooms().await.unwrap()[0].topic, Some(text("news")));
    let found = store
        .account_by_name(&name("alice"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.id, found.name), (alice.id, name("alina")));
    assert_eq!(
        store.append(vec![said(&ops, "bob", "hi")]).await,
        Ok(vec![Seq(7)])
    );
}

/// A caller that stops waiting takes nothing back, and a store that is closed writes what waits.
async fn what_was_asked_for_is_written(place: &impl Place) {
    let store = place.open();
    for n in 1..=20 {
        let asked = store.append(vec![said(&room("ops"), "alice", &n.to_string())]);
        tokio::select! {
            biased;
            done = asked => assert_eq!(done, Ok(vec![Seq(n)])),
            () = std::future::ready(()) => {}
        }
    }
    drop(store);
    let expected: Vec<String> = (1..=20).map(|n| format!("{n} {n}")).collect();
    assert_eq!(history(&*place.open(), None, 100).await, expected);
}
