//! The layer that formats events as text or JSON lines, or as journal entries.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::MAX_VALUE;
use super::journal::{Journal, JournalEntry};

/// Writes one whole line.
pub(super) type LineWriter = Box<dyn Fn(&str) + Send + Sync>;

/// The destination and format of events.
pub(super) enum Sink {
    /// Readable lines.
    Text { colour: bool, write: LineWriter },
    /// One JSON object per line.
    Json(LineWriter),
    /// Journal entries.
    Journal(Journal),
}

/// Formats events and passes them to a sink.
pub(super) struct FormatLayer {
    pub sink: Sink,
    pub now: fn() -> SystemTime,
}

impl FormatLayer {
    pub(super) fn new(sink: Sink) -> FormatLayer {
        let now = SystemTime::now;
        FormatLayer { sink, now }
    }

    fn time(&self, precision: SecondsFormat) -> String {
        DateTime::<Utc>::from((self.now)()).to_rfc3339_opts(precision, true)
    }

    /// Returns time, level, event name, message and fields.
    fn text(&self, event: &Metadata<'_>, fields: &EventFields, colour: bool) -> String {
        let level = *event.level();
        let (dim, colour, reset) = if colour {
            (DIM, colour_of(level), RESET)
        } else {
            ("", "", "")
        };
        let time = self.time(SecondsFormat::Secs);
        let (message, pairs) = (fields.message(event), fields.pairs());
        format!("{dim}{time}{reset} {colour}{level:<5}{reset} {message}{dim}{pairs}{reset}\n")
    }

    /// Returns an object with all fields at the top level.
    fn json(&self, event: &Metadata<'_>, fields: &EventFields) -> String {
        let mut line = format!(
            r#"{{"timestamp":"{}","level":"{}""#,
            self.time(SecondsFormat::Micros),
            event.level()
        );
        let target = ("target", Value::from(event.target()));
        for (name, value) in fields.0.iter().chain([&target]) {
            let _to_a_string = write!(line, ",{}:{value}", Value::from(*name));
        }
        line.push_str("}\n");
        line
    }
}

impl<S> Layer<S> for FormatLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = EventFields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<EventFields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<EventFields>() {
                fields.add(outer);
            }
        }
        let event = event.metadata();
        match &self.sink {
            Sink::Text { colour, write } => write(&self.text(event, &fields, *colour)),
            Sink::Json(write) => write(&self.json(event, &fields)),
            Sink::Journal(journal) => {
                let message = format!("{}{}", fields.message(event), fields.pairs());
                let fields = fields.sanitized().chain([("message", message)]).collect();
                journal.put(JournalEntry { event, fields });
            }
        }
    }
}

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// The fields of an event or a span, in order, without duplicates. Values are bounded, but not
/// sanitized.
#[derive(Default)]
struct EventFields(Vec<(&'static str, Value)>);

impl EventFields {
    fn get(&self, name: &str) -> Option<&Value> {
        let mut all = self.0.iter();
        all.find_map(|(known, value)| (*known == name).then_some(value))
    }

    /// Adds or replaces a field.
    fn set(&mut self, field: &Field, value: Value) {
        let mut all = self.0.iter_mut();
        match all.find(|(known, _)| *known == field.name()) {
            Some((_, known)) => *known = value,
            None => self.0.push((field.name(), value)),
        }
    }

    /// Adds the fields that are missing.
    fn add(&mut self, others: &EventFields) {
        for (name, value) in &others.0 {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    /// Returns all fields but `message`, sanitized.
    fn sanitized(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = self.0.iter().filter(|(name, _)| *name != "message");
        all.map(|(name, value)| (*name, sanitize(value)))
    }

    /// Returns the event name, and the message if there is one, sanitized: `login: alice logged
    /// in`.
    fn message(&self, event: &Metadata<'_>) -> String {
        // Events of libraries have no name, but a target.
        let name = self.get("event").map(sanitize);
        let name = name.as_deref().unwrap_or(event.target());
        match self.get("message").map(sanitize) {
            Some(message) => format!("{name}: {message}"),
            None => name.to_owned(),
        }
    }

    /// Returns the other fields, sanitized, as ` key=value`, quoted if necessary.
    fn pairs(&self) -> String {
        let mut pairs = String::new();
        for (name, value) in self.sanitized().filter(|(name, _)| *name != "event") {
            let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
            let _to_a_string = if bare {
                write!(pairs, " {name}={value}")
            } else {
                write!(pairs, " {name}=\"{}\"", value.replace('"', "\\\""))
            };
        }
        pairs
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut bounded = BoundedString {
            text: String::new(),
            left: MAX_VALUE,
        };
        // Fails only at the bound.
        let _ = write!(bounded, "{value:?}");
        self.set(field, Value::String(bounded.text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without the quotes and escapes of `Debug`.
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

/// A string that stops at a number of characters, so that a huge value isn't even formatted.
struct BoundedString {
    text: String,
    left: usize,
}

impl fmt::Write for BoundedString {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.left == 0 {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.left -= 1;
            self.text.push(c);
        }
        Ok(())
    }
}

/// Formats a value on one line without control characters.
fn sanitize(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // `escape_debug` would escape them.
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
