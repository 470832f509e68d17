//! Search.

use super::*;

contract! {
    search_finds_words_literally,
    search_stays_within,
    search_follows_changes,
    search_finds_any_word,
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
        let found: Vec<u64> = found
            .unwrap()
            .messages
            .iter()
            .map(|message| message.seq.0)
            .collect();
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
        let asked = SearchQuery {
            words: "word".to_owned(),
            within,
            limit,
        };
        let found = store.search(asked.clone()).await.unwrap();
        let found: Vec<String> = found
            .messages
            .iter()
            .map(|m| format!("{} {}", m.conversation, m.seq))
            .collect();
        assert_eq!(found, expected, "{asked:?}");
    }
    let within = vec![direct.clone()];
    let asked = SearchQuery {
        words: "word 2".to_owned(),
        within,
        limit: 9,
    };
    let found = store.search(asked).await.unwrap();
    assert_eq!(
        found.messages,
        store.history(&direct, Some(Seq(3)), 1).await.unwrap(),
        "all matches"
    );
}

async fn search_follows_changes(place: &impl Place) {
    let store = place.open();
    say(&*store, &["red apple", "green apple", "blue plum"]).await;
    let topic = draft(&room("ops"), "alice", Body::Topic(Some(text("apple day"))));
    store.append(vec![topic]).await.unwrap();
    let find = async |words| lines(&store.search(search(words)).await.unwrap().messages);
    assert_eq!(
        find("apple").await,
        ["2 green apple", "1 red apple"],
        "no topics"
    );
    store
        .edit_message(amendment(Some(1), "alice", Some("red pear")))
        .await
        .unwrap();
    store
        .edit_message(amendment(Some(3), "alice", Some("blue apple")))
        .await
        .unwrap();
    store
        .edit_message(amendment(Some(2), "alice", None))
        .await
        .unwrap();
    assert_eq!(find("apple").await, ["3 blue apple*"]);
    assert_eq!(find("red").await, ["1 red pear*"]);
    assert_eq!(find("green").await, [""; 0]);
    store
        .edit_message(amendment(Some(3), "alice", Some("black apple")))
        .await
        .unwrap();
    assert_eq!(find("blue").await, [""; 0]);
    assert_eq!(find("black app").await, ["3 black apple*"]);
}

/// Any text is found by any of its words; no query is an error.
async fn search_finds_any_word(place: &impl Place) {
    let store = place.open();
    let said = "([a-zA-Zäéßłя0-9\"'*():^+{}-]{0,4}[a-zé0-9北京大学東ก-ฮ]{1,5}[:.!\"*]{0,2} ?){1,6}";
    for (index, words) in samples(60, &said).iter().enumerate() {
        say(&*store, &[words]).await;
        let stored = text(words);
        let parts = stored.as_str().split_whitespace();
        for part in parts.filter(|part| part.contains(char::is_alphanumeric)) {
            let found = store.search(search(part)).await.unwrap();
            let hit = found
                .messages
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
