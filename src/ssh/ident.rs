//! The first line that a client sends: what it says it is (RFC 4253 §4.2).

use crate::text::Text;

/// The longest such line, its end included (RFC 4253 §4.2).
const MAX_LINE: usize = 255;
/// The longest that is kept, in characters.
const MAX_CLIENT: usize = 128;

/// Listens to what arrives, until it has heard the first line.
#[derive(Debug, Default)]
pub(super) struct Ident {
    line: Vec<u8>,
    heard: bool,
}

impl Ident {
    /// Takes bytes in the order in which they arrive. What the client says it is, once: when its
    /// first line has ended or is too long to be one.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Option<Text> {
        if self.heard {
            return None;
        }
        let room = MAX_LINE.saturating_sub(self.line.len());
        let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(room.min(bytes.len()));
        self.line.extend(bytes.iter().take(taken));
        self.heard = end.is_some() || self.line.len() >= MAX_LINE;
        self.heard.then(|| {
            let line = std::mem::take(&mut self.line);
            Text::ascii(line.strip_suffix(b"\r").unwrap_or(&line), MAX_CLIENT)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_line_without_its_end() {
        let long = [b'x'; 2 * MAX_LINE];
        let kept = "x".repeat(MAX_CLIENT);
        let cases: [(&[u8], Option<&str>); 6] = [
            (
                b"SSH-2.0-OpenSSH_9.9\r\nmore\n",
                Some("SSH-2.0-OpenSSH_9.9"),
            ),
            (b"SSH-2.0-old\n", Some("SSH-2.0-old")),
            (b"\n", Some("")),
            (b"SSH-2.0-\x1b[2J\n", Some("SSH-2.0-?[2J")),
            (b"SSH-2.0-half", None),
            (&long, Some(&kept)),
        ];
        for (bytes, expected) in cases {
            let heard = Ident::default().hear(bytes);
            assert_eq!(heard.as_ref().map(Text::as_str), expected);
        }
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(bytes: Vec<u8>, size in 1usize..300) {
            let whole = Ident::default().hear(&bytes);
            let mut ident = Ident::default();
            let heard: Vec<Text> =
                bytes.chunks(size).filter_map(|piece| ident.hear(piece)).collect();
            prop_assert!(heard.len() <= 1, "told once");
            prop_assert_eq!(heard.into_iter().next(), whole);
        }
    }
}
