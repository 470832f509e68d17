//! The layer that makes a line of each event, in one of three forms.

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
use super::journal::{Entry, Journal};

/// Takes one whole line.
pub(super) type Write = Box<dyn Fn(&str) + Send + Sync>;

/// Where events go, and in which form.
pub(super) enum Sink {
    /// As readable lines.
    Text { colour: bool, write: Write },
    /// As JSON objects, one a line.
    Json(Write),
    /// To the journal.
    Journal(Journal),
}

/// Makes lines and hands them over.
pub(super) struct Lines {
    pub sink: Sink,
    pub now: fn() -> SystemTime,
}

impl Lines {
    pub(super) fn new(sink: Sink) -> Lines {
        let now = SystemTime::now;
        Lines { sink, now }
    }

    fn time(&self, precision: SecondsFormat) -> String {
        DateTime::<Utc>::from((self.now)()).to_rfc3339_opts(precision, true)
    }

    /// Time, level, name, sentence, fields.
    fn text(&self, event: &Metadata<'_>, fields: &Fields, colour: bool) -> String {
        let level = *event.level();
        let (dim, colour, reset) = if colour {
            (DIM, colour_of(level), RESET)
        } else {
            ("", "", "")
        };
        let time = self.time(SecondsFormat::Secs);
        let (sentence, pairs) = (fields.sentence(event), fields.pairs());
        format!("{dim}{time}{reset} {colour}{level:<5}{reset} {sentence}{dim}{pairs}{reset}\n")
    }

    /// One object, all fields at the top.
    fn json(&self, event: &Metadata<'_>, fields: &Fields) -> String {
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

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add(outer);
            }
        }
        let event = event.metadata();
        match &self.sink {
            Sink::Text { colour, write } => write(&self.text(event, &fields, *colour)),
            Sink::Json(write) => write(&self.json(event, &fields)),
            Sink::Journal(journal) => journal.put(Entry::new(event, &fields)),
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

/// The fields of an event or a span, in order, each name once. Texts are bounded, not escaped.
#[derive(Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        let mut all = self.0.iter();
        all.find_map(|(known, value)| (*known == name).then_some(value))
    }

    /// Sets a field to a value, whatever it was.
    fn set(&mut self, field: &Field, value: Value) {
        let mut all = self.0.iter_mut();
        match all.find(|(known, _)| *known == field.name()) {
            Some((_, known)) => *known = value,
            None => self.0.push((field.name(), value)),
        }
    }

    /// Adds those of the others that are not there.
    fn add(&mut self, others: &Fields) {
        for (name, value) in &others.0 {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    /// All but the sentence, harmless.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = self.0.iter().filter(|(name, _)| *name != "message");
        all.map(|(name, value)| (*name, harmless(value)))
    }

    /// The name of the event and its sentence if it has one, harmless: `login: alice logged in`.
    pub(super) fn sentence(&self, event: &Metadata<'_>) -> String {
        // Lines of other people's code have no name, but say which code it is.
        let name = self.get("event").map(harmless);
        let name = name.as_deref().unwrap_or(event.target());
        match self.get("message").map(harmless) {
            Some(message) => format!("{name}: {message}"),
            None => name.to_owned(),
        }
    }

    /// The other fields, each harmless: ` key=value`, quoted where it must be.
    pub(super) fn pairs(&self) -> String {
        let mut pairs = String::new();
        for (name, value) in self.shown().filter(|(name, _)| *name != "event") {
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

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut bounded = Bounded {
            text: String::new(),
            left: MAX_VALUE,
        };
        // The only error is that of the bound.
        let _ = write!(bounded, "{value:?}");
        self.set(field, Value::String(bounded.text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Without the quotes and escapes that the debug form of a text has.
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

/// Refuses more than its bound, in characters, so that a huge value is not even built.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
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

/// A value as text that is on one line and acts on no terminal.
fn harmless(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Harmless, and `escape_debug` would escape them.
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
