//! Control sequences (ECMA-48 §5.4): function and arrow keys, and reports that are no key.

use super::Key;

/// The longest control sequence, in bytes.
const SEQUENCE_BYTES: u8 = 64;

/// Modifiers as numbered by xterm, minus one.
const SHIFT: u8 = 1;
const ALT: u8 = 2;
const CTRL: u8 = 4;
const META: u8 = 8;

/// An unfinished control sequence, after CSI.
#[derive(Debug)]
pub(super) struct ControlSequence {
    alt: bool,
    length: u8,
    /// The first three parameters, and the index of the one being read.
    parameters: [u16; 3],
    at: usize,
    /// Inside a sub-parameter (after a colon), which none of these keys has.
    sub: bool,
    /// Whether there was a byte that no key sends: `? > = <` or an intermediate byte.
    foreign: bool,
}

/// The effect of a byte on a control sequence.
#[derive(Debug)]
pub(super) enum CsiStep {
    /// The sequence is unfinished.
    More,
    /// It's complete: a key, or a report to discard.
    Done(Option<Key>),
    /// A paste begins.
    Paste,
    /// The three bytes of a mouse report follow.
    Mouse,
    /// The last byte of a function key of the Linux console follows.
    LinuxFunction,
    /// It's no control sequence, and the byte doesn't belong to it.
    Invalid,
}

impl ControlSequence {
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

    /// Adds a byte.
    pub(super) fn push(&mut self, byte: u8) -> CsiStep {
        self.length += 1;
        match byte {
            _ if self.length > SEQUENCE_BYTES => return CsiStep::Invalid,
            b'[' if self.length == 1 => return CsiStep::LinuxFunction,
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
            // Shift with a function key in rxvt; a report has more parameters.
            b'$' if !self.foreign && self.at == 0 => return CsiStep::Done(self.function(SHIFT)),
            b' '..=b'/' | b'<'..=b'?' => self.foreign = true,
            b'@'..=b'~' if self.foreign => return CsiStep::Done(None),
            b'@'..=b'~' => return self.finish(byte),
            _ => return CsiStep::Invalid,
        }
        CsiStep::More
    }

    /// Decodes the final byte of a sequence.
    fn finish(&self, byte: u8) -> CsiStep {
        let [first, second, third] = self.parameters;
        let alt = if self.alt { ALT } else { 0 };
        let modifiers = modifiers(second) | alt;
        match byte {
            b'M' if self.length == 1 => CsiStep::Mouse,
            b'~' if first == 200 => CsiStep::Paste,
            // Both forms of xterm's modifyOtherKeys.
            b'~' if first == 27 => CsiStep::Done(modified(third, modifiers)),
            b'u' => CsiStep::Done(modified(first, modifiers)),
            b'~' => CsiStep::Done(self.function(modifiers)),
            // rxvt: Ctrl, and Ctrl-Shift.
            b'^' | b'@' => CsiStep::Done(self.function(CTRL | alt)),
            // rxvt: Shift with an arrow.
            b'a'..=b'd' => CsiStep::Done(letter(byte.to_ascii_uppercase(), alt)),
            _ => CsiStep::Done(letter(byte, modifiers)),
        }
    }

    /// The keys numbered by the VT220.
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
        // PuTTY in rxvt mode.
        b'w' => Some(Key::End),
        _ => letter(byte, modifiers(modifier.into()) | alt),
    }
}

fn modifiers(parameter: u16) -> u8 {
    u8::try_from(parameter.saturating_sub(1)).unwrap_or(0)
}

/// The keys with a final letter of their own.
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

/// The key of a character sent by number, with its modifiers.
fn modified(code: u16, modifiers: u8) -> Option<Key> {
    let (alt, ctrl) = (modifiers & (ALT | META) != 0, modifiers & CTRL != 0);
    let c = char::from_u32(code.into())?;
    match c {
        '\r' if modifiers == 0 => Some(Key::Enter),
        // Shift-Enter and the like insert a line break.
        '\r' => Some(Key::Alt('\n')),
        '\t' if modifiers & SHIFT != 0 => Some(Key::BackTab),
        '\t' => Some(Key::Tab),
        '\x1b' => Some(Key::Escape),
        '\x08' | '\x7f' if alt || ctrl => Some(Key::Alt('\x7f')),
        '\x08' | '\x7f' => Some(Key::Backspace),
        // Kitty sends keys without a character as the private use area.
        '\u{e000}'..='\u{f8ff}' => None,
        c if c.is_control() => None,
        'a'..='z' | 'A'..='Z' | '\\'..='_' if ctrl => Some(Key::Ctrl(c.to_ascii_lowercase())),
        _ if ctrl => None,
        c if alt => Some(Key::Alt(c)),
        c => Some(Key::Char(c)),
    }
}
