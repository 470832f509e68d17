//! One record of each shape, for tests.

use std::time::Duration;

use super::{
    ArchiveRecord, ArchivedAccount, ArchivedAudit, ArchivedBody, ArchivedCounters, ArchivedMarker,
    ArchivedMessage, ArchivedRoom,
};
use crate::chat::access::{
    Ban, BanTarget, ClientPrefix, KeyRecord, Lockdown, LockdownScope, Mute, PendingKey, Role,
    network,
};
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Conversation, Fingerprint, Name, RoomName, Seq, Time};
use crate::chat::invite::Invite;
use crate::chat::preferences::{Ignored, Preferences, Timestamps};
use crate::store::Account;
use crate::text::Text;

/// 2026-11-22T14:02:09.123Z
pub(crate) const AT: Time = Time(1_795_356_129_123);
const LATER: Time = Time(1_795_960_929_123);
const ALICE: AccountId = AccountId(0xa11ce);
const DORA: AccountId = AccountId(0xd04a1);
const BOB: AccountId = AccountId(0x5f0c);

fn name(raw: &str) -> Name {
    Name::new(raw).unwrap()
}

fn key() -> KeyRecord {
    KeyRecord {
        fingerprint: Fingerprint::new("SHA256:0jvS3JZ4PfHpKoEvRBgAsdBmzJO2Tdcs0O1XWyV9X5c"),
        algorithm: Text::stored_line("ssh-ed25519"),
        comment: Text::stored("alice@laptop"),
        added: AT,
    }
}

fn ops() -> Conversation {
    Conversation::Room(RoomName::new("ops").unwrap())
}

fn alice() -> ArchivedAccount {
    ArchivedAccount {
        id: ALICE,
        name: name("alicia"),
        names: vec![name("alice"), name("alicia")],
        role: Role::Operator,
        created: AT,
        preferences: Preferences {
            timestamps: Timestamps::Seconds,
            tz: Some("Europe/Berlin".to_owned()),
            theme: None,
            quiet: true,
            silent: false,
            ignored: vec![Ignored {
                account: BOB,
                name: "bob".to_owned(),
            }],
        },
        keys: vec![key()],
        proof_by: None,
    }
}

/// Somebody who asked for a name on the web, and did not come yet.
fn dora() -> ArchivedAccount {
    let mut key = key();
    key.fingerprint = Fingerprint::new("SHA256:rkSKyGxOjk3sZFcpcI70GHOuecbf+E7/czYJiUh/COU");
    let account = Account {
        proof_by: Some(LATER),
        ..Account::new(DORA, name("dora"), Role::Member, AT)
    };
    ArchivedAccount::new(account, vec![name("dora")], vec![key])
}

/// An entry in `ops`, by bob.
pub(crate) fn entry(seq: u64, body: ArchivedBody) -> ArchivedMessage {
    ArchivedMessage {
        conversation: ops(),
        seq: Seq(seq),
        at: AT,
        author: Author {
            account: BOB,
            name: name("bob"),
        },
        to: None,
        body,
    }
}

fn entries() -> Vec<ArchivedMessage> {
    let text = Text::stored;
    let shown = [
        ArchivedBody::Said {
            text: text("the pump is \"hot\"\nagain"),
            edited: true,
        },
        ArchivedBody::Topic(Some(text("release on Friday"))),
        ArchivedBody::Topic(None),
        ArchivedBody::Edited { target: Seq(1) },
        ArchivedBody::Gone,
        ArchivedBody::Deleted { target: Seq(5) },
    ];
    let mut entries: Vec<ArchivedMessage> =
        (1..).zip(shown).map(|(n, kept)| entry(n, kept)).collect();
    let waves = ArchivedBody::Did {
        text: text("waves"),
        edited: false,
    };
    entries.push(ArchivedMessage {
        conversation: Conversation::between(ALICE, BOB),
        to: Some(name("alice")),
        ..entry(1, waves)
    });
    entries
}

fn bans() -> Vec<Ban> {
    let targets = [
        BanTarget::Network(network("203.0.113.0/24").unwrap()),
        BanTarget::Account(BOB, name("bob")),
        BanTarget::Key(key().fingerprint),
        BanTarget::Client(ClientPrefix::stored("SSH-2.0-Go")),
    ];
    let ban = |(id, target)| Ban {
        id,
        target,
        by: "alice".into(),
        at: AT,
        until: (id == 1).then_some(LATER),
        reason: (id == 1).then(|| Text::stored("noise")),
    };
    (1..).zip(targets).map(ban).collect()
}

/// In the order of an archive.
pub(crate) fn records() -> Vec<ArchiveRecord> {
    let mut records = vec![
        ArchiveRecord::Account(Box::new(alice())),
        ArchiveRecord::Account(Box::new(dora())),
        ArchiveRecord::Mark(ArchivedMarker {
            account: ALICE,
            conversation: ops(),
            seq: Seq(6),
            at: AT,
        }),
        ArchiveRecord::Room(ArchivedRoom {
            name: RoomName::new("ops").unwrap(),
            topic: Some(Text::stored("release on Friday")),
            created: AT,
            made_by: Some(ALICE),
            slow: Some(Duration::from_secs(30)),
        }),
        ArchiveRecord::Invite(Invite {
            hash: "3f9a1c77".repeat(8),
            role: Role::Member,
            left: 2,
            uses: 3,
            expires: LATER,
            by: "alice".into(),
            at: AT,
        }),
        ArchiveRecord::Pending(PendingKey {
            key: KeyRecord {
                fingerprint: Fingerprint::new("SHA256:9WRpGYSR5jPtaYdgBpUTJCqQxUb5jSTJ3RHsPMZ3cMM"),
                comment: Text::stored(""),
                ..key()
            },
            name: name("carol"),
            from: "203.0.113.7".parse().unwrap(),
            at: AT,
        }),
        ArchiveRecord::Numbers(ArchivedCounters { ban: 7 }),
    ];
    records.extend(bans().into_iter().map(ArchiveRecord::Ban));
    records.extend([
        ArchiveRecord::Mute(Mute {
            account: BOB,
            by: "alice".into(),
            until: Some(LATER),
            reason: Some(Text::stored("spam")),
        }),
        ArchiveRecord::Lockdown(Lockdown {
            scope: LockdownScope::Guests,
            by: "alice".into(),
            until: None,
        }),
        ArchiveRecord::Audit(ArchivedAudit {
            number: 1,
            at: AT,
            actor: "alice".to_owned(),
            actor_kind: Some("account".to_owned()),
            actor_account: Some(ALICE),
            action: "ban".to_owned(),
            target: "203.0.113.0/24".to_owned(),
            detail: "for 7 days: noise".to_owned(),
        }),
    ]);
    records.extend(entries().into_iter().map(ArchiveRecord::Message));
    records
}
