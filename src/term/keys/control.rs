//! Control sequences (ECMA-48 §5.4): what function and arrow keys send, and much that is no key.

use super::Key;

/// The longest control sequence, in bytes; what is longer is none.
const SEQUENCE_BYTES: u8 = 64;

/// Modifiers as xterm numbers them, less one.
const SHIFT: u8 = 1;
const ALT: u8 = 2;
const CTRL: u8 = 4;
const META: u8 = 8;

/// The part of a control sequence after CSI that came so far.
#[derive(Debug)]
pub(super) struct Control {
    alt: bool,
    length: u8,
    /// The first three parameters, and which one is being read.
    parameters: [u16; 3],
    at: usize,
    /// Inside a sub-parameter (after a colon), of which no key here has one.
    sub: bool,
    /// There was something that no key sends: `? > = <` or an intermediate byte.
    foreign: bool,
}

/// What a byte did to a control sequence.
#[derive(Debug)]
pub(super) enum Step {
    /// It isn't complete.
    More,
    /// It is complete, and a key or to be thrown away.
    Done(Option<Key>),
    /// A paste begins.
    Paste,
    /// Three bytes of a mouse report follow.
    Mouse,
    /// One byte of a function key of the Linux console follows.
    LinuxFunction,
    /// It is no control sequence; the byte doesn't belong to it.
    Invalid,
}

impl Control {
    /// After CSI; `alt` if one more ESC came before it.
    pub(super) fn new(alt: bool) -> Self {
        Self {
            alt,
            length: 0,
            parameters: [0; 3],
            at: 0,
            sub: false,
            foreign: false,
        }
    }

    /// Takes one more byte.
    pub(super) fn push(&mut self, byte: u8) -> Step {
        self.length += 1;
        match byte {
            _ if self.length > SEQUENCE_BYTES => return Step::Invalid,
            b'[' if self.length == 1 => return Step::LinuxFunction,
            b'0'..=b'9' if self.sub => {}
            b'0'..=b'9' => {
                if let Some(number) = self.parameters.get_mut(self.at) {
                    *number = number
                        .saturating_mul(10)
                        .saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' => (self.at, self.sub) = (self.at + 1, false),
            b':' => self.sub = true,
            // rxvt ends Shift with a function key so; a report has more parameters before it.
            b'$' if !self.foreign && self.at == 0 => return Step::Done(self.function(SHIFT)),
            b' '..=b'/' | b'<'..=b'?' => self.foreign = true,
            b'@'..=b'~' if self.foreign => return Step::Done(None),
            b'@'..=b'~' => return self.last(byte),
            _ => return Step::Invalid,
        }
        Step::More
    }

    /// The final byte of a sequence without anything foreign in it.
    fn last(&self, byte: u8) -> Step {
        let [first, second, third] = self.parameters;
        let alt = if self.alt { ALT } else { 0 };
        let modifiers = modifiers(second) | alt;
        match byte {
            b'M' if self.length == 1 => Step::Mouse,
            b'~' if first == 200 => Step::Paste,
            // xterm's modifyOtherKeys, in both its forms.
            b'~' if first == 27 => Step::Done(modified(third, modifiers)),
            b'u' => Step::Done(modified(first, modifiers)),
            b'~' => Step::Done(self.function(modifiers)),
            // rxvt: Ctrl, and Ctrl-Shift.
            b'^' | b'@' => Step::Done(self.function(CTRL | alt)),
            // rxvt: Shift with an arrow.
            b'a'..=b'd' => Step::Done(letter(byte.to_ascii_uppercase(), alt)),
            _ => Step::Done(letter(byte, modifiers)),
        }
    }

    /// The keys that the VT220 numbers.
    fn function(&self, modifiers: u8) -> Option<Key> {
        let [number, ..] = self.parameters;
        match number {
            1 | 7 => Some(Key::Home),
            4 | 8 => Some(Key::End),
            3 if modifiers & (ALT | CTRL | META) != 0 => Some(Key::Alt('d')),
            3 => Some(Key::Delete),
            5 => Some(Key::PageUp),
            6 => Some(Key::PageDown),
            _ => None,
        }
    }
}

/// The key of an SS3 sequence.
pub(super) fn ss3(byte: u8, modifier: u8, alt: bool) -> Option<Key> {
    let alt = if alt { ALT } else { 0 };
    match byte {
        b'M' => Some(Key::Enter),
        // rxvt: Ctrl with an arrow.
        b'a'..=b'd' => letter(byte.to_ascii_uppercase(), CTRL),
        // PuTTY, set to be like rxvt.
        b'w' => Some(Key::End),
        _ => letter(byte, modifiers(modifier.into()) | alt),
    }
}

fn modifiers(parameter: u16) -> u8 {
    u8::try_from(parameter.saturating_sub(1)).unwrap_or(0)
}

/// The keys that end with a letter of their own.
fn letter(byte: u8, modifiers: u8) -> Option<Key> {
    let by_word = modifiers & (ALT | CTRL | META) != 0;
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' if by_word => Some(Key::WordRight),
        b'C' => Some(Key::Right),
        b'D' if by_word => Some(Key::WordLeft),
        b'D' => Some(Key::Left),
        b'H' => Some(Key::Home),
        b'F' => Some(Key::End),
        b'Z' => Some(Key::BackTab),
        _ => None,
    }
}

/// The key of a character that is sent by number, with its modifiers.
fn modified(code: u16, modifiers: u8) -> Option<Key> {
    let (alt, ctrl) = (modifiers & (ALT | META) != 0, modifiers & CTRL != 0);
    let c = char::from_u32(code.into())?;
    match c {
        '\r' if modifiers == 0 => Some(Key::Enter),
        // Shift-Enter and its like: people mean a new line.
        '\r' => Some(Key::Alt('\n')),
        '\t' if modifiers & SHIFT != 0 => Some(Key::BackTab),
        '\t' => Some(Key::Tab),
        '\x1b' => Some(Key::Escape),
        '\x08' | '\x7f' if alt || ctrl => Some(Key::Alt('\x7f')),
        '\x08' | '\x7f' => Some(Key::Backspace),
        // Kitty numbers keys without a character in the private use area.
        '\u{e000}'..='\u{f8ff}' => None,
        c if c.is_control() => None,
        'a'..='z' | 'A'..='Z' | '\\'..='_' if ctrl => Some(Key::Ctrl(c.to_ascii_lowercase())),
        _ if ctrl => None,
        c if alt => Some(Key::Alt(c)),
        c => Some(Key::Char(c)),
    }
}
