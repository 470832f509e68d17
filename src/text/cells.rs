//! The width of text on a terminal, in cells.

use std::str::Chars;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The width of a simple character: visible, in normal form (NFC), and a grapheme of its own next
/// to another simple one. Most text is simple, and looking up the Unicode tables takes much longer.
pub(super) fn simple(c: char) -> Option<usize> {
    match c {
        ' '..='~'
        | '\u{A1}'..='\u{AC}'
        | '\u{AE}'..='\u{2FF}'
        // Greek, Cyrillic, dashes and quotation marks.
        | '\u{391}'..='\u{3A1}'
        | '\u{3A3}'..='\u{3FF}'
        | '\u{400}'..='\u{482}'
        | '\u{48A}'..='\u{52F}'
        | '\u{2010}'..='\u{2027}' => Some(1),
        // Kana, Han, Hangul syllables, full-width forms.
        '\u{3041}'..='\u{3096}'
        | '\u{30A1}'..='\u{30FE}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{FF01}'..='\u{FF60}' => Some(2),
        _ => None,
    }
}

/// The width of `s`: the sum over its graphemes. A line end has none.
pub fn width(s: &str) -> usize {
    if s.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return s.len();
    }
    graphemes(s).map(|(_, cells)| cells).sum()
}

/// The graphemes of `s` (UAX #29), each with its width: 0 for a control character, 1 or 2 for nearly
/// all others (an Indic conjunct has one cell per letter). Terminals disagree on some; `term::screen`
/// handles that.
pub fn graphemes(s: &str) -> impl Iterator<Item = (&str, usize)> {
    Graphemes { rest: s.chars() }
}

struct Graphemes<'a> {
    rest: Chars<'a>,
}

impl<'a> Iterator for Graphemes<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.as_str();
        let first = simple(self.rest.next()?);
        let next = self.rest.clone().next();
        // A line end is a grapheme of its own, except after CR.
        let alone = next.is_none_or(|next| next == '\n' || simple(next).is_some());
        if let (Some(cells), true) = (first, alone) {
            let (grapheme, _) = text.split_at_checked(text.len() - self.rest.as_str().len())?;
            return Some((grapheme, cells));
        }
        let grapheme = text.graphemes(true).next()?;
        self.rest = text.get(grapheme.len()..)?.chars();
        Some((grapheme, cells(grapheme)))
    }
}

fn cells(grapheme: &str) -> usize {
    if grapheme.starts_with(char::is_control) {
        0
    } else {
        grapheme.width()
    }
}

/// The longest prefix of `s` that fits `cells` cells, without splitting a grapheme.
pub fn clip(s: &str, cells: usize) -> &str {
    let mut used = 0;
    let mut end = 0;
    for (grapheme, cells_here) in graphemes(s) {
        used += cells_here;
        if used > cells {
            break;
        }
        end += grapheme.len();
    }
    s.get(..end).unwrap_or_default()
}

/// `s` clipped to `cells` cells and padded with spaces, on the left if `right_align`.
pub fn pad(s: &str, cells: usize, right_align: bool) -> String {
    let kept = clip(s, cells);
    let spaces = " ".repeat(cells.saturating_sub(width(kept)));
    if right_align {
        spaces + kept
    } else {
        kept.to_owned() + &spaces
    }
}
