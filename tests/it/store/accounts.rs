//! Names, keys, read markers, preferences and rooms, and that they survive reopening.

use super::*;
use crate::harness::Changes;

contract! {
    names_belong_to_one_account,
    an_account_keeps_its_names,
    keys_belong_to_one_account,
    one_of_many_gets_the_name,
    marks_never_move_back,
    preferences_read_back,
    rooms_have_topics,
    empty_rooms_can_be_removed,
    reopening_shows_all_again,
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
    assert_eq!(refused, Err(ChangeError::NameTaken));
    assert_eq!(
        store.account_by_key(&fingerprint(2)).await,
        Ok(None),
        "no effect"
    );

    store
        .create_account(&account("carol"), &key(2))
        .await
        .unwrap();
    let (bob, carol) = (account("bob1").id, account("carol").id);
    assert_eq!(
        store.rename(carol, &name("b0b1")).await,
        Err(ChangeError::NameTaken)
    );
    assert_eq!(
        store.rename(bob, &name("bobl")).await,
        Ok(()),
        "his own, in another spelling"
    );
    assert_eq!(
        store.rename(carol, &name("bob1")).await,
        Err(ChangeError::NameTaken)
    );
    assert_eq!(
        store.rename(AccountId(1), &name("dave")).await,
        Err(ChangeError::NoAccount)
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
    let Err(ChangeError::TooManyNames(mut owned)) = store.rename(alice.id, &name("more")).await
    else {
        panic!("one name too many");
    };
    owned.sort();
    let mut all = vec![alice.name.clone()];
    all.extend(more);
    assert_eq!(owned, all);
    for name in &all {
        let refused = store.rename(account("bob").id, name).await;
        assert_eq!(refused, Err(ChangeError::NameTaken), "{name} stays hers");
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
    assert_eq!(taken, Err(ChangeError::KeyTaken));
    assert_eq!(
        store.account_by_name(&name("bob")).await,
        Ok(None),
        "no effect"
    );
    assert_eq!(
        store.create_account(&alice, &key(1)).await,
        Ok(()),
        "the same call again"
    );
}

/// MUST 4, with concurrent callers who want the same.
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
            // Other changes are in the same transactions, and must not be affected.
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
        .filter(|claim| **claim == Err(ChangeError::NameTaken));
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
    let mark = |seq, at| ReadMarker {
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

async fn empty_rooms_can_be_removed(place: &impl Place) {
    let store = place.open();
    let (ops, tea) = (RoomName::new("ops").unwrap(), RoomName::new("tea").unwrap());
    let rooms = async || {
        let rooms = store.rooms().await.unwrap();
        let short = rooms
            .iter()
            .map(|room| (room.name.to_string(), room.made_by.map(|account| account.0)));
        short.collect::<Vec<_>>()
    };
    for (name, made_by) in [(&ops, Some(AccountId(7))), (&tea, None)] {
        let made = store.open_room(name, made_by, Time(10)).await.unwrap();
        assert_eq!(made.made_by, made_by);
        let again = store.open_room(name, Some(AccountId(8)), Time(11)).await;
        assert_eq!(
            again.unwrap().made_by,
            made_by,
            "created by the first caller"
        );
    }
    store
        .append(vec![said(&room("ops"), "bob", "hi")])
        .await
        .unwrap();
    let stays = store.remove_empty_room(&ops).await.unwrap();
    assert_eq!(
        stays.map(|room| (room.last, room.made_by)),
        Some((Seq(1), Some(AccountId(7))))
    );
    assert_eq!(store.remove_empty_room(&tea).await, Ok(None));
    assert_eq!(
        store.remove_empty_room(&tea).await,
        Ok(None),
        "it doesn't exist"
    );
    assert_eq!(rooms().await, [("ops".to_owned(), Some(7))]);
    let made = store
        .open_room(&tea, Some(AccountId(8)), Time(12))
        .await
        .unwrap();
    assert_eq!((made.last, made.made_by), (Seq(0), Some(AccountId(8))));
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
        .open_room(&RoomName::new("ops").unwrap(), None, Time(10))
        .await
        .unwrap();
    assert_eq!(
        (made.topic, made.last, made.created),
        (None, Seq(0), Time(10))
    );
    store
        .open_room(&RoomName::lobby(), None, Time(20))
        .await
        .unwrap();
    assert_eq!(rooms().await, ["lobby - 0 20", "ops - 0 10"]);
    store
        .append(vec![said(&ops, "bob", "hi"), topic(Some("news"))])
        .await
        .unwrap();
    let again = store
        .open_room(&RoomName::new("ops").unwrap(), None, Time(30))
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

/// MUST 1, as far as a test can observe it.
async fn reopening_shows_all_again(place: &impl Place) {
    let store = place.open();
    let ops = room("ops");
    let alice = account("alice");
    let mark = ReadMarker {
        seq: Seq(2),
        at: Time(3),
    };
    store.ping().await.unwrap();
    store.create_account(&alice, &key(1)).await.unwrap();
    store.rename(alice.id, &name("alina")).await.unwrap();
    say(&*store, &["one", "two", "three"]).await;
    store
        .edit_message(amendment(Some(1), "alice", Some("uno")))
        .await
        .unwrap();
    store
        .edit_message(amendment(Some(2), "alice", None))
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
        lines(&store.search(search("uno")).await.unwrap().messages),
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
