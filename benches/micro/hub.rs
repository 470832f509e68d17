//! The hub with its store: from an intent until every session in the room has read the message from
//! the ring. The store is in memory, so the disk isn't included; see `store` for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use criterion::{BenchmarkId, Criterion, Throughput};
use ssh_chat::chat::event::Event;
use ssh_chat::chat::ids::SessionId;
use ssh_chat::chat::intent::Intent;
use ssh_chat::hub::feed::{Delivery, Inbox, Joined};
use ssh_chat::hub::{Attachment, Handle, Hub, Limits};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::chat;
use crate::store::{IN_MEMORY, open};

/// Messages in flight when many users talk.
const BURST: u32 = 64;

pub fn bench(criterion: &mut Criterion) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("the runtime can't be started")?;
    for (name, messages) in [("hub/message", 1), ("hub/burst", BURST)] {
        let mut group = criterion.benchmark_group(name);
        for members in chat::CROWDS {
            let room = runtime.block_on(Room::of(members))?;
            group.throughput(Throughput::Elements((members * messages).into()));
            group.bench_function(BenchmarkId::from_parameter(members), |b| {
                b.iter(|| runtime.block_on(room.say(messages)));
            });
            room.leave(&runtime)?;
        }
        group.finish();
    }

    let mut group = criterion.benchmark_group("hub/join_and_leave");
    for members in chat::CROWDS {
        let mut room = runtime.block_on(Room::of(members))?;
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| runtime.block_on(room.come_and_go()));
        });
        room.leave(&runtime)?;
    }
    group.finish();
    Ok(())
}

/// A lobby in which every session listens.
struct Room {
    hub: Handle,
    attachments: Vec<Attachment>,
    say: Intent,
    heard: Arc<Heard>,
    newcomer: u32,
    sessions: u64,
    _folder: TempDir,
}

/// What all listeners together have received.
#[derive(Default)]
struct Heard {
    messages: AtomicU64,
    /// Notified when the expected number is reached.
    enough: Notify,
    wanted: AtomicU64,
    /// Whether a message was refused or missed.
    failed: AtomicBool,
}

impl Room {
    async fn of(members: u32) -> Result<Room> {
        let (folder, store) = open(IN_MEMORY.as_ref())?;
        let limits = Limits {
            rooms: 1,
            ..Limits::default()
        };
        let (hub, handle) = Hub::load(store, limits).await?;
        tokio::spawn(hub.run());
        let heard = Arc::new(Heard::default());
        let mut attachments = Vec::new();
        for number in 0..members {
            let inbox = Arc::new(Inbox::default());
            let arrival = chat::arrival(number)?;
            let (attachment, joined) = handle.attach(arrival, Arc::clone(&inbox)).await?;
            attachments.push(attachment);
            tokio::spawn(listen(inbox, joined, Arc::clone(&heard)));
        }
        Ok(Room {
            hub: handle,
            attachments,
            say: chat::message()?,
            heard,
            newcomer: members,
            sessions: members.into(),
            _folder: folder,
        })
    }

    /// The first members send a message each, and all sessions receive it.
    async fn say(&self, messages: u32) {
        let wanted = u64::from(messages) * self.attachments.len() as u64;
        self.heard.wanted.fetch_add(wanted, Ordering::Relaxed);
        let speakers = self.attachments.iter().cycle();
        for (id, speaker) in (0..messages).zip(speakers) {
            if speaker.submit(id, self.say.clone()).is_err() {
                return self.heard.fail();
            }
        }
        self.heard.enough.notified().await;
    }

    /// A user joins and leaves, and the hub has processed both.
    async fn come_and_go(&mut self) {
        if self.one_more().await.is_err() {
            self.heard.fail();
        }
    }

    async fn one_more(&mut self) -> Result<()> {
        self.sessions += 1;
        let mut arrival = chat::arrival(self.newcomer)?;
        arrival.session = SessionId(self.sessions);
        let (attachment, _) = self.hub.attach(arrival, Arc::default()).await?;
        drop(attachment);
        self.hub.ping().await?;
        Ok(())
    }

    /// Stops the hub; fails if any message was refused or missed.
    fn leave(self, runtime: &Runtime) -> Result<()> {
        drop(self.attachments);
        runtime.block_on(self.hub.ping())?;
        let failed = self.heard.failed.load(Ordering::Relaxed);
        ensure!(!failed, "a message was refused or missed");
        Ok(())
    }
}

impl Heard {
    fn add(&self, messages: u64) {
        let before = self.messages.fetch_add(messages, Ordering::Relaxed);
        if before + messages == self.wanted.load(Ordering::Relaxed) {
            self.enough.notify_one();
        }
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
        // The expected messages won't arrive.
        self.enough.notify_one();
    }
}

/// A session's part in the chat, without a client.
async fn listen(inbox: Arc<Inbox>, joined: Joined, heard: Arc<Heard>) {
    let Joined {
        ring, mut cursor, ..
    } = joined;
    let mut posts = Vec::new();
    loop {
        inbox.notified().await;
        let (deliveries, missed) = inbox.take();
        let refused = |delivery: &Delivery| matches!(delivery, Delivery::Refused(..));
        let skipped = ring.read(&mut cursor, usize::MAX, &mut posts);
        if missed + skipped > 0 || deliveries.iter().any(refused) {
            heard.fail();
        }
        let messages = posts.drain(..);
        let messages = messages.filter(|post| matches!(*post.event, Event::Message(_)));
        heard.add(messages.count() as u64);
    }
}
