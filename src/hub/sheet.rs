//! What an event of a room looks like, laid out once for all whose windows are alike.
//!
//! In a full room laying out the text costs more than encrypting it. Which bytes that gives is
//! decided by the event and by a [`Look`]; so the first reader of each look leaves them here, and
//! the others copy them.

use std::sync::OnceLock;

/// For how many looks the bytes of one event are kept. Readers with another one lay it out for
/// themselves: what a room remembers stays small, however many windows there are.
const LOOKS: usize = 2;

/// All that decides, beside the event, what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The columns of the window.
    pub cols: u16,
    /// The name of the theme.
    pub theme: &'static str,
    /// Whether the terminal shows UTF-8.
    pub utf8: bool,
    /// The time that stands before it; zeros fill it up.
    pub time: [u8; 8],
}

/// The bytes of one event, for the looks of its first readers.
#[derive(Debug, Default)]
pub struct Sheet([OnceLock<(Look, Box<[u8]>)>; LOOKS]);

impl Sheet {
    /// Adds to `out` what the event looks like. `lay_out` writes it, and is called unless somebody
    /// with the same look was here before.
    pub fn write(&self, look: Look, out: &mut Vec<u8>, lay_out: impl FnOnce(&mut Vec<u8>)) {
        let mut free = None;
        for slot in &self.0 {
            match slot.get() {
                Some((known, bytes)) if *known == look => return out.extend_from_slice(bytes),
                Some(_) => {}
                None => {
                    free = Some(slot);
                    break;
                }
            }
        }
        let start = out.len();
        lay_out(out);
        if let (Some(slot), Some(bytes)) = (free, out.get(start..)) {
            // Somebody else may have been faster; then theirs are kept.
            let _kept = slot.set((look, bytes.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(cols: u16) -> Look {
        Look {
            cols,
            theme: "calm",
            utf8: true,
            time: *b"20:44\0\0\0",
        }
    }

    #[test]
    fn each_look_is_laid_out_once_and_those_beyond_the_bound_every_time() {
        let sheet = Sheet::default();
        let mut laid_out = Vec::new();
        for cols in [80, 100, 120, 80, 100, 120, 120] {
            let mut out = b"before ".to_vec();
            sheet.write(look(cols), &mut out, |out| {
                laid_out.push(cols);
                out.extend_from_slice(cols.to_string().as_bytes());
            });
            assert_eq!(String::from_utf8(out).unwrap(), format!("before {cols}"));
        }
        assert_eq!(laid_out, [80, 100, 120, 120, 120]);
    }

    #[test]
    fn each_part_of_a_look_counts() {
        let others = [
            look(81),
            Look {
                theme: "mono",
                ..look(80)
            },
            Look {
                utf8: false,
                ..look(80)
            },
            Look {
                time: *b"20:44:01",
                ..look(80)
            },
        ];
        for other in others {
            let sheet = Sheet::default();
            let mut out = Vec::new();
            sheet.write(look(80), &mut out, |out| out.push(b'a'));
            sheet.write(other, &mut out, |out| out.push(b'b'));
            assert_eq!(out, b"ab", "{other:?}");
        }
    }
}
