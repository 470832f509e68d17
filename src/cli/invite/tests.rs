use super::*;
use crate::cli::Command;
use crate::cli::tests::memory::Memory;
use crate::cli::tests::{NOW, configured, parse, ran, run, wait};

const CODE: &str = "UWS2L-JNFUW-S2LJN-FUWS2-LJNFUU";

#[test]
fn a_code_is_shown_once_and_only_its_hash_is_kept() {
    let store = Memory::default();
    let made = run("invite create", &store, "");
    assert_eq!(made.exit, Exit::Success);
    let line =
        format!("ssh -p 2222 chat.example.com   and enter the invite code {CODE} when asked\n");
    assert_eq!(made.out, line);
    let code = Code::parse(CODE).unwrap();
    let invite = store.content().invites[0].clone();
    assert_eq!(invite.hash, code.hash());
    assert_eq!(
        (invite.uses, invite.left, invite.role),
        (1, 1, Role::Member)
    );
    assert_eq!(invite.expires, NOW.plus(7 * 86_400_000));
    let says = format!(
        "invite {} admits one person (member) until 2026-11-29 14:02 UTC",
        invite.id()
    );
    assert!(made.err.starts_with(&says), "{}", made.err);
    let listed = run("invite list", &store, "").out + &run("invite list --json", &store, "").out;
    let audits = format!("{:?}", store.content().audits);
    for (place, text) in [("list", &listed), ("audit", &audits)] {
        assert!(
            text.contains(invite.id()) && !text.contains("UWS2L"),
            "{place}: {text}"
        );
    }
}

#[test]
fn what_is_asked_for_is_what_is_made() {
    let store = Memory::default();
    let line = "invite create --uses 3 --expires 2w --role operator --json";
    let Command::Invite(command) = parse(line) else {
        panic!();
    };
    for (settings, join, link) in [
        (
            &["host_name=chat", "listen=[::]:22"][..],
            "ssh chat",
            "null".to_owned(),
        ),
        (
            &[
                "host_name=chat",
                "listen=[::]:1",
                "web_url=https://chat/join",
            ],
            "ssh -p 1 chat",
            format!("\"https://chat/join#{CODE}\""),
        ),
    ] {
        let config = configured(settings);
        let made = ran(|console| wait(run_it(&command, &store, &config, console)));
        let id = store.content().invites[0].id().to_owned();
        assert_eq!(
            made.out,
            format!(
                "{{\"id\":\"{id}\",\"code\":\"{CODE}\",\"role\":\"operator\",\"uses\":3,\
                 \"expires\":\"2026-12-06T14:02:00.000Z\",\"join\":\"{join}\",\"link\":{link}}}\n"
            )
        );
        assert_eq!(made.err, "");
    }
    let config = configured(&["invite_expires=1h", "web_url=https://chat/join"]);
    let Command::Invite(command) = parse("invite create --uses 2") else {
        panic!();
    };
    let made = ran(|console| wait(run_it(&command, &store, &config, console)));
    assert!(
        made.out
            .ends_with(&format!("\nor in a browser: https://chat/join#{CODE}\n"))
    );
    assert!(
        made.err
            .contains("admits 2 people (member) until 2026-11-22 15:02 UTC")
    );
}

async fn run_it(
    command: &InviteCommand,
    store: &Memory,
    config: &Config,
    console: Console<'_>,
) -> Exit {
    super::run(command, store, config, [0xA5; 16], NOW, console).await
}

#[test]
fn invites_are_listed_and_ended() {
    let store = Memory::default();
    let nothing = run("invite list", &store, "");
    assert_eq!((nothing.exit, nothing.out.as_str()), (Exit::Success, ""));
    run("invite create --uses 2", &store, "");
    store.content().invites[0].left = 1;
    let id = store.content().invites[0].id().to_owned();
    assert_eq!(
        run("invite list", &store, "").out,
        format!(
            "\
ID        ROLE    LEFT    EXPIRES               BY
{id}  member  1 of 2  2026-11-29 14:02 UTC  (console)
"
        )
    );
    assert_eq!(
        run("invite list --json", &store, "").out,
        format!(
            "{{\"id\":\"{id}\",\"role\":\"member\",\"left\":1,\"uses\":2,\
             \"expires\":\"2026-11-29T14:02:00.000Z\",\"by\":\"(console)\",\
             \"at\":\"2026-11-22T14:02:00.000Z\"}}\n"
        )
    );
    for (id, exit) in [
        ("00000000", Exit::NotFound),
        (&id.to_uppercase(), Exit::Success),
        (&id, Exit::NotFound),
    ] {
        let ran = run(&format!("invite revoke {id}"), &store, "");
        assert_eq!(ran.exit, exit, "{}", ran.err);
    }
    assert_eq!(store.content().audits[0].action, "invite_revoke");
}
