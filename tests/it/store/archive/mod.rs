//! Export from one store and import into another.

use super::*;
use crate::harness::Changes;
use ssh_chat::chat::access::{
    Actor, AuditEntry, Ban, BanTarget, ClientPrefix, Lockdown, LockdownScope, Mute, PendingKey,
    network,
};
use ssh_chat::chat::invite::{Code, Invite};
use ssh_chat::store::Archive;
use ssh_chat::store::archive::format::ArchiveLine;
use ssh_chat::store::archive::{ArchiveRecord, BATCH};
use ssh_chat::text::Text;

mod reading;
mod refusing;
mod same;

/// An adapter that implements the archive port.
pub(crate) trait Archived: Place {
    fn archive(&self) -> Arc<dyn Archive>;

    /// Another store of the same kind.
    fn another(&self) -> Self;
}

impl Archived for tempfile::TempDir {
    fn archive(&self) -> Arc<dyn Archive> {
        Arc::new(Sqlite::open(&self.path().join("chat.db")).unwrap())
    }

    fn another(&self) -> Self {
        tempfile::tempdir().unwrap()
    }
}

const NOW: Time = Time(1_700_000_100_000);

fn after(seconds: i64) -> Time {
    Time(NOW.0 + seconds * 1000)
}

/// An audit entry for a kick of this user.
fn audit(whom: &str) -> AuditEntry {
    AuditEntry {
        at: NOW,
        actor: Actor::Unverified(Text::stored("zoe")),
        action: "kick".to_owned(),
        target: Text::stored_line(&format!("user-{whom}")),
        detail: Text::stored_line("because"),
    }
}

fn ban(target: BanTarget, until: Option<Time>) -> Ban {
    Ban {
        id: 0,
        target,
        by: "zoe".into(),
        at: NOW,
        until,
        reason: Text::line("too loud", 100).ok(),
    }
}

fn code(seed: u8) -> String {
    Code::new([seed; 16]).hash()
}

fn pending(number: u32) -> PendingKey {
    PendingKey {
        key: key(number),
        name: name(&format!("user-{number}")),
        from: "203.0.113.7".parse().unwrap(),
        at: NOW,
    }
}

fn direct(a: &str, b: &str) -> Conversation {
    Conversation::between(author(a).account, author(b).account)
}

/// A user whose key isn't proven yet.
fn waiting(who: &str) -> Account {
    Account {
        proof_by: Some(after(60)),
        ..account(who)
    }
}

/// Uses everything that the port offers: accounts, moderation, messages.
pub(crate) async fn fill(store: &dyn Store) {
    let (alice, bob) = (account("alice"), account("bob"));
    let alice = Account {
        role: Role::Operator,
        ..alice
    };
    let audit = &audit("done");
    store.create_account(&alice, &key(1)).await.unwrap();
    store.create_account(&bob, &key(2)).await.unwrap();
    let late = KeyRecord {
        algorithm: Text::stored_line("ssh-rsa"),
        comment: text("phone \"2\" \\ 語"),
        added: after(5),
        ..key(3)
    };
    store.add_key(alice.id, &late, audit).await.unwrap();
    store.add_key(alice.id, &key(4), audit).await.unwrap();
    let gone = key(4).fingerprint;
    store
        .remove_key(alice.id, &gone, false, audit)
        .await
        .unwrap();
    for other in ["alicia", "allison", "a1icia"] {
        store.rename(alice.id, &name(other)).await.unwrap();
    }
    let preferences = Preferences {
        timestamps: Timestamps::Seconds,
        tz: Some("Asia/Tokyo".to_owned()),
        theme: Some("mono".to_owned()),
        quiet: true,
        silent: true,
        ignored: vec![Ignored {
            account: bob.id,
            name: "bob".to_owned(),
        }],
    };
    store
        .save_preferences(alice.id, &preferences)
        .await
        .unwrap();

    let invite = |seed, uses| Invite {
        hash: code(seed),
        role: Role::Operator,
        left: uses,
        uses,
        expires: after(100),
        by: "alice".into(),
        at: after(seed.into()),
    };
    store.create_invite(&invite(1, 4), audit).await.unwrap();
    store.create_invite(&invite(2, 1), audit).await.unwrap();
    let carol = account("carol");
    store
        .redeem(&code(1), &carol, &key(5), audit)
        .await
        .unwrap();
    let ines = waiting("ines");
    store.redeem(&code(1), &ines, &key(8), audit).await.unwrap();
    store.add_pending(&pending(6)).await.unwrap();
    store.add_pending(&pending(7)).await.unwrap();
    store
        .settle_pending(&fingerprint(7), None, audit)
        .await
        .unwrap();

    let targets = [
        BanTarget::Account(bob.id, bob.name.clone()),
        BanTarget::Key(fingerprint(9)),
        BanTarget::Network(network("2001:db8::/32").unwrap()),
        BanTarget::Client(ClientPrefix::stored("SSH-2.0-Go ")),
        BanTarget::Network(network("203.0.113.7").unwrap()),
    ];
    for (n, target) in (0..).zip(targets) {
        let until = (n % 2 == 1).then(|| after(100 + n));
        let id = store.add_ban(&ban(target, until), audit).await.unwrap();
        // The highest number belongs to a ban that was lifted.
        if n == 0 || n == 4 {
            store.remove_ban(id, audit).await.unwrap();
        }
    }
    for (who, until) in [("bob", Some(after(50))), ("guest-abcd", None)] {
        let mute = Mute {
            account: author(who).account,
            by: "zoe".into(),
            until,
            reason: until.map(|_| text("spam")),
        };
        store
            .set_mute(mute.account, Some(&mute), audit)
            .await
            .unwrap();
    }
    let lockdown = Lockdown {
        scope: LockdownScope::Guests,
        by: "zoe".into(),
        until: Some(Time(i64::MAX)),
    };
    store.set_lockdown(Some(&lockdown), audit).await.unwrap();
    talk(store).await;
}

/// Messages in alternating conversations: search returns the latest first, across conversations.
async fn talk(store: &dyn Store) {
    let empty = RoomName::new("empty").unwrap();
    store.open_room(&empty, None, after(-9)).await.unwrap();
    let (ops, dev, whisper) = (room("ops"), room("dev"), direct("bob", "alice"));
    let waves = Body::Did(text("waves the flag"));
    let batch = [
        said(&ops, "alice", "the first flag\nof two \"lines\""),
        said(&dev, "bob", "the second flag"),
        draft(&ops, "bob", waves),
        draft(&ops, "alice", Body::Topic(Some(text("flags")))),
        draft(&dev, "alice", Body::Topic(Some(text("nothing")))),
        said(&whisper, "bob", "psst, a flag"),
        said(&ops, "guest-abcd", "no flag"),
        said(&dev, "alice", "flag, flag"),
        draft(&dev, "bob", Body::Topic(None)),
    ];
    for (n, mut draft) in (0..).zip(batch) {
        draft.at = after(n);
        draft.to = (draft.conversation == whisper).then(|| name("alice"));
        store.append(vec![draft]).await.unwrap();
    }
    let changes = [
        (&ops, 1, "alice", Some("a first flag")),
        (&ops, 2, "bob", Some("lowers the flag")),
        (&ops, 2, "bob", None),
        (&whisper, 1, "bob", Some("psst: a flag")),
        (&dev, 3, "alice", None),
    ];
    for (conversation, target, who, words) in changes {
        let amendment = MessageEdit {
            conversation: conversation.clone(),
            ..amendment(Some(target), who, words)
        };
        store.edit_message(amendment).await.unwrap();
    }
    let marks = [("alice", &ops, 3), ("alice", &whisper, 1), ("bob", &dev, 0)];
    let marks = marks.map(|(who, conversation, seq)| {
        let mark = ReadMarker {
            seq: Seq(seq),
            at: after(7),
        };
        (author(who).account, conversation.clone(), mark)
    });
    store.save_marks(marks.to_vec()).await.unwrap();
}

/// All records of a store.
pub(crate) async fn export(store: &dyn Archive) -> Vec<ArchiveRecord> {
    let mut pages = store.export().await.unwrap();
    let mut records = Vec::new();
    loop {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            return records;
        }
        assert!(page.len() <= 10_000, "bounded");
        records.extend(page);
    }
}

/// Imports records as the command does; returns how many were new.
pub(crate) async fn import(store: &dyn Archive, records: &[ArchiveRecord]) -> usize {
    let mut new = 0;
    for batch in records.chunks(BATCH) {
        new += store.import(batch.to_vec()).await.unwrap();
    }
    new
}

/// Records after a round trip through a file.
fn through_a_file(records: &[ArchiveRecord]) -> Vec<ArchiveRecord> {
    let read = |record: &ArchiveRecord| {
        let line = ArchiveLine::Record(record.clone()).write().unwrap();
        match ArchiveLine::read(line.as_bytes()).unwrap() {
            ArchiveLine::Record(record) => record,
            ArchiveLine::Frame(_) => panic!("{line}"),
        }
    };
    records.iter().map(read).collect()
}

/// The response of every method that reads, as text.
async fn answers(store: &dyn Store) -> Vec<String> {
    let mut all = Vec::new();
    macro_rules! ask {
        ($($question:expr),+ $(,)?) => {$({
            all.push(format!("{}: {:?}", stringify!($question), $question.await.unwrap()));
        })+};
    }
    let conversations = store.conversations().await.unwrap();
    let accounts = store.accounts().await.unwrap();
    ask!(store.conversations(), store.accounts(), store.rooms());
    ask!(store.unproven());
    for conversation in &conversations {
        ask!(
            store.history(conversation, None, 1000),
            store.log_after(conversation, Seq(0), 1000),
            store.count_after(conversation, Seq(2)),
        );
    }
    for account in &accounts {
        ask!(store.keys_of(account.id));
        for conversation in conversations.iter().chain([&room("read-only")]) {
            ask!(store.mark(account.id, conversation));
        }
    }
    for key in 0..10 {
        ask!(store.account_by_key(&fingerprint(key)));
    }
    for owned in [
        "alice", "al1ce", "alicia", "allison", "bob", "carol", "dave", "ines",
    ] {
        ask!(store.account_by_name(&name(owned)));
    }
    for words in ["flag", "first", "waves", "lowers", "psst", "a"] {
        let search = SearchQuery {
            words: words.to_owned(),
            within: conversations.clone(),
            limit: 3,
        };
        ask!(store.search(search));
    }
    for now in [NOW, after(75), after(1000)] {
        ask!(
            store.invites(now),
            store.pending(now),
            store.bans(now),
            store.mutes(now),
            store.lockdown(now)
        );
    }
    ask!(store.audits(usize::MAX));
    all
}

async fn assert_same(one: &dyn Archive, other: &dyn Archive) {
    let (expected, found) = (answers(one).await, answers(other).await);
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}
