//! Reading everything, as an export does, and after reopening.

use super::*;
use crate::harness::Changes;

contract! {
    the_log_is_paged_from_the_beginning,
    conversations_are_those_with_entries,
    accounts_survive_reopening,
}

/// Pages of any size return each entry of the history once.
async fn the_log_is_paged_from_the_beginning(place: &impl Place) {
    let store = place.open();
    let page = async |after, limit| store.log_after(&room("ops"), Seq(after), limit).await;
    assert_eq!(page(0, 9).await, Ok(Vec::new()), "no messages");
    let batch = (1..=30).map(|n| said("ops", &format!("words {n}")));
    store.append(batch.collect()).await.unwrap();
    store.append(vec![said("dev", "elsewhere")]).await.unwrap();
    let changes: [(u64, Option<&str>); 5] = [
        (1, None),
        (2, Some("other words")),
        (15, None),
        (16, None),
        (30, None),
    ];
    for (target, words) in changes {
        store.edit_message(amendment(target, words)).await.unwrap();
    }
    store.append(vec![said("ops", "the end")]).await.unwrap();

    let history = store.history(&room("ops"), None, 1000).await.unwrap();
    assert_eq!(history.len(), 30 - 4 + 1);
    for limit in [1, 2, 7, 26, 27, 28, usize::MAX] {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = page(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = last.seq.0;
            found.extend(page);
        }
        assert_eq!(found, history, "{limit} per page");
    }
    for (after, limit) in [(0, 0), (36, 9), (u64::MAX, 9)] {
        assert_eq!(page(after, limit).await, Ok(Vec::new()), "{after} {limit}");
    }
}

async fn conversations_are_those_with_entries(place: &impl Place) {
    let store = place.open();
    people(&*store, 1..=2).await;
    assert_eq!(store.conversations().await, Ok(Vec::new()));
    let direct = Conversation::between(id(2), id(1));
    let whisper = Draft {
        conversation: direct.clone(),
        to: Some(name("user-2")),
        ..said("ops", "psst")
    };
    let batch = vec![said("ops", "hi"), whisper, said("dev", "hi")];
    store.append(batch).await.unwrap();
    store.edit_message(amendment(1, None)).await.unwrap();
    let mark = ReadMarker {
        seq: Seq(0),
        at: at(0),
    };
    let read = vec![(id(1), room("silent"), mark)];
    store.save_marks(read).await.unwrap();
    let name = RoomName::new("empty").unwrap();
    store.open_room(&name, None, at(0)).await.unwrap();

    let found = store.conversations().await.unwrap();
    assert_eq!(store.conversations().await, Ok(found.clone()), "fixed");
    assert_eq!(found.len(), 3);
    let found: BTreeSet<Conversation> = found.into_iter().collect();
    let expected = BTreeSet::from([room("ops"), room("dev"), direct]);
    assert_eq!(found, expected);
}

async fn accounts_survive_reopening(place: &impl Place) {
    let store = place.open();
    let operator = Account {
        role: Role::Operator,
        ..account(1)
    };
    let lockdown = Lockdown {
        scope: LockdownScope::Guests,
        by: "zoe".into(),
        until: Some(at(90)),
    };
    let mut ban = ban(BanTarget::Account(id(2), name("user-2")), Some(90));
    store.create_account(&operator, &key(1)).await.unwrap();
    store.add_key(id(1), &key(2), &done()).await.unwrap();
    store.create_invite(&invite(1, 3), &done()).await.unwrap();
    store.add_pending(&pending(3)).await.unwrap();
    ban.id = store.add_ban(&ban, &done()).await.unwrap();
    let mute = mute(2, Some(90));
    store.set_mute(id(2), Some(&mute), &done()).await.unwrap();
    store.set_lockdown(Some(&lockdown), &done()).await.unwrap();
    let revision = store.revision().await.unwrap();
    drop(store);

    let store = place.open();
    let now = at(50);
    assert_eq!(store.revision().await, Ok(revision));
    assert_eq!(store.accounts().await, Ok(vec![operator]));
    assert_eq!(keys_of(&*store, 1).await, [key(1), key(2)]);
    assert_eq!(store.invites(now).await, Ok(vec![invite(1, 3)]));
    assert_eq!(store.pending(at(0)).await, Ok(vec![pending(3)]));
    assert_eq!(store.bans(now).await, Ok(vec![ban]));
    assert_eq!(store.mutes(now).await, Ok(vec![mute]));
    assert_eq!(store.lockdown(now).await, Ok(Some(lockdown)));
    let audits = store.audits(9).await.unwrap();
    let actions: Vec<&str> = audits.iter().map(|entry| entry.action.as_str()).collect();
    let expected = ["lockdown", "mute", "ban", "invite_create", "key_add"];
    assert_eq!(actions, expected);
}
