//! Decodes the bytes of a terminal into keys. The result doesn't depend on how the bytes are cut
//! into packets, and memory is bounded.
//!
//! Understands xterm, the VT220, rxvt, `PuTTY`, the Linux console and `modifyOtherKeys`. Reports
//! that aren't keys (colours, positions, focus, mouse) are discarded.

mod csi;

#[cfg(test)]
mod tests;

use csi::{ControlSequence, CsiStep};

/// A key press, or a paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A character, never a control character. Combining marks and joiners come one by one.
    Char(char),
    /// Enter: CR, LF or CR LF.
    Enter,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Backspace: DEL or BS (so also Ctrl-H).
    Backspace,
    /// Delete.
    Delete,
    /// Escape, recognized only once [`Decoder::flush`] is called or other keys follow.
    Escape,
    /// Left arrow.
    Left,
    /// Right arrow.
    Right,
    /// Up arrow.
    Up,
    /// Down arrow.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Ctrl or Alt with the left arrow.
    WordLeft,
    /// Ctrl or Alt with the right arrow.
    WordRight,
    /// Ctrl with `a` to `z`, or with one of `\ ] ^ _`.
    Ctrl(char),
    /// Alt with a character. Alt-Enter is `Alt('\n')`, Alt-Backspace `Alt('\x7f')`.
    Alt(char),
    /// A bracketed paste, its line ends made `\n`, at most 64 KiB.
    Paste(String),
}

const ESC: u8 = 0x1b;

/// The longest string sequence (OSC, DCS, …) that is discarded as a whole, in bytes.
const STRING_BYTES: usize = 4096;

/// The most bytes kept of a paste; the rest is discarded.
const PASTE_BYTES: usize = 64 * 1024;

/// The end of a paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The number of calls of [`Paste::flush`] without input after which a paste ends.
const MAX_IDLE_FLUSHES: u8 = 40;

/// A decoder of terminal input.
///
/// Call [`Decoder::feed`] with bytes as they arrive. While [`Decoder::is_waiting`], call
/// [`Decoder::flush`] whenever nothing has arrived for about 50 ms. Both add keys to a vector.
#[derive(Debug, Default)]
pub struct Decoder {
    state: DecoderState,
    /// Whether the last byte was a CR, so that an LF belongs to the same Enter.
    after_cr: bool,
}

#[derive(Debug, Default)]
enum DecoderState {
    #[default]
    Ground,
    /// Inside a character of several bytes; `alt` if an ESC came before it.
    Character { alt: bool, partial: PartialChar },
    /// After ESC; `twice` after ESC ESC, which is Alt in rxvt.
    Escape { twice: bool },
    /// After CSI.
    Control(ControlSequence),
    /// After SS3; the number of a modifier may precede the letter.
    Ss3 { alt: bool, modifier: u8 },
    /// After `CSI [`: one byte names a function key of the Linux console.
    LinuxFunction,
    /// Inside a mouse report, with `left` bytes to come.
    Mouse { left: u8 },
    /// Inside OSC, DCS, SOS, PM or APC; `ending` after an ESC that may be the end of it.
    String { length: usize, ending: bool },
    /// Inside a bracketed paste.
    Paste(Paste),
}

impl Decoder {
    /// A decoder without input.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes `bytes`, adding the keys they complete to `keys`.
    pub fn feed(&mut self, bytes: &[u8], keys: &mut Vec<Key>) {
        for &byte in bytes {
            let rest_of_enter = std::mem::take(&mut self.after_cr) && byte == b'\n';
            if rest_of_enter {
                continue;
            }
            // Most input is plain text or part of a paste, which is faster without taking the state
            // out and putting it back.
            match &mut self.state {
                DecoderState::Ground if matches!(byte, b' '..=b'~') => {
                    keys.push(Key::Char(char::from(byte)));
                }
                DecoderState::Paste(paste) => {
                    if let Some(text) = paste.push(byte) {
                        keys.push(Key::Paste(text));
                        self.state = DecoderState::Ground;
                    }
                }
                _ => {
                    let state = std::mem::take(&mut self.state);
                    self.state = self.step(state, byte, keys);
                }
            }
        }
    }

    /// Whether part of a sequence waits for its rest.
    pub fn is_waiting(&self) -> bool {
        !matches!(self.state, DecoderState::Ground)
    }

    /// Gives up waiting: a lone ESC is the Escape key, other partial sequences are dropped. A paste
    /// ends, with the text so far, only after 40 calls without input: its packets may be late, and
    /// the rest would be taken for typing.
    pub fn flush(&mut self, keys: &mut Vec<Key>) {
        match &mut self.state {
            DecoderState::Paste(paste) => match paste.flush() {
                Some(text) => keys.push(Key::Paste(text)),
                None => return,
            },
            DecoderState::Escape { twice: false } => keys.push(Key::Escape),
            DecoderState::Escape { twice: true } => keys.extend([Key::Escape, Key::Escape]),
            _ => {}
        }
        self.state = DecoderState::Ground;
    }

    /// The state after `byte`, outside of a paste.
    fn step(&mut self, state: DecoderState, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
        match state {
            DecoderState::Escape { twice } => return self.escape(twice, byte, keys),
            DecoderState::Character { alt, mut partial } => match partial.push(byte) {
                Some(Ok(c)) => {
                    character(c, alt, keys);
                    return DecoderState::Ground;
                }
                Some(Err(Incomplete)) => return DecoderState::Character { alt, partial },
                None => {}
            },
            DecoderState::Control(mut control) => match control.push(byte) {
                CsiStep::More => return DecoderState::Control(control),
                CsiStep::Done(key) => {
                    keys.extend(key);
                    return DecoderState::Ground;
                }
                CsiStep::Paste => return DecoderState::Paste(Paste::default()),
                CsiStep::Mouse => return DecoderState::Mouse { left: 3 },
                CsiStep::LinuxFunction => return DecoderState::LinuxFunction,
                CsiStep::Invalid => {}
            },
            DecoderState::Ss3 { alt, .. } if byte.is_ascii_digit() => {
                return DecoderState::Ss3 {
                    alt,
                    modifier: byte - b'0',
                };
            }
            DecoderState::Ss3 { alt, .. } if byte == b';' => {
                return DecoderState::Ss3 { alt, modifier: 0 };
            }
            DecoderState::Ss3 { alt, modifier } if matches!(byte, b'@'..=b'~') => {
                keys.extend(csi::ss3(byte, modifier, alt));
                return DecoderState::Ground;
            }
            DecoderState::Mouse { left: left @ 2.. } if byte >= b' ' => {
                return DecoderState::Mouse { left: left - 1 };
            }
            DecoderState::Mouse { .. } | DecoderState::LinuxFunction if byte >= b' ' => {
                return DecoderState::Ground;
            }
            DecoderState::String { ending: true, .. } if byte == b'\\' => {
                return DecoderState::Ground;
            }
            DecoderState::String { ending: true, .. } => return self.escape(false, byte, keys),
            DecoderState::String { .. } if byte == 0x07 => return DecoderState::Ground,
            DecoderState::String { length, .. } if byte == ESC => {
                return DecoderState::String {
                    length,
                    ending: true,
                };
            }
            // Strings have no control characters. One that comes is a key, so Enter or Ctrl-C ends
            // a string that a stray Alt-] began.
            DecoderState::String {
                length: length @ ..STRING_BYTES,
                ..
            } if byte >= b' ' => {
                return DecoderState::String {
                    length: length + 1,
                    ending: false,
                };
            }
            _ => {}
        }
        // The bytes so far are no sequence: they are dropped, and this byte stands for itself.
        self.ground(byte, false, keys)
    }

    fn escape(&mut self, twice: bool, byte: u8, keys: &mut Vec<Key>) -> DecoderState {
        if twice && !matches!(byte, b'[' | b'O') {
            keys.push(Key::Escape);
        }
        match byte {
            ESC => DecoderState::Escape { twice: true },
            b'[' => DecoderState::Control(ControlSequence::new(twice)),
            b'O' => DecoderState::Ss3 {
                alt: twice,
                modifier: 0,
            },
            b'P' | b'X' | b']' | b'^' | b'_' => DecoderState::String {
                length: 0,
                ending: false,
            },
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                keys.push(Key::Alt('\n'));
                DecoderState::Ground
            }
            0x08 | 0x7f => {
                keys.push(Key::Alt('\x7f'));
                DecoderState::Ground
            }
            ..b' ' => {
                keys.push(Key::Escape);
                self.ground(byte, false, keys)
            }
            _ => self.ground(byte, true, keys),
        }
    }

    /// Decodes a byte outside of a sequence; `alt` if an ESC came before it.
    fn ground(&mut self, byte: u8, alt: bool, keys: &mut Vec<Key>) -> DecoderState {
        match byte {
            ESC => return DecoderState::Escape { twice: false },
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                keys.push(Key::Enter);
            }
            b'\t' => keys.push(Key::Tab),
            0x08 | 0x7f => keys.push(Key::Backspace),
            0x01..=0x1a => keys.push(Key::Ctrl(char::from(byte + b'a' - 1))),
            0x1c..=0x1f => keys.push(Key::Ctrl(char::from(byte + b'@'))),
            b' '..=b'~' => character(char::from(byte), alt, keys),
            0xc2..=0xf4 => {
                return DecoderState::Character {
                    alt,
                    partial: PartialChar::new(byte),
                };
            }
            // NUL, and bytes that can't begin a character.
            _ => {}
        }
        DecoderState::Ground
    }
}

fn character(c: char, alt: bool, keys: &mut Vec<Key>) {
    // C1 control characters, encoded as UTF-8.
    if c.is_control() {
        return;
    }
    keys.push(if alt { Key::Alt(c) } else { Key::Char(c) });
}

/// The first bytes of a UTF-8 character.
#[derive(Debug)]
struct PartialChar {
    bytes: [u8; 4],
    length: usize,
}

/// More bytes are needed.
struct Incomplete;

impl PartialChar {
    fn new(first: u8) -> Self {
        Self {
            bytes: [first, 0, 0, 0],
            length: 1,
        }
    }

    /// Adds a byte; `None` if the bytes are no character.
    fn push(&mut self, byte: u8) -> Option<Result<char, Incomplete>> {
        *self.bytes.get_mut(self.length)? = byte;
        self.length += 1;
        match std::str::from_utf8(self.bytes.get(..self.length)?) {
            Ok(s) => s.chars().next().map(Ok),
            Err(error) if error.error_len().is_none() => Some(Err(Incomplete)),
            Err(_) => None,
        }
    }
}

/// An unfinished paste.
#[derive(Debug, Default)]
struct Paste {
    bytes: Vec<u8>,
    /// The number of bytes of [`PASTE_END`] matched so far.
    matched: usize,
    idle_flushes: u8,
}

impl Paste {
    /// Adds a byte. Returns the whole text at the end.
    fn push(&mut self, byte: u8) -> Option<String> {
        self.idle_flushes = 0;
        if PASTE_END.get(self.matched) == Some(&byte) {
            self.matched += 1;
            return (self.matched == PASTE_END.len()).then(|| self.text());
        }
        // The bytes matched so far were pasted. Only ESC can begin another match.
        let matched = PASTE_END.get(..self.matched).unwrap_or_default();
        let room = PASTE_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend(matched.iter().take(room));
        self.matched = usize::from(PASTE_END.first() == Some(&byte));
        if self.matched == 0 && self.bytes.len() < PASTE_BYTES {
            self.bytes.push(byte);
        }
        None
    }

    /// Notes that nothing has arrived. Returns the text so far once the paste ends.
    fn flush(&mut self) -> Option<String> {
        self.idle_flushes += 1;
        (self.idle_flushes >= MAX_IDLE_FLUSHES).then(|| self.text())
    }

    /// The text without invalid UTF-8, with `\n` line ends.
    fn text(&mut self) -> String {
        let bytes = std::mem::take(&mut self.bytes);
        let text: String = bytes.utf8_chunks().map(|chunk| chunk.valid()).collect();
        text.replace("\r\n", "\n").replace('\r', "\n")
    }
}
