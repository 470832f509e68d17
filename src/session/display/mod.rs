//! How entries and the prompt are drawn: on a terminal, on a terminal that can't do anything
//! (`TERM=dumb`, `NO_COLOR`, screen readers), or into a pipe.

mod paint;
mod plain;

use self::plain::Echo;
use super::entry::Entry;
use super::theme::Theme;
use crate::hub::event_cache::{CacheKey, EventCache};
use crate::term::screen::{Prompt, Screen, Size};

/// The signs that depend on what the reader's terminal can show.
#[derive(Debug)]
pub struct Glyphs {
    /// Whether they are more than ASCII.
    pub utf8: bool,
    /// Ends the prompt.
    pub prompt: &'static str,
    /// Ends it while something is under way that takes long.
    pub busy: &'static str,
    /// Draws a rule.
    pub rule: &'static str,
    /// From somebody to somebody.
    pub arrow: &'static str,
    /// Stands before a message that names the reader.
    pub mention: &'static str,
    /// Stands before the further lines of a pasted block.
    pub bar: &'static str,
    /// Separates facts of one line.
    pub dot: &'static str,
    /// Something is left out, or under way.
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

/// For all others.
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

/// How many bytes are asked for at a time: what a message and the prompt under it take, mostly.
const ROOM: usize = 256;

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

/// Collects the bytes to send.
pub struct Display {
    form: Form,
    out: Vec<u8>,
    prompt: Shown,
}

/// The prompt on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Is there, as it should be.
    Fresh,
    /// Was taken off to print something, and has not changed.
    Erased,
    /// May have changed.
    Stale,
}

enum Form {
    /// Sticky prompt, colours, columns.
    Terminal {
        screen: Screen,
        theme: &'static Theme,
        glyphs: &'static Glyphs,
    },
    /// A terminal without escape sequences: we echo what is typed.
    Dumb(Echo),
    /// No terminal: one line for each message.
    Lines,
}

impl Display {
    /// For a terminal that understands the usual escape sequences.
    pub fn terminal(size: Size, theme: &'static Theme, utf8: bool) -> Display {
        let screen = Screen::new(size);
        let mut out = Vec::new();
        screen.start(&mut out);
        Display {
            form: Form::Terminal {
                screen,
                theme,
                glyphs: if utf8 { &UNICODE } else { &ASCII },
            },
            out,
            prompt: Shown::Stale,
        }
    }

    /// For a terminal that gets no escape sequence at all.
    pub fn dumb(size: Size) -> Display {
        Display {
            form: Form::Dumb(Echo::new(size.cols)),
            out: Vec::new(),
            prompt: Shown::Stale,
        }
    }

    /// For a pipe.
    pub fn lines() -> Display {
        Display {
            form: Form::Lines,
            out: Vec::new(),
            prompt: Shown::Fresh,
        }
    }

    /// Whether there is a terminal at the other end.
    pub fn interactive(&self) -> bool {
        !matches!(self.form, Form::Lines)
    }

    /// How many columns there are; 0 in a pipe, where lists have one column.
    pub fn columns(&self) -> usize {
        match &self.form {
            Form::Terminal { screen, .. } => usize::from(screen.size().cols),
            Form::Dumb(echo) => echo.columns(),
            Form::Lines => 0,
        }
    }

    /// The signs to use.
    pub fn glyphs(&self) -> &'static Glyphs {
        match &self.form {
            Form::Terminal { glyphs, .. } => glyphs,
            Form::Dumb(_) | Form::Lines => &ASCII,
        }
    }

    /// The theme; the plain forms have none.
    pub fn theme(&self) -> Option<&'static Theme> {
        match &self.form {
            Form::Terminal { theme, .. } => Some(theme),
            Form::Dumb(_) | Form::Lines => None,
        }
    }

    /// Draws in other colours from now on.
    pub fn set_theme(&mut self, new: &'static Theme) {
        if let Form::Terminal { theme, .. } = &mut self.form {
            *theme = new;
            self.prompt = Shown::Stale;
        }
    }

    /// Shows an entry above the prompt.
    pub fn show(&mut self, entry: &Entry<'_>) {
        self.out.reserve(ROOM);
        match &mut self.form {
            Form::Terminal {
                screen,
                theme,
                glyphs,
            } => {
                screen.erase(&mut self.out);
                let cols = usize::from(screen.size().cols);
                paint::entry(&mut self.out, cols, theme, glyphs, entry);
            }
            Form::Dumb(echo) => {
                echo.interrupt(&mut self.out);
                plain::entry(&mut self.out, "\r\n", entry);
            }
            Form::Lines => return plain::entry(&mut self.out, "\n", entry),
        }
        self.erased();
    }

    /// Shows an entry that looks the same on all terminals with equal [`RenderKey`]s, rendering it
    /// only if `cache` doesn't have it. `time` is the time in it.
    pub fn show_cached(&mut self, cache: &EventCache, time: &str, entry: &Entry<'_>) {
        let Form::Terminal {
            screen,
            theme,
            glyphs,
        } = &mut self.form
        else {
            return self.show(entry);
        };
        let cols = screen.size().cols;
        let Some(key) = RenderKey::new(cols, theme, glyphs.utf8, time) else {
            return self.show(entry);
        };
        self.out.reserve(ROOM);
        screen.erase(&mut self.out);
        cache.append(key.into(), &mut self.out, |out| {
            paint::entry(out, usize::from(cols), theme, glyphs, entry);
        });
        self.erased();
    }

    /// The prompt may have changed: it has to be drawn again before the bytes are sent.
    pub fn touch(&mut self) {
        if self.interactive() {
            self.prompt = Shown::Stale;
        }
    }

    /// Whether the prompt has to be drawn with [`Display::prompt`]. If it only has to be put back,
    /// that is done here.
    pub fn wants_prompt(&mut self) -> bool {
        if let (Shown::Erased, Form::Terminal { screen, .. }) = (self.prompt, &mut self.form)
            && screen.restore(&mut self.out)
        {
            self.prompt = Shown::Fresh;
        }
        self.prompt != Shown::Fresh
    }

    /// Draws the prompt.
    pub fn prompt(&mut self, view: &Prompt<'_>) {
        match &mut self.form {
            Form::Terminal { screen, .. } => screen.draw(view, &mut self.out),
            Form::Dumb(echo) => echo.draw(view, &mut self.out),
            Form::Lines => {}
        }
        self.prompt = Shown::Fresh;
    }

    /// Whether this is what the prompt on the screen shows.
    pub fn shows(&self, view: &Prompt<'_>) -> bool {
        match &self.form {
            Form::Terminal { screen, .. } => screen.shows(view),
            Form::Dumb(_) | Form::Lines => true,
        }
    }

    /// Something was printed where the prompt was.
    fn erased(&mut self) {
        if self.prompt == Shown::Fresh {
            self.prompt = Shown::Erased;
        }
    }

    /// What was typed has been sent: on a dumb terminal it stays where it is, as a line.
    pub fn submitted(&mut self) {
        if let Form::Dumb(echo) = &mut self.form {
            echo.submitted(&mut self.out);
        }
        self.touch();
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: Size) {
        match &mut self.form {
            Form::Terminal { screen, .. } => screen.resize(size),
            Form::Dumb(echo) => echo.resize(size.cols),
            Form::Lines => {}
        }
        self.touch();
    }

    /// Clears the visible screen.
    pub fn clear(&mut self) {
        if let Form::Terminal { screen, .. } = &mut self.form {
            screen.clear(&mut self.out);
        }
        self.touch();
    }

    /// Rings the bell of a terminal.
    pub fn bell(&mut self) {
        if let Form::Terminal { .. } = self.form {
            self.out.push(0x07);
        }
    }

    /// Leaves the terminal as it was found.
    pub fn finish(&mut self) {
        match &mut self.form {
            Form::Terminal { screen, .. } => screen.finish(&mut self.out),
            Form::Dumb(echo) => echo.interrupt(&mut self.out),
            Form::Lines => {}
        }
        self.prompt = Shown::Fresh;
    }

    /// Bytes that wait to be sent.
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
