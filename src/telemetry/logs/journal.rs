//! The journal, through `tracing-journald`.
//!
//! The logging thread puts an owned [`JournalEntry`] on a queue, and the journal's own thread
//! passes it to [`tracing_journald::Layer`]. If journald hangs, only that thread blocks; entries
//! that don't fit the queue are dropped and counted. See
//! docs/decisions/0034-tracing-journald-behind-a-queue.md.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::callsite::{Callsite, Identifier};
use tracing::field::{FieldSet, Value};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_journald::{Layer, Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::telemetry::metrics;

/// Entries that may wait for journald. Each field has at most [`MAX_VALUE`](super::MAX_VALUE)
/// characters.
const QUEUE: usize = 4096;
/// How long [`Journal::flush`] waits for journald.
const FLUSH: Duration = Duration::from_secs(1);

/// A command for the journal's thread.
enum Command {
    Write(JournalEntry),
    /// Reply once everything before is written.
    Flush(SyncSender<()>),
}

/// An event with its values.
pub(super) struct JournalEntry {
    pub(super) event: &'static Metadata<'static>,
    /// Sanitized values, in order. `message` is the whole line without time and level.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// A handle of the journal's queue. Logging never blocks.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    queue: SyncSender<Command>,
}

impl Journal {
    /// Connects to the machine's journal.
    ///
    /// # Errors
    /// If nothing listens on `/run/systemd/journal/socket`, or the thread can't be started.
    pub(super) fn connect() -> io::Result<Journal> {
        let layer = Layer::new()?
            .with_field_prefix(None)
            .with_syslog_identifier("ssh-chat".to_owned())
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        // Never a thread's default subscriber: it has no filter, so the process would evaluate all
        // disabled events again.
        Journal::to(tracing_subscriber::registry().with(layer))
    }

    /// Returns a journal that passes events to this subscriber.
    pub(super) fn to(subscriber: impl Subscriber + Send) -> io::Result<Journal> {
        let (queue, commands) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&commands, &subscriber))?;
        Ok(Journal { queue })
    }

    /// Queues an entry, or counts it as lost.
    pub(super) fn put(&self, entry: JournalEntry) {
        if self.queue.try_send(Command::Write(entry)).is_err() {
            metrics::line_missing("lost");
        }
    }

    /// Waits until all queued entries are written, for at most a second.
    pub(super) fn flush(&self) {
        let (done, answer) = sync_channel(1);
        // If the queue is full, journald hangs.
        if self.queue.try_send(Command::Flush(done)).is_ok() {
            let _in_time = answer.recv_timeout(FLUSH);
        }
    }
}

/// Writes entries until all handles are dropped.
fn write(commands: &Receiver<Command>, subscriber: &impl Subscriber) {
    let mut cache = MetadataCache::default();
    for command in commands {
        match command {
            Command::Write(JournalEntry { event, fields }) => {
                let metadata = cache.metadata(event, fields.iter().map(|(name, _)| *name));
                let values: Vec<_> = fields
                    .iter()
                    .map(|(_, value)| Some(value as &dyn Value))
                    .collect();
                let values = metadata.fields().value_set_all(&values);
                subscriber.event(&Event::new(metadata, &values));
            }
            Command::Flush(done) => {
                let _nobody_waits = done.send(());
            }
        }
    }
}

/// The metadata of entries, by callsite and fields. The event's own metadata lacks the fields of
/// its spans, and `message` if it had none.
#[derive(Default)]
struct MetadataCache(HashMap<(Identifier, Vec<&'static str>), &'static Metadata<'static>>);

impl MetadataCache {
    /// Returns the metadata of an event with these fields. It is leaked, as tracing requires;
    /// there's one per callsite and combination of spans.
    fn metadata(
        &mut self,
        event: &'static Metadata<'static>,
        names: impl Iterator<Item = &'static str>,
    ) -> &'static Metadata<'static> {
        let names: Vec<_> = names.collect();
        let key = (event.callsite(), names);
        if let Some(known) = self.0.get(&key) {
            return known;
        }
        let fields = FieldSet::new(key.1.clone().leak(), Identifier(&CALLSITE));
        let metadata = Box::leak(Box::new(Metadata::new(
            event.name(),
            event.target(),
            *event.level(),
            event.file(),
            event.line(),
            event.module_path(),
            fields,
            Kind::EVENT,
        )));
        self.0.insert(key, metadata);
        metadata
    }
}

/// The callsite of all fields: a value set must refer to a single one.
static CALLSITE: JournalCallsite = JournalCallsite;

struct JournalCallsite;

impl Callsite for JournalCallsite {
    fn set_interest(&self, _: Interest) {}

    /// Never called: this callsite isn't registered.
    fn metadata(&self) -> &Metadata<'_> {
        static METADATA: Metadata<'static> = Metadata::new(
            "journal",
            module_path!(),
            tracing::Level::TRACE,
            None,
            None,
            None,
            FieldSet::new(&[], Identifier(&CALLSITE)),
            Kind::EVENT,
        );
        &METADATA
    }
}
