//! Messages: their order, paging, editing and deletion.

use super::*;

contract! {
    numbers_have_no_gaps_with_concurrent_writers,
    a_batch_may_span_conversations,
    history_is_paged_from_the_end,
    history_shows_the_latest_words,
    history_is_what_a_list_would_say,
    editing_has_rules,
}

/// MUST 1 and 3, with two instances on the same store.
async fn numbers_have_no_gaps_with_concurrent_writers(place: &impl Place) {
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
    assert_eq!(written.len(), 50 * (1 + 2 + 3) * 2, "duplicate numbers");
    assert!(written.keys().map(|seq| seq.0).eq(1..=600), "a gap");
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
        .edit_message(amendment(Some(1), "alice", Some("hello")))
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
    let deleted = store
        .edit_message(amendment(Some(4), "bob", None))
        .await
        .unwrap();
    assert_eq!(
        (deleted.seq, deleted.body),
        (Seq(6), Body::Deleted { target: Seq(4) })
    );
    store
        .edit_message(amendment(Some(2), "alice", Some("winks")))
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

/// One step that's applied to the store and to a list.
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

/// Whatever is sent, edited and deleted: the store returns the same as a list with the same
/// operations.
async fn history_is_what_a_list_would_say(place: &impl Place) {
    let store = place.open();
    for (story, steps) in samples(40, &steps()).into_iter().enumerate() {
        let here = room(&format!("story-{story}"));
        // Text and author of each entry; `None` for hidden ones.
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
                    let done = store.edit_message(asked).await.is_ok();
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

async fn editing_has_rules(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let amend = async |target, who: &str, words| {
        let done = store.edit_message(amendment(target, who, words)).await;
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
    let (not_found, gone) = (Err(EditError::NotFound), Err(EditError::Gone));

    assert_eq!(amend(None, "alice", None).await, not_found, "no messages");
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
        "the entry doesn't exist"
    );
    assert_eq!(amend(Some(u64::MAX), "alice", None).await, not_found);
    assert_eq!(
        amend(None, "carol", Some("x")).await,
        not_found,
        "she has sent nothing"
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
        "not his, deleted or not"
    );
    assert_eq!(
        amend(None, "alice", None).await,
        deleted(1),
        "the last that is left"
    );
    assert_eq!(amend(None, "alice", None).await, not_found, "none is left");
    // The author is identified by account, not by name.
    let mut renamed = amendment(Some(2), "bob", Some("zwei"));
    renamed.author.name = name("robert");
    assert!(store.edit_message(renamed).await.is_ok());
    assert_eq!(history(&*store, None, 10).await, ["2 zwei*", "4 /topic"]);
}
