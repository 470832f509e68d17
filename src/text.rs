//! Text from users, made safe to show on other people's terminals.
//!
//! A [`Text`] can only be built clean and bounded, so it can always be printed: nothing in it moves a
//! cursor, sets a title, touches a clipboard or reverses the writing direction.

mod cells;
mod clean;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use cells::{clip, graphemes, pad, width};
pub use clean::{clean, clean_line};

/// The longest message, in characters (code points).
pub const MAX_CHARS: usize = 2000;

/// The longest message, in bytes of UTF-8.
pub const MAX_BYTES: usize = 8 * 1024;

/// Why a text is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing visible is left after cleaning.
    #[error("the text has no visible characters")]
    Empty,
    /// Over a limit.
    #[error(
        "too long: {chars} characters ({bytes} bytes). A message has at most {MAX_CHARS} characters \
         ({MAX_BYTES} bytes), a topic or a reason fewer. Shorten it, or send it in parts"
    )]
    TooLong {
        /// How many characters it has, counted after cleaning.
        chars: usize,
        /// How many bytes it has, counted after cleaning.
        bytes: usize,
    },
}

/// Clean text of at most [`MAX_CHARS`] and [`MAX_BYTES`]. Cheap to clone. The default is empty.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// A message of one or more lines: cleaned by [`clean()`], without white space at line ends and
    /// without blank lines around it.
    pub fn message(raw: &str) -> Result<Text, TextError> {
        checked(&trim_block(&clean(raw)), MAX_CHARS)
    }

    /// A line of at most `max_chars` characters, cleaned by [`clean_line`].
    pub fn line(raw: &str, max_chars: usize) -> Result<Text, TextError> {
        checked(&clean_line(raw), max_chars.min(MAX_CHARS))
    }

    /// A message from a store, which an older release or another server may have accepted: cleaned
    /// again, and cut at the limits. May be empty.
    pub fn stored(raw: &str) -> Text {
        let block = trim_block(&clean(raw));
        // No text has more characters than bytes.
        if block.len() <= MAX_CHARS {
            return Text(block.into());
        }
        let mut kept = 0;
        let mut chars = 0;
        for (grapheme, _) in graphemes(&block) {
            chars += grapheme.chars().count();
            if chars > MAX_CHARS || kept + grapheme.len() > MAX_BYTES {
                break;
            }
            kept += grapheme.len();
        }
        Text(block.get(..kept).unwrap_or_default().trim_end().into())
    }

    /// A line from a store, cleaned by [`clean_line`]. May be empty.
    pub fn stored_line(raw: &str) -> Text {
        Text::stored(&clean_line(raw))
    }

    /// The first `max_chars` characters of untrusted bytes, as a line of printable ASCII, with `?`
    /// for everything else. For clients' version strings, and error messages in the log. May be
    /// empty.
    pub fn ascii(raw: &[u8], max_chars: usize) -> Text {
        let max_chars = max_chars.min(MAX_CHARS);
        // A character has at most four bytes: don't decode more than can be needed.
        let bytes = raw.get(..max_chars.saturating_mul(4)).unwrap_or(raw);
        let decoded = String::from_utf8_lossy(bytes);
        let visible = |c| if matches!(c, ' '..='~') { c } else { '?' };
        let line: String = decoded.chars().take(max_chars).map(visible).collect();
        Text(line.into())
    }

    /// The text. Lines are separated by `\n`, the only control character.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it's empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

fn checked(clean: &str, max_chars: usize) -> Result<Text, TextError> {
    let bytes = clean.len();
    let chars = clean.chars().count();
    if bytes == 0 {
        Err(TextError::Empty)
    } else if chars > max_chars || bytes > MAX_BYTES {
        Err(TextError::TooLong { chars, bytes })
    } else {
        Ok(Text(clean.into()))
    }
}

/// Trims white space at line ends, and blank lines around the block. The first line keeps its
/// indentation, which pasted code needs.
fn trim_block(clean: &str) -> String {
    let mut block = String::with_capacity(clean.len());
    for line in clean.split('\n').map(str::trim_end) {
        if !block.is_empty() {
            block.push('\n');
        } else if line.is_empty() {
            continue;
        }
        block.push_str(line);
    }
    block.truncate(block.trim_end().len());
    block
}
