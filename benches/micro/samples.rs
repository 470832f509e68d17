//! Sample text: typical and hostile.

use std::sync::LazyLock;
use std::time::Instant;

use ssh_chat::chat::event::Author;
use ssh_chat::chat::ids::{AccountId, Name, NameError, Now, Time};
use ssh_chat::text::{MAX_BYTES, MAX_CHARS};

/// The time of all events.
pub const AT: Time = Time(1_795_356_120_000); // 2026-11-22T14:02:00Z

/// The same on both clocks.
pub static NOW: LazyLock<Now> = LazyLock::new(|| Now {
    wall: AT,
    mono: Instant::now(),
});

/// A typical line, 64 bytes.
pub const LINE: &str = "did anyone look at the build? it has been red since this morning";

/// The same with several scripts and symbols.
pub const MIXED: &str =
    "Grüße aus Köln 🎉 — кто сегодня дежурит? 明日の会議は三時です 👩‍💻 naïve café";

/// Size of a typical paste in bytes: a stack trace, a paragraph.
pub const PASTE: usize = 900;

/// One grapheme of eight code points, the most that the sanitizer keeps together.
pub const STACKED: &str = "e\u{301}\u{302}\u{303}\u{304}\u{306}\u{307}\u{308}";

/// `text` repeated with spaces in between, as often as fits into this many bytes.
pub fn repeated(text: &str, bytes: usize) -> String {
    let mut all = String::with_capacity(bytes);
    for c in text.chars().chain([' ']).cycle() {
        if all.len() + c.len_utf8() > bytes {
            break;
        }
        all.push(c);
    }
    all
}

/// A paste of one line.
pub fn paste() -> String {
    repeated(LINE, PASTE)
}

/// The longest message in ASCII.
pub fn longest() -> String {
    repeated(LINE, MAX_CHARS)
}

/// The longest message of graphemes that need table lookups, each of several code points.
pub fn stacked() -> String {
    STACKED.repeat(MAX_CHARS / STACKED.chars().count())
}

/// The longest message of bytes that must not reach a terminal.
pub fn hostile() -> String {
    let attack = "\x1b]0;title\x07\x1b[2J\x1b[31m\u{9b}5n\u{202e}gnp\u{200b}\0\x08\u{e0041}\u{300}";
    repeated(attack, MAX_BYTES)
}

/// This many bytes of noise, the same each time (xorshift64, Marsaglia 2003).
pub fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [byte, ..] = state.to_be_bytes();
        byte
    };
    (0..length).map(|_| next()).collect()
}

/// A user, with a number for a name.
pub fn author(number: u32) -> Result<Author, NameError> {
    Ok(Author {
        account: AccountId(number.into()),
        name: Name::new(&format!("person-{number}"))?,
    })
}
