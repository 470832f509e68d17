//! The journal, through `tracing-journald`.
//!
//! An event becomes an owned [`Entry`] on the thread that logs it, and a thread of the journal's own
//! hands it to [`tracing_journald::Layer`]. A journald that stands still blocks only that thread:
//! entries that don't fit into the queue are counted and dropped.

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

use super::lines::Fields;
use crate::telemetry::metrics;

/// Entries that may wait for journald, each at most some [`MAX_VALUE`](super::MAX_VALUE)
/// characters for each of its fields.
const QUEUE: usize = 4096;
/// How long [`Journal::flush`] waits for journald.
const FLUSH: Duration = Duration::from_secs(1);

/// What the journal's thread is asked to do.
enum Request {
    Write(Entry),
    /// To answer once everything before this is written.
    Flush(SyncSender<()>),
}

/// An event with its values.
pub(super) struct Entry {
    event: &'static Metadata<'static>,
    /// In the order in which they are written, each harmless.
    fields: Vec<(&'static str, String)>,
}

impl Entry {
    /// An event as the journal has it: each field by itself, and as the message the line that
    /// other formats have, without time and level.
    pub(super) fn new(event: &'static Metadata<'static>, fields: &Fields) -> Entry {
        let message = format!("{}{}", fields.sentence(event), fields.pairs());
        let fields = fields.shown().chain([("message", message)]).collect();
        Entry { event, fields }
    }
}

/// A way to the journal that never blocks.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    queue: SyncSender<Request>,
}

impl Journal {
    /// The journal of this machine.
    ///
    /// # Errors
    /// If nothing listens at `/run/systemd/journal/socket`, or no thread can be started.
    pub(super) fn connect() -> io::Result<Journal> {
        let layer = Layer::new()?
            .with_field_prefix(None)
            .with_syslog_identifier("ssh-chat".to_owned())
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        // Never the default subscriber of any thread: it has no filter, and would have every
        // disabled event of the process looked at again.
        Journal::to(tracing_subscriber::registry().with(layer))
    }

    /// A journal that writes by giving events to this subscriber.
    pub(super) fn to(subscriber: impl Subscriber + Send) -> io::Result<Journal> {
        let (queue, requests) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&requests, &subscriber))?;
        Ok(Journal { queue })
    }

    /// Hands over an entry, or counts it as lost.
    pub(super) fn put(&self, entry: Entry) {
        if self.queue.try_send(Request::Write(entry)).is_err() {
            metrics::line_missing("lost");
        }
    }

    /// Waits until everything handed over so far is written, for at most a second.
    pub(super) fn flush(&self) {
        let (done, answer) = sync_channel(1);
        // With a full queue journald stands still, and waiting for it is of no use.
        if self.queue.try_send(Request::Flush(done)).is_ok() {
            let _in_time = answer.recv_timeout(FLUSH);
        }
    }
}

/// Writes entries until every [`Journal`] of the queue is gone.
fn write(requests: &Receiver<Request>, subscriber: &impl Subscriber) {
    let mut kinds = Kinds::default();
    for request in requests {
        match request {
            Request::Write(Entry { event, fields }) => {
                let metadata = kinds.metadata(event, fields.iter().map(|(name, _)| *name));
                let values: Vec<_> = fields
                    .iter()
                    .map(|(_, value)| Some(value as &dyn Value))
                    .collect();
                let values = metadata.fields().value_set_all(&values);
                subscriber.event(&Event::new(metadata, &values));
            }
            Request::Flush(done) => {
                let _nobody_waits = done.send(());
            }
        }
    }
}

/// The metadata of entries. An entry has fields that its event's own metadata doesn't name: those of
/// the spans that the event was in, and a message where it had none.
#[derive(Default)]
struct Kinds(HashMap<(Identifier, Vec<&'static str>), &'static Metadata<'static>>);

impl Kinds {
    /// The metadata of an event that has these fields. Kept until the process ends, as all
    /// metadata is: there are as many as places in the code that log, times the few spans that
    /// each of them can be in.
    fn metadata(
        &mut self,
        event: &'static Metadata<'static>,
        names: impl Iterator<Item = &'static str>,
    ) -> &'static Metadata<'static> {
        let names: Vec<_> = names.collect();
        let kind = (event.callsite(), names);
        if let Some(known) = self.0.get(&kind) {
            return known;
        }
        let fields = FieldSet::new(kind.1.clone().leak(), Identifier(&FIELDS));
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
        self.0.insert(kind, metadata);
        metadata
    }
}

/// Where the fields of all entries are from: values are given to the fields of one callsite only.
static FIELDS: Fixed = Fixed;

struct Fixed;

impl Callsite for Fixed {
    fn set_interest(&self, _: Interest) {}

    /// Never asked for: this callsite isn't registered.
    fn metadata(&self) -> &Metadata<'_> {
        static METADATA: Metadata<'static> = Metadata::new(
            "journal",
            module_path!(),
            tracing::Level::TRACE,
            None,
            None,
            None,
            FieldSet::new(&[], Identifier(&FIELDS)),
            Kind::EVENT,
        );
        &METADATA
    }
}
