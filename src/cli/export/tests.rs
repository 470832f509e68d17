use serde_json::Value;

use super::*;
use crate::chat::event::{Author, Draft};
use crate::chat::ids::{Name, RoomName};
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{NOW, run};
use crate::store::RoomRecord;
use crate::text::Text;

fn said(conversation: &Conversation, seq: u64, body: Body) -> Message {
    let direct = matches!(conversation, Conversation::Direct(..));
    let draft = Draft {
        conversation: conversation.clone(),
        at: NOW.plus(seq),
        author: Author {
            account: AccountId(7),
            name: Name::new("alice").unwrap(),
        },
        to: direct.then(|| Name::new("bob").unwrap()),
        body,
    };
    draft.at_place(Seq(seq))
}

fn full() -> Memory {
    let store = Memory::default();
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@b";
    run("keys add --account alice --role operator", &store, key);
    run("invite create", &store, "");
    let lobby = Conversation::Room(RoomName::lobby());
    let direct = Conversation::between(AccountId(9), AccountId(7));
    let text = Text::stored;
    {
        let mut content = store.content();
        content.rooms.push(RoomRecord {
            name: RoomName::lobby(),
            topic: Some(text("tea")),
            last: Seq(6),
            created: NOW,
        });
        content.messages = vec![
            said(&lobby, 1, Body::Said(text("two\n\"lines\""))),
            said(&lobby, 3, Body::Did(text("waves"))),
            said(&lobby, 4, Body::Topic(Some(text("tea")))),
            said(&direct, 1, Body::Said(text("psst"))),
        ];
        content.messages[0].edited = true;
    }
    store
}

#[test]
fn the_shape_of_each_line_stays_the_same() {
    let ran = run("export", &full(), "");
    assert_eq!(ran.exit, Exit::Good, "{}", ran.err);
    let id = |n: u128| AccountId(n).to_string();
    let (one, seven, nine) = (id(1), id(7), id(9));
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        r#"{{"v":1,"type":"export","at":"2026-11-22T14:02:00.000Z","server":"{version}"}}
{{"v":1,"type":"account","id":"{one}","name":"alice","role":"operator","created":"2026-11-22T14:02:00.000Z","keys":[{{"fingerprint":"SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA","algorithm":"ssh-ed25519","comment":"a@b","added":"2026-11-22T14:02:00.000Z"}}]}}
{{"v":1,"type":"room","name":"lobby","topic":"tea","created":"2026-11-22T14:02:00.000Z"}}
{{"v":1,"type":"message","room":"lobby","seq":1,"at":"2026-11-22T14:02:00.001Z","author":"alice","author_id":"{seven}","kind":"said","text":"two\n\"lines\"","edited":true}}
{{"v":1,"type":"message","room":"lobby","seq":3,"at":"2026-11-22T14:02:00.003Z","author":"alice","author_id":"{seven}","kind":"did","text":"waves","edited":false}}
{{"v":1,"type":"message","room":"lobby","seq":4,"at":"2026-11-22T14:02:00.004Z","author":"alice","author_id":"{seven}","kind":"topic","text":"tea","edited":false}}
{{"v":1,"type":"message","between":["{seven}","{nine}"],"to":"bob","seq":1,"at":"2026-11-22T14:02:00.001Z","author":"alice","author_id":"{seven}","kind":"said","text":"psst","edited":false}}
{{"v":1,"type":"end","messages":4}}
"#
    );
    for (line, expected) in ran.out.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
        serde_json::from_str::<Value>(line).unwrap();
    }
    assert_eq!(ran.out.lines().count(), expected.lines().count());
    assert!(!ran.out.contains("hash"), "no invite is in it");
}

#[test]
fn a_long_log_comes_page_by_page_and_whole() {
    let store = Memory::default();
    let lobby = Conversation::Room(RoomName::lobby());
    let many = PAGE as u64 * 2 + 1;
    // With holes, as deleted messages leave them.
    store.content().messages = (1..=many)
        .map(|n| said(&lobby, n * 2, Body::Said(Text::stored("x"))))
        .collect();
    let out = run("export", &store, "").out;
    let seqs = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64());
    assert!(seqs.eq((1..=many).map(|n| n * 2)));
    assert!(out.ends_with(&format!(
        "{{\"v\":1,\"type\":\"end\",\"messages\":{many}}}\n"
    )));
}

#[test]
fn an_export_that_broke_off_has_no_end() {
    let store = full();
    store.content().broken = Some(StoreError::Unavailable("gone".into()));
    let ran = run("export", &store, "");
    assert_eq!(ran.exit, Exit::Failed);
    assert!(!ran.out.contains("\"end\""));
    assert_eq!(ran.err, "ssh-chat: the database does not answer: gone\n");
}
