//! Bytes from a terminal to keys, a byte at a time: the result never depends on how the bytes
//! were cut into packets, and what is held is bounded.
//!
//! Understands what xterm, the VT220, rxvt, `PuTTY`, the Linux console and `modifyOtherKeys` send.
//! Answers that a terminal gives unasked (colours, positions, focus, mouse) are read to their
//! end and thrown away.

mod control;
mod paste;

#[cfg(test)]
mod tests;

use control::{Control, Step};
use paste::Paste;

/// What somebody pressed.
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
    /// Escape, known as such only once [`Decoder::flush`] is called or other keys follow.
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

/// The longest string sequence (OSC, DCS, …) that is thrown away as a whole, in bytes.
const STRING_BYTES: usize = 4096;

/// Reads keys out of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    /// The last byte was a CR that made an Enter: an LF right after it belongs to it.
    after_cr: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Inside a character of several bytes; `alt` if an ESC came before it.
    Character { alt: bool, read: Utf8 },
    /// After ESC; `twice` after ESC ESC, with which rxvt says Alt.
    Escape { twice: bool },
    /// After CSI.
    Control(Control),
    /// After SS3; the number of a modifier may come before the letter.
    Ss3 { alt: bool, modifier: u8 },
    /// After `CSI [`: one byte names a function key of the Linux console.
    LinuxFunction,
    /// So many bytes of a mouse report are still to come.
    Mouse { left: u8 },
    /// Inside OSC, DCS, SOS, PM or APC; `ending` after an ESC that may be the end of it.
    String { length: usize, ending: bool },
    /// Inside a bracketed paste.
    Paste(Paste),
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `bytes`, adding the keys they complete to `keys`.
    pub fn feed(&mut self, bytes: &[u8], keys: &mut Vec<Key>) {
        for &byte in bytes {
            let rest_of_enter = std::mem::take(&mut self.after_cr) && byte == b'\n';
            if rest_of_enter {
                continue;
            }
            // Nearly all that comes is plain text or part of a paste: neither is worth taking the
            // state out for, and putting it back.
            match &mut self.state {
                State::Ground if matches!(byte, b' '..=b'~') => {
                    keys.push(Key::Char(char::from(byte)));
                }
                State::Paste(paste) => {
                    if let Some(text) = paste.push(byte) {
                        keys.push(Key::Paste(text));
                        self.state = State::Ground;
                    }
                }
                _ => {
                    let state = std::mem::take(&mut self.state);
                    self.state = self.step(state, byte, keys);
                }
            }
        }
    }

    /// Whether a part of a sequence is held. If nothing follows within 50 ms or so, call
    /// [`Decoder::flush`], and again as long as this is so.
    pub fn is_waiting(&self) -> bool {
        !matches!(self.state, State::Ground)
    }

    /// Time is up: a lone ESC is the Escape key, other parts are dropped. A paste is only given up
    /// when nothing of it came between 40 calls, since its packets may be late and the rest of
    /// it would be taken for typing; what came of it is kept.
    pub fn flush(&mut self, keys: &mut Vec<Key>) {
        match &mut self.state {
            State::Paste(paste) => match paste.flush() {
                Some(text) => keys.push(Key::Paste(text)),
                None => return,
            },
            State::Escape { twice: false } => keys.push(Key::Escape),
            State::Escape { twice: true } => keys.extend([Key::Escape, Key::Escape]),
            _ => {}
        }
        self.state = State::Ground;
    }

    /// The state after `byte`. What is inside a paste doesn't come here.
    fn step(&mut self, state: State, byte: u8, keys: &mut Vec<Key>) -> State {
        match state {
            State::Escape { twice } => return self.escape(twice, byte, keys),
            State::Character { alt, mut read } => match read.push(byte) {
                Some(Ok(c)) => {
                    character(c, alt, keys);
                    return State::Ground;
                }
                Some(Err(Incomplete)) => return State::Character { alt, read },
                None => {}
            },
            State::Control(mut control) => match control.push(byte) {
                Step::More => return State::Control(control),
                Step::Done(key) => {
                    keys.extend(key);
                    return State::Ground;
                }
                Step::Paste => return State::Paste(Paste::default()),
                Step::Mouse => return State::Mouse { left: 3 },
                Step::LinuxFunction => return State::LinuxFunction,
                Step::Invalid => {}
            },
            State::Ss3 { alt, .. } if byte.is_ascii_digit() => {
                return State::Ss3 {
                    alt,
                    modifier: byte - b'0',
                };
            }
            State::Ss3 { alt, .. } if byte == b';' => return State::Ss3 { alt, modifier: 0 },
            State::Ss3 { alt, modifier } if matches!(byte, b'@'..=b'~') => {
                keys.extend(control::ss3(byte, modifier, alt));
                return State::Ground;
            }
            State::Mouse { left: left @ 2.. } if byte >= b' ' => {
                return State::Mouse { left: left - 1 };
            }
            State::Mouse { .. } | State::LinuxFunction if byte >= b' ' => return State::Ground,
            State::String { ending: true, .. } if byte == b'\\' => return State::Ground,
            State::String { ending: true, .. } => return self.escape(false, byte, keys),
            State::String { .. } if byte == 0x07 => return State::Ground,
            State::String { length, .. } if byte == ESC => {
                return State::String {
                    length,
                    ending: true,
                };
            }
            // What a terminal says in a string has no control characters. One that comes is a key,
            // so Enter (or Ctrl-C) always ends a string that a stray Alt-] began.
            State::String {
                length: length @ ..STRING_BYTES,
                ..
            } if byte >= b' ' => {
                return State::String {
                    length: length + 1,
                    ending: false,
                };
            }
            _ => {}
        }
        // Whatever was held is not a sequence: it is dropped, and the byte stands for itself.
        self.ground(byte, false, keys)
    }

    fn escape(&mut self, twice: bool, byte: u8, keys: &mut Vec<Key>) -> State {
        if twice && !matches!(byte, b'[' | b'O') {
            keys.push(Key::Escape);
        }
        match byte {
            ESC => State::Escape { twice: true },
            b'[' => State::Control(Control::new(twice)),
            b'O' => State::Ss3 {
                alt: twice,
                modifier: 0,
            },
            b'P' | b'X' | b']' | b'^' | b'_' => State::String {
                length: 0,
                ending: false,
            },
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                keys.push(Key::Alt('\n'));
                State::Ground
            }
            0x08 | 0x7f => {
                keys.push(Key::Alt('\x7f'));
                State::Ground
            }
            ..b' ' => {
                keys.push(Key::Escape);
                self.ground(byte, false, keys)
            }
            _ => self.ground(byte, true, keys),
        }
    }

    /// A byte that is in no sequence; `alt` if an ESC came before it.
    fn ground(&mut self, byte: u8, alt: bool, keys: &mut Vec<Key>) -> State {
        match byte {
            ESC => return State::Escape { twice: false },
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
                return State::Character {
                    alt,
                    read: Utf8::new(byte),
                };
            }
            // NUL, and bytes that begin no character of UTF-8.
            _ => {}
        }
        State::Ground
    }
}

fn character(c: char, alt: bool, keys: &mut Vec<Key>) {
    // C1 control characters, written as UTF-8.
    if c.is_control() {
        return;
    }
    keys.push(if alt { Key::Alt(c) } else { Key::Char(c) });
}

/// The bytes of one character, as far as they came.
#[derive(Debug)]
struct Utf8 {
    bytes: [u8; 4],
    length: usize,
}

/// More bytes must come.
struct Incomplete;

impl Utf8 {
    fn new(first: u8) -> Self {
        Self {
            bytes: [first, 0, 0, 0],
            length: 1,
        }
    }

    /// Takes one more byte; `None` if no character has these bytes.
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
