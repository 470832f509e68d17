//! What an import refuses.

use super::*;
use crate::harness::Changes;
use ssh_chat::store::archive::{
    ArchivedAccount, ArchivedAudit, ArchivedBody, ArchivedCounters, ArchivedMarker,
    ArchivedMessage, ArchivedRoom, ImportConflict, ImportError,
};

contract! {
    a_differing_record_is_refused_without_effect,
    a_record_that_does_not_fit_is_refused_without_effect,
    empty_rooms_make_room,
    a_log_begins_where_it_begins,
}

/// A refused record and the reason, after a record that would be new.
async fn refused(store: &dyn Archive, record: ArchiveRecord) -> ImportConflict {
    let before = export(store).await;
    let new = ArchiveRecord::Room(ArchivedRoom {
        name: RoomName::new("new").unwrap(),
        topic: None,
        created: NOW,
        made_by: None,
        slow: None,
    });
    let done = store.import(vec![new, record.clone()]).await;
    assert_eq!(export(store).await, before, "no effect: {record:?}");
    match done {
        Err(ImportError::Conflict { index: 1, why }) => why,
        other => panic!("{record:?}: {other:?}"),
    }
}

/// MUST 14: each kind of record, with one field changed.
async fn a_differing_record_is_refused_without_effect(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let mut kinds = std::collections::BTreeSet::new();
    for record in export(&*store).await {
        let mut other = record.clone();
        let field = match &mut other {
            ArchiveRecord::Account(person) => {
                person.keys.clear();
                "keys"
            }
            ArchiveRecord::Mark(mark) => {
                mark.at = after(99);
                "at"
            }
            // An empty room gives way.
            ArchiveRecord::Room(room) if room.name.as_str() != "ops" => continue,
            ArchiveRecord::Room(room) => {
                room.topic = None;
                "topic"
            }
            ArchiveRecord::Invite(invite) => {
                invite.left = 0;
                "left"
            }
            ArchiveRecord::Pending(pending) => {
                pending.from = "192.0.2.99".parse().unwrap();
                "from"
            }
            ArchiveRecord::Numbers(_) => continue,
            ArchiveRecord::Ban(ban) => {
                ban.target = BanTarget::Client(ClientPrefix::stored("other"));
                "target"
            }
            ArchiveRecord::Mute(mute) => {
                mute.by = "other".into();
                "by"
            }
            ArchiveRecord::Lockdown(lockdown) => {
                lockdown.until = None;
                "until"
            }
            ArchiveRecord::Audit(order) => {
                order.detail.push('!');
                "detail"
            }
            ArchiveRecord::Message(entry) => {
                entry.author.name = name("mallory");
                "from"
            }
        };
        let expected = ImportConflict::Differs(vec![field.to_owned()]);
        assert_eq!(refused(&*store, other).await, expected, "{record:?}");
        kinds.insert(record.kind());
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

async fn a_record_that_does_not_fit_is_refused_without_effect(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let stranger = |key_number| {
        let mut stranger = account("stranger");
        stranger.id = AccountId(7);
        ArchivedAccount::new(stranger, vec![name("stranger")], vec![key(key_number)])
    };
    let mut looks_like = stranger(30);
    looks_like.names.push(name("b0b"));
    let account = |person| ArchiveRecord::Account(Box::new(person));
    let mark = ArchiveRecord::Mark(ArchivedMarker {
        account: AccountId(8),
        conversation: room("ops"),
        seq: Seq(1),
        at: NOW,
    });
    let ops = store.rooms().await.unwrap();
    let last = ops
        .iter()
        .find(|room| room.name.as_str() == "ops")
        .unwrap()
        .last
        .0;
    let orders = store.audits(usize::MAX).await.unwrap().len() as u64;
    let cases = [
        (account(looks_like), ImportConflict::NameTaken(name("b0b"))),
        (
            account(stranger(2)),
            ImportConflict::KeyTaken(fingerprint(2)),
        ),
        (mark, ImportConflict::NoAccount(AccountId(8))),
        (
            ArchiveRecord::Pending(pending(1)),
            ImportConflict::KeyTaken(fingerprint(1)),
        ),
        (entry(room("ops"), last + 2), ImportConflict::Gap(last)),
        (
            ArchiveRecord::Audit(ArchivedAudit::new(orders + 2, audit("skipped"))),
            ImportConflict::Gap(orders),
        ),
    ];
    for (record, expected) in cases {
        assert_eq!(refused(&*store, record).await, expected);
    }
    // Numbers only grow.
    let numbers = |ban| vec![ArchiveRecord::Numbers(ArchivedCounters { ban })];
    for (ban, new) in [(3, 0), (80, 1), (80, 0), (7, 0)] {
        assert_eq!(store.import(numbers(ban)).await, Ok(new), "{ban}");
    }
    let target = BanTarget::Key(fingerprint(8));
    let next = store.add_ban(&ban(target, None), &audit("ban")).await;
    assert_eq!(next.map(|number| number > 80), Ok(true));
    for number in 100.. {
        match store
            .import(vec![ArchiveRecord::Pending(pending(number))])
            .await
        {
            Ok(_) => assert!(number < 1000, "no error after 1000 records"),
            Err(error) => {
                assert_eq!(error, ImportConflict::TooManyPending.at(0));
                break;
            }
        }
    }
}

fn entry(conversation: Conversation, seq: u64) -> ArchiveRecord {
    ArchiveRecord::Message(ArchivedMessage {
        conversation,
        seq: Seq(seq),
        at: NOW,
        author: author("bob"),
        to: None,
        body: ArchivedBody::Said {
            text: text("hm"),
            edited: false,
        },
    })
}

/// MUST 12 and 15: earlier entries had expired at the source.
async fn a_log_begins_where_it_begins(place: &impl Archived) {
    let store = place.archive();
    let at = |seq| entry(room("ops"), seq);
    assert_eq!(store.import(vec![at(41), at(42)]).await, Ok(2));
    assert_eq!(store.import(vec![at(42), at(43)]).await, Ok(1));
    for (seq, why) in [
        (40, ImportConflict::LaterStart),
        (45, ImportConflict::Gap(43)),
    ] {
        assert_eq!(refused(&*store, at(seq)).await, why);
    }
    let crooked = vec![at(44), at(46)];
    let gap = ImportConflict::Gap(44).at(1);
    assert_eq!(store.import(crooked).await, Err(gap));
    assert_eq!(export(&*store).await, [at(41), at(42), at(43)]);
    let next = store.append(vec![said(&room("ops"), "bob", "so")]).await;
    assert_eq!(next, Ok(vec![Seq(44)]));
    let shown = history(&*store, Some(44), 2).await;
    assert_eq!(shown, ["42 hm", "43 hm"]);
    assert_eq!(store.count_after(&room("ops"), Seq(0)).await, Ok(4));
    let edited = store
        .edit_message(amendment(Some(41), "bob", Some("aha")))
        .await;
    assert_eq!(edited.unwrap().seq, Seq(45));
    assert_eq!(history(&*store, Some(42), 2).await, ["41 aha*"]);
}

/// A server that has started has created its lobby.
async fn empty_rooms_make_room(place: &impl Archived) {
    let store = place.archive();
    let lobby = RoomName::lobby();
    store.open_room(&lobby, None, NOW).await.unwrap();
    let room = |topic: Option<&str>, created| {
        ArchiveRecord::Room(ArchivedRoom {
            name: RoomName::lobby(),
            topic: topic.map(text),
            created,
            made_by: None,
            slow: None,
        })
    };
    let tea = room(Some("tea"), after(-99));
    for new in [1, 0] {
        assert_eq!(store.import(vec![tea.clone()]).await, Ok(new));
        assert_eq!(export(&*store).await, std::slice::from_ref(&tea));
    }
    let expected = ["created", "topic"].map(str::to_owned).to_vec();
    let coffee = room(Some("coffee"), NOW);
    assert_eq!(
        refused(&*store, coffee).await,
        ImportConflict::Differs(expected),
        "it has a topic"
    );
}
