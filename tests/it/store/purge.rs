//! What is removed after a flood.

use super::*;
use ssh_chat::store::{PurgeAuthors, PurgeFilter};

contract! {
    words_are_removed_for_whom_and_when_it_says,
    a_purge_goes_back_step_by_step,
}

const NOW: i64 = 1_700_000_000_000;

fn minutes_ago(minutes: i64) -> Time {
    Time(NOW - minutes * 60_000)
}

fn at(minutes: i64, draft: Draft) -> Draft {
    Draft {
        at: minutes_ago(minutes),
        ..draft
    }
}

/// All steps; how many entries lost their words, and how many steps it took.
async fn purge(store: &dyn Store, room: &Conversation, purge: &PurgeFilter) -> (u64, usize) {
    let (mut removed, mut steps, mut before) = (0, 0, None);
    loop {
        let step = store.purge(room, purge, before).await.unwrap();
        removed += step.removed;
        steps += 1;
        assert!(step.before < before || before.is_none(), "it ends");
        before = step.before;
        if before.is_none() {
            return (removed, steps);
        }
    }
}

async fn words_are_removed_for_whom_and_when_it_says(place: &impl Place) {
    let store = place.open();
    let accounts =
        |who: &[&str]| PurgeAuthors::Accounts(who.iter().map(|who| author(who).account).collect());
    let named = |who| PurgeAuthors::Named(name(who));
    // (whose, since how many minutes, how many, what is left)
    let all = "1 old|2 spam|3 /me g1|5 g2|6 hi|7 /topic mine";
    let cases = [
        (accounts(&["bob"]), 60, 2, "1 old|3 /me g1|5 g2|6 hi"),
        (accounts(&["bob"]), 120, 3, "3 /me g1|5 g2|6 hi"),
        (accounts(&["bob", "alice"]), 120, 4, "3 /me g1|5 g2"),
        (
            PurgeAuthors::Guests,
            60,
            2,
            "1 old|2 spam|6 hi|7 /topic mine",
        ),
        (
            named("guest-1111"),
            60,
            1,
            "1 old|2 spam|5 g2|6 hi|7 /topic mine",
        ),
        (named("guest-3333"), 60, 0, all),
        (accounts(&[]), 60, 0, all),
        (accounts(&["bob"]), 1, 0, all),
    ];
    for (number, (authors, minutes, removed, left)) in cases.into_iter().enumerate() {
        let room = room(&format!("r{number}"));
        let batch = vec![
            at(90, said(&room, "bob", "old")),
            at(30, said(&room, "bob", "spam")),
            at(20, draft(&room, "guest-1111", Body::Did(text("g1")))),
            at(20, said(&room, "guest-1111", "taken back")),
            at(10, said(&room, "guest-2222", "g2")),
            at(5, said(&room, "alice", "hi")),
            at(5, draft(&room, "bob", Body::Topic(Some(text("mine"))))),
        ];
        store.append(batch).await.unwrap();
        let delete = MessageEdit {
            conversation: room.clone(),
            ..amendment(Some(4), "guest-1111", None)
        };
        store.edit_message(delete).await.unwrap();
        let wanted = PurgeFilter {
            authors,
            since: minutes_ago(minutes),
        };
        let done = purge(&*store, &room, &wanted).await;
        assert_eq!(done, (removed, 1), "{wanted:?}");
        assert_eq!(purge(&*store, &room, &wanted).await, (0, 1), "again");
        while store.purged().await.unwrap() {}
        for store in [&store, &place.open()] {
            let found = store.history(&room, None, 100).await.unwrap();
            assert_eq!(lines(&found).join("|"), left, "{wanted:?}");
            let log = store.log_after(&room, Seq(0), 100).await.unwrap();
            assert_eq!(log, found);
            for words in ["old", "spam", "g1", "g2", "hi"] {
                let search = SearchQuery {
                    within: vec![room.clone()],
                    ..search(words)
                };
                let found = store.search(search).await.unwrap().messages.len();
                let expected = left.split('|').filter(|line| line.ends_with(words));
                assert_eq!(found, expected.count(), "{words}, {wanted:?}");
            }
        }
        // What comes after has the next place.
        let next = store.append(vec![said(&room, "alice", "next")]).await;
        assert_eq!(next, Ok(vec![Seq(9)]));
    }
}

async fn a_purge_goes_back_step_by_step(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let mut drafts: Vec<Draft> = (0..1200)
        .map(|n| at(5, said(&ops, "guest-1111", &format!("flood {n}"))))
        .collect();
    drafts.insert(0, at(5, said(&ops, "alice", "first")));
    drafts.push(at(5, said(&ops, "alice", "last")));
    // As many appends as it takes, small ones, as people make them.
    for batch in drafts.chunks(30) {
        store.append(batch.to_vec()).await.unwrap();
    }
    let wanted = PurgeFilter {
        authors: PurgeAuthors::Guests,
        since: minutes_ago(60),
    };
    let (removed, steps) = purge(&*store, &ops, &wanted).await;
    assert_eq!(removed, 1200);
    assert!(steps > 1, "{steps}");
    assert_eq!(history(&*store, None, 2000).await, ["1 first", "1202 last"]);
    // A log whose newest entries are older is not looked through.
    let none = PurgeFilter {
        since: minutes_ago(1),
        ..wanted
    };
    assert_eq!(purge(&*store, &ops, &none).await, (0, 1));
}
