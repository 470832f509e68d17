//! What a client sees: blocks of text, day dividers, the prompt and the bell, on a terminal, on a
//! terminal without escape sequences (`TERM=dumb`, `NO_COLOR`, screen readers), or in a pipe. Pure.

pub mod block;
mod paint;
mod plain;

use std::time::Duration;

use arrayvec::ArrayString;
use chrono::NaiveDate;

use self::block::{Block, event_text, mentions_reader, with_message_block};
use self::plain::Echo;
use super::theme::Theme;
use super::zone::{Zone, day_name};
use crate::chat::event::{Author, Event, Message};
use crate::chat::ids::{Now, Time};
use crate::chat::preferences::Timestamps;
use crate::hub::event_cache::{CacheKey, EventCache};
use crate::rate_limit::{Quota, RateLimiter};
use crate::term::screen::{Prompt, Screen, Size};
use crate::text;

/// The characters that depend on what the terminal can show.
#[derive(Debug)]
pub struct Glyphs {
    /// Whether they are more than ASCII.
    pub utf8: bool,
    /// Ends the prompt.
    pub prompt: &'static str,
    /// Ends it while a slow request is in flight.
    pub busy: &'static str,
    /// Draws a divider.
    pub rule: &'static str,
    /// Between the author and the recipient of a direct message.
    pub arrow: &'static str,
    /// In front of a message that mentions the reader.
    pub mention: &'static str,
    /// In front of the further lines of a message.
    pub bar: &'static str,
    /// Separates facts on one line.
    pub dot: &'static str,
    /// Marks an omission.
    pub dots: &'static str,
}

/// For terminals that show UTF-8.
pub const UNICODE: Glyphs = Glyphs {
    utf8: true,
    prompt: " ▸ ",
    busy: " … ▸ ",
    rule: "─",
    arrow: "→",
    mention: "▌",
    bar: "│ ",
    dot: "·",
    dots: "…",
};

/// For all other clients.
pub const ASCII: Glyphs = Glyphs {
    utf8: false,
    prompt: " > ",
    busy: " ... > ",
    rule: "-",
    arrow: "->",
    mention: "!",
    bar: "| ",
    dot: "-",
    dots: "...",
};

/// The initial capacity for output in bytes: enough for most messages with the prompt below.
const OUTPUT_CAPACITY: usize = 256;
/// How often the bell rings.
const BELL: Quota = Quota::every(Duration::from_secs(3), 1);

/// Everything besides a message that decides how a terminal shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RenderKey {
    cols: u16,
    theme: u8,
    utf8: bool,
    /// The time in front of it, padded with zeros.
    time: [u8; 8],
}

impl RenderKey {
    /// `None` if `time` is longer than 8 bytes.
    fn new(cols: u16, theme: &Theme, utf8: bool, time: &str) -> Option<RenderKey> {
        let mut padded = [0; 8];
        padded
            .get_mut(..time.len())?
            .copy_from_slice(time.as_bytes());
        Some(RenderKey {
            cols,
            theme: theme.id,
            utf8,
            time: padded,
        })
    }
}

/// Packs each field into bits of its own, so that different keys never collide.
impl From<RenderKey> for CacheKey {
    fn from(key: RenderKey) -> CacheKey {
        CacheKey(
            u128::from(u64::from_be_bytes(key.time)) << 64
                | u128::from(key.utf8) << 24
                | u128::from(key.theme) << 16
                | u128::from(key.cols),
        )
    }
}

/// Renders blocks and the prompt into a buffer of bytes.
///
/// Call the `show` methods and [`Display::touch`] as things happen. Before sending, call
/// [`Display::prompt`] if [`Display::wants_prompt`], then [`Display::take`] the bytes. At the end,
/// call [`Display::finish`] and take the rest.
pub struct Display {
    client: Client,
    out: Vec<u8>,
    prompt: PromptState,
    zone: Zone,
    /// The day of the last message shown; `None` to show the day before the next one.
    day: Option<NaiveDate>,
    bell: RateLimiter,
}

/// The prompt on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PromptState {
    /// It's there, and up to date.
    Drawn,
    /// It was erased to print something, and hasn't changed.
    Erased,
    /// It may have changed.
    Stale,
}

enum Client {
    /// Prompt at the bottom, colours, columns.
    Terminal {
        screen: Screen,
        theme: &'static Theme,
        glyphs: &'static Glyphs,
    },
    /// A terminal without escape sequences: what is typed is echoed.
    Dumb(Echo),
    /// A pipe: one line for each message.
    Pipe,
}

impl Display {
    fn new(client: Client, out: Vec<u8>, prompt: PromptState) -> Display {
        Display {
            client,
            out,
            prompt,
            zone: Zone::new(None, Timestamps::default()),
            day: None,
            bell: RateLimiter::default(),
        }
    }

    /// For a terminal that understands the usual escape sequences.
    pub fn terminal(size: Size, theme: &'static Theme, utf8: bool) -> Display {
        let screen = Screen::new(size);
        let mut out = Vec::new();
        screen.start(&mut out);
        let client = Client::Terminal {
            screen,
            theme,
            glyphs: if utf8 { &UNICODE } else { &ASCII },
        };
        Display::new(client, out, PromptState::Stale)
    }

    /// For a terminal that gets no escape sequences.
    pub fn dumb(size: Size) -> Display {
        let echo = Echo::new(size.cols);
        Display::new(Client::Dumb(echo), Vec::new(), PromptState::Stale)
    }

    /// For a pipe.
    pub fn lines() -> Display {
        Display::new(Client::Pipe, Vec::new(), PromptState::Drawn)
    }

    /// Whether the client is a terminal.
    pub fn is_interactive(&self) -> bool {
        !matches!(self.client, Client::Pipe)
    }

    /// The number of columns; 0 in a pipe, where lists have one column.
    pub fn columns(&self) -> usize {
        match &self.client {
            Client::Terminal { screen, .. } => usize::from(screen.size().cols),
            Client::Dumb(echo) => echo.columns(),
            Client::Pipe => 0,
        }
    }

    /// The characters to use.
    pub fn glyphs(&self) -> &'static Glyphs {
        match &self.client {
            Client::Terminal { glyphs, .. } => glyphs,
            Client::Dumb(_) | Client::Pipe => &ASCII,
        }
    }

    /// The theme, `None` for clients without colours.
    pub fn theme(&self) -> Option<&'static Theme> {
        match &self.client {
            Client::Terminal { theme, .. } => Some(theme),
            Client::Dumb(_) | Client::Pipe => None,
        }
    }

    /// Changes the theme, from the next block on.
    pub fn set_theme(&mut self, new: &'static Theme) {
        if let Client::Terminal { theme, .. } = &mut self.client {
            *theme = new;
            self.prompt = PromptState::Stale;
        }
    }

    /// The reader's time zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Changes the time zone and the format of times, from the next block on.
    pub fn set_zone(&mut self, zone: Zone) {
        self.zone = zone;
    }

    /// Shows a block above the prompt.
    pub fn show(&mut self, block: &Block<'_>) {
        self.out.reserve(OUTPUT_CAPACITY);
        match &mut self.client {
            Client::Terminal {
                screen,
                theme,
                glyphs,
            } => {
                screen.erase(&mut self.out);
                let cols = usize::from(screen.size().cols);
                paint::block(&mut self.out, cols, theme, glyphs, block);
            }
            Client::Dumb(echo) => {
                echo.interrupt(&mut self.out);
                plain::block(&mut self.out, "\r\n", block);
            }
            Client::Pipe => return plain::block(&mut self.out, "\n", block),
        }
        self.erased();
    }

    /// Shows a block that looks the same on all terminals with equal [`RenderKey`]s, rendering it
    /// only if `cache` doesn't have it. `time` is the time in it.
    fn show_cached(&mut self, cache: &EventCache, time: &str, block: &Block<'_>) {
        let Client::Terminal {
            screen,
            theme,
            glyphs,
        } = &mut self.client
        else {
            return self.show(block);
        };
        let cols = screen.size().cols;
        let Some(key) = RenderKey::new(cols, theme, glyphs.utf8, time) else {
            return self.show(block);
        };
        self.out.reserve(OUTPUT_CAPACITY);
        screen.erase(&mut self.out);
        cache.append(key.into(), &mut self.out, |out| {
            paint::block(out, usize::from(cols), theme, glyphs, block);
        });
        self.erased();
    }

    /// Shows a sentence.
    pub fn note(&mut self, text: &str) {
        self.show(&Block::Note(text));
    }

    /// Shows an error, cleaned: it may repeat what was typed.
    pub fn error(&mut self, text: &str) {
        self.show(&Block::Error(&text::clean(text)));
    }

    /// Shows a row of a list.
    pub fn item(&mut self, key: &str, text: &str) {
        self.show(&Block::Item(key, text));
    }

    /// Shows a message, under a divider if its day isn't that of the last message.
    pub fn message(&mut self, message: &Message, reader: &Author) {
        let mention = mentions_reader(message, reader);
        self.message_from(message, reader, mention, None);
    }

    /// Like [`Display::message`], given whether it mentions the reader. A message without a mention
    /// looks the same to every reader, so that its rendering is shared through `cache`.
    fn message_from(
        &mut self,
        message: &Message,
        reader: &Author,
        mention: bool,
        cache: Option<&EventCache>,
    ) {
        let time = self.begin_day(message.at);
        let cache = cache.filter(|_| !mention);
        with_message_block(message, &reader.name, mention, &time, |block| match cache {
            Some(cache) => self.show_cached(cache, &time, &block),
            None => self.show(&block),
        });
    }

    /// Shows an event. `mention` is whether it mentions the reader; `cache` is shared by the
    /// readers of the event.
    pub fn event(
        &mut self,
        event: &Event,
        reader: &Author,
        mention: bool,
        cache: Option<&EventCache>,
    ) {
        let at = match event {
            Event::Message(message) => return self.message_from(message, reader, mention, cache),
            Event::Presence(presence) => presence.at,
            Event::Renamed { at, .. } | Event::Notice { at, .. } => *at,
        };
        if let Some(text) = event_text(event, &reader.name) {
            let time = self.begin_day(at);
            self.show(&Block::System {
                time: &time,
                text: &text,
            });
        }
    }

    /// Shows a divider if a message of that time begins another day. Returns its time of day.
    fn begin_day(&mut self, at: Time) -> ArrayString<8> {
        let (time, day) = self.zone.time_and_day(at);
        if self.day != Some(day) {
            let name = day_name(day, self.day.unwrap_or(day));
            self.day = Some(day);
            self.show(&Block::Rule(&name));
        }
        time
    }

    /// Shows the day before the next message.
    pub fn forget_day(&mut self) {
        self.day = None;
    }

    /// Marks the prompt as changed: it's drawn again before the bytes are sent.
    pub fn touch(&mut self) {
        if self.is_interactive() {
            self.prompt = PromptState::Stale;
        }
    }

    /// Whether the prompt has to be drawn with [`Display::prompt`]. If it only has to be put back,
    /// that is done here.
    pub fn wants_prompt(&mut self) -> bool {
        if let (PromptState::Erased, Client::Terminal { screen, .. }) =
            (self.prompt, &mut self.client)
            && screen.restore(&mut self.out)
        {
            self.prompt = PromptState::Drawn;
        }
        self.prompt != PromptState::Drawn
    }

    /// Draws the prompt.
    pub fn prompt(&mut self, prompt: &Prompt<'_>) {
        match &mut self.client {
            Client::Terminal { screen, .. } => screen.draw(prompt, &mut self.out),
            Client::Dumb(echo) => echo.draw(prompt, &mut self.out),
            Client::Pipe => {}
        }
        self.prompt = PromptState::Drawn;
    }

    /// Whether the screen shows this prompt.
    pub fn shows_prompt(&self, prompt: &Prompt<'_>) -> bool {
        match &self.client {
            Client::Terminal { screen, .. } => screen.shows(prompt),
            Client::Dumb(_) | Client::Pipe => true,
        }
    }

    fn erased(&mut self) {
        if self.prompt == PromptState::Drawn {
            self.prompt = PromptState::Erased;
        }
    }

    /// A line was entered: on a dumb terminal it stays where it is.
    pub fn line_entered(&mut self) {
        if let Client::Dumb(echo) = &mut self.client {
            echo.end_row(&mut self.out);
        }
        self.touch();
    }

    /// Changes the size of the terminal.
    pub fn resize(&mut self, size: Size) {
        match &mut self.client {
            Client::Terminal { screen, .. } => screen.resize(size),
            Client::Dumb(echo) => echo.resize(size.cols),
            Client::Pipe => {}
        }
        self.touch();
    }

    /// Clears the visible screen.
    pub fn clear(&mut self) {
        if let Client::Terminal { screen, .. } = &mut self.client {
            screen.clear(&mut self.out);
        }
        self.touch();
    }

    /// Rings the bell of a terminal.
    pub fn bell(&mut self) {
        if let Client::Terminal { .. } = self.client {
            self.out.push(0x07);
        }
    }

    /// Rings the bell for a message, at most every 3 seconds.
    pub fn alert(&mut self, now: Now) {
        if self.bell.take(BELL, now.mono).is_ok() {
            self.bell();
        }
    }

    /// Restores the terminal for the program that ran before.
    pub fn finish(&mut self) {
        match &mut self.client {
            Client::Terminal { screen, .. } => screen.finish(&mut self.out),
            Client::Dumb(echo) => echo.interrupt(&mut self.out),
            Client::Pipe => {}
        }
        self.prompt = PromptState::Drawn;
    }

    /// The number of bytes to send.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes to send.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::theme::THEMES;

    #[test]
    fn each_part_of_a_render_key_counts() {
        let [calm, mono] = ["calm", "mono"].map(|name| Theme::named(name).unwrap());
        let key = |cols, theme, utf8, time| -> CacheKey {
            RenderKey::new(cols, theme, utf8, time).unwrap().into()
        };
        let first = key(80, calm, true, "20:44");
        for other in [
            key(81, calm, true, "20:44"),
            key(80, mono, true, "20:44"),
            key(80, calm, false, "20:44"),
            key(80, calm, true, "20:44:01"),
        ] {
            let cache = EventCache::default();
            let mut out = Vec::new();
            cache.append(first, &mut out, |out| out.push(b'a'));
            cache.append(other, &mut out, |out| out.push(b'b'));
            assert_eq!(out, b"ab", "{other:?}");
        }
        for (index, theme) in THEMES.iter().enumerate() {
            assert_eq!(usize::from(theme.id), index, "{}", theme.name);
        }
    }
}
