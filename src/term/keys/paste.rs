//! The inside of a bracketed paste.

/// The most bytes of a paste that are kept; the rest is read and thrown away.
const PASTE_BYTES: usize = 64 * 1024;

/// What ends a paste.
const END: &[u8] = b"\x1b[201~";

/// After how many calls of [`Paste::flush`] without a byte in between it is given up.
const QUIET: u8 = 40;

/// A paste whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Paste {
    bytes: Vec<u8>,
    /// How much of [`END`] the last bytes are.
    matched: usize,
    quiet: u8,
}

impl Paste {
    /// Takes one more byte; the whole text once it ended.
    pub(super) fn push(&mut self, byte: u8) -> Option<String> {
        self.quiet = 0;
        if END.get(self.matched) == Some(&byte) {
            self.matched += 1;
            return (self.matched == END.len()).then(|| self.text());
        }
        // What looked like the end was pasted. Only its first byte can begin the end anew.
        let looked_like = END.get(..self.matched).unwrap_or_default();
        let room = PASTE_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend(looked_like.iter().take(room));
        self.matched = usize::from(END.first() == Some(&byte));
        if self.matched == 0 && self.bytes.len() < PASTE_BYTES {
            self.bytes.push(byte);
        }
        None
    }

    /// Notes that time passed; the text so far once it is time to give up.
    pub(super) fn flush(&mut self) -> Option<String> {
        self.quiet += 1;
        (self.quiet >= QUIET).then(|| self.text())
    }

    /// The text, without what isn't UTF-8, its line ends made `\n`.
    fn text(&mut self) -> String {
        let bytes = std::mem::take(&mut self.bytes);
        let text: String = bytes.utf8_chunks().map(|chunk| chunk.valid()).collect();
        text.replace("\r\n", "\n").replace('\r', "\n")
    }
}
