//! The sanitiser: an allowlist of characters. Removing escape sequences is a guess about every
//! terminal's parser; admitting only visible characters isn't.

use std::iter::Peekable;

use unicode_normalization::char::{
    canonical_combining_class, is_combining_mark, is_public_assigned,
};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

use super::cells::{graphemes, simple};

/// The most code points in one grapheme. The longest emoji that fonts commonly draw has 8 (the
/// longest in use 10); thousands of accents on one letter are an attack on terminals.
const GRAPHEME_CHARS: usize = 8;

/// The most bytes in one grapheme.
const GRAPHEME_BYTES: usize = 32;

/// The most accents in a row on one character. Hebrew with vowels and cantillation needs four; more
/// would cover the lines above and below. The marks of Indic and Tibetan stacks are not accents:
/// only the grapheme's limits apply.
const ACCENTS: usize = 4;

/// ZERO WIDTH JOINER: joins emoji.
const JOINER: char = '\u{200D}';

/// VARIATION SELECTOR-16: selects the emoji form of a symbol.
const SELECTOR: char = '\u{FE0F}';

/// COMBINING ENCLOSING KEYCAP.
const KEYCAP: char = '\u{20E3}';

/// Replaces a tab, whose width would depend on the column.
const TAB: &str = "    ";

/// Cleans a text: line ends become `\n`, a tab four spaces, other white space and blank characters a
/// space; controls, bidirectional marks, tags and other invisible characters are dropped; accents are
/// composed (NFC) and limited to 4 in a row, and each grapheme to 8 code points and 32 bytes.
/// Idempotent. `docs/decisions/0028-invisible-characters.md` lists the classes of characters with
/// reasons; a test checks that table.
pub fn clean(raw: &str) -> String {
    if raw.chars().all(|c| c == '\n' || simple(c).is_some()) {
        return raw.to_owned();
    }
    bounded(&unpiled(composed(admitted(raw, Form::Block))))
}

/// Cleans a text to one line: a run of line ends and tabs becomes one space, and the ends are
/// trimmed. For reasons, topics, client versions and the like.
pub fn clean_line(raw: &str) -> String {
    if raw.chars().all(|c| simple(c).is_some()) {
        return raw.trim().to_owned();
    }
    let line = bounded(&unpiled(composed(admitted(raw, Form::Line))));
    line.trim().to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Block,
    Line,
}

/// What the sanitiser does with a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Has a glyph and a width: kept.
    Visible,
    /// Combines with the character before it: kept if there is one.
    Mark,
    /// Ends a line.
    Break,
    Tab,
    /// White space of some other width.
    Space,
    /// [`JOINER`] or [`SELECTOR`]: kept inside an emoji.
    Glue,
    Drop,
}

fn class(c: char) -> Class {
    match c {
        c if simple(c).is_some() => Class::Visible,
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Class::Break,
        '\t' => Class::Tab,
        JOINER | SELECTOR => Class::Glue,
        // As wide as its name says, and used in Japanese.
        '\u{3000}' => Class::Visible,
        // Blank Braille, as wide as a space: used in drawings.
        '\u{2800}' => Class::Space,
        c if is_invisible(c) => Class::Drop,
        c if c.is_control() || !is_public_assigned(c) => Class::Drop,
        c if c.is_whitespace() => Class::Space,
        c if is_combining_mark(c) => Class::Mark,
        c if c.width().is_some_and(|cells| cells > 0) => Class::Visible,
        // Letters that combine without being marks, such as Hangul vowels.
        c if c.is_alphabetic() => Class::Mark,
        _ => Class::Drop,
    }
}

/// Assigned but invisible: format characters (Cf), default-ignorable ones, and blanks that aren't
/// white space.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        // Soft hyphen; combining grapheme joiner; Arabic letter mark.
        '\u{AD}' | '\u{34F}' | '\u{61C}'
        // Signs that are drawn around the digits after them (Prepended_Concatenation_Mark): alone
        // they are blank or of some width, and no terminal draws them where they belong.
        | '\u{600}'..='\u{605}' | '\u{6DD}' | '\u{70F}' | '\u{890}'..='\u{891}' | '\u{8E2}'
        | '\u{110BD}' | '\u{110CD}'
        // Hangul fillers; Khmer inherent vowels; Mongolian variation selectors and separator.
        | '\u{115F}'..='\u{1160}' | '\u{3164}' | '\u{FFA0}'
        | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        // Zero width, direction, invisible operators, deprecated format characters.
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        // Variation selectors; interlinear annotation and object replacement.
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FFF0}'..='\u{FFFC}'
        // Hieroglyph controls and blanks; Khitan filler; shorthand and musical controls, and the
        // note head without a head.
        | '\u{13430}'..='\u{1343F}' | '\u{13441}'..='\u{13442}' | '\u{16FE4}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D159}' | '\u{1D173}'..='\u{1D17A}'
        // Tags and more variation selectors.
        | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// The admitted characters, not yet normalised.
fn admitted(raw: &str, form: Form) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut last = '\n';
    let mut gap = false;
    let mut chars = raw
        .chars()
        .map(|c| (c, class(c)))
        .filter(|(_, class)| *class != Class::Drop)
        .peekable();
    while let Some((c, class)) = chars.next() {
        if form == Form::Line && matches!(class, Class::Break | Class::Tab) {
            if !gap {
                out.push(' ');
            }
            (gap, last) = (true, ' ');
            continue;
        }
        gap = false;
        let keep = match class {
            Class::Visible => c,
            Class::Break if c == '\r' && next_is(&mut chars, |next| next == '\n') => continue,
            Class::Break => '\n',
            Class::Tab => {
                out.push_str(TAB);
                last = ' ';
                continue;
            }
            Class::Space => ' ',
            // At the start of a line it would combine with text that isn't the author's.
            Class::Mark if !last.is_whitespace() => c,
            Class::Glue if glues(last, c, &mut chars) => c,
            Class::Mark | Class::Glue | Class::Drop => continue,
        };
        out.push(keep);
        last = keep;
    }
    out
}

/// Whether `glue` after `last` is part of an emoji (UTS #51, ED-9, ED-13, ED-14c).
fn glues<I>(last: char, glue: char, rest: &mut Peekable<I>) -> bool
where
    I: Iterator<Item = (char, Class)>,
{
    if glue == JOINER {
        (is_emoji(last) || last == SELECTOR) && next_is(rest, is_emoji)
    } else {
        let keycap = matches!(last, '0'..='9' | '#' | '*');
        is_emoji(last) || (keycap && next_is(rest, |next| next == KEYCAP))
    }
}

fn next_is<I>(rest: &mut Peekable<I>, wanted: impl Fn(char) -> bool) -> bool
where
    I: Iterator<Item = (char, Class)>,
{
    rest.peek().is_some_and(|(next, _)| wanted(*next))
}

/// The blocks of emoji, without flag letters. Deliberately coarse: it only decides where the two
/// invisible characters are kept.
fn is_emoji(c: char) -> bool {
    matches!(
        c,
        '\u{A9}' | '\u{AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}'
            | '\u{2194}'..='\u{2199}' | '\u{21A9}'..='\u{21AA}' | '\u{231A}'..='\u{231B}'
            | '\u{2328}' | '\u{23CF}' | '\u{23E9}'..='\u{23F3}' | '\u{23F8}'..='\u{23FA}'
            | '\u{24C2}' | '\u{25AA}'..='\u{25AB}' | '\u{25B6}' | '\u{25C0}'
            | '\u{25FB}'..='\u{25FE}' | '\u{2600}'..='\u{2767}' | '\u{2795}'..='\u{2797}'
            | '\u{27A1}' | '\u{27B0}' | '\u{27BF}' | '\u{2934}'..='\u{2935}'
            | '\u{2B05}'..='\u{2B07}' | '\u{2B1B}'..='\u{2B1C}' | '\u{2B50}' | '\u{2B55}'
            | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F004}' | '\u{1F0CF}'
            | '\u{1F170}'..='\u{1F171}' | '\u{1F17E}'..='\u{1F17F}' | '\u{1F18E}'
            | '\u{1F191}'..='\u{1F19A}' | '\u{1F201}'..='\u{1F265}' | '\u{1F300}'..='\u{1FAFF}'
    )
}

/// Composes accents (NFC), unless a quick check shows that the text is in normal form.
fn composed(text: String) -> String {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text,
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect(),
    }
}

/// Drops excess accents, from the end of a row that never becomes empty, so that nothing composes
/// that didn't before.
fn unpiled(mut text: String) -> String {
    let mut accents = 0;
    text.retain(|c| {
        accents = if is_accent(c) { accents + 1 } else { 0 };
        accents <= ACCENTS
    });
    text
}

/// A mark above, below, through or around a character.
fn is_accent(c: char) -> bool {
    let encloses = matches!(
        c,
        '\u{488}'..='\u{489}' | '\u{1ABE}' | '\u{20DD}'..='\u{20E4}' | '\u{A670}'..='\u{A672}'
    );
    encloses || (simple(c).is_none() && canonical_combining_class(c) != 0)
}

/// Limits every grapheme.
fn bounded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut graphemes = graphemes(text).map(|(grapheme, _)| grapheme).peekable();
    while let Some(grapheme) = graphemes.next() {
        let kept = head(grapheme);
        // The dropped part may have separated this grapheme from the next (Hangul initials, Indic
        // conjuncts): joined, they would exceed the limits again.
        if kept.len() < grapheme.len() && graphemes.peek().is_some_and(|next| joins(kept, next)) {
            out.push(char::REPLACEMENT_CHARACTER);
        } else {
            out.push_str(kept);
        }
    }
    out
}

/// The part of a grapheme within the limits, not ending inside an emoji sequence.
fn head(grapheme: &str) -> &str {
    if grapheme.len() <= GRAPHEME_CHARS {
        return grapheme;
    }
    let end = grapheme
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take(GRAPHEME_CHARS)
        .take_while(|end| *end <= GRAPHEME_BYTES)
        .last()
        .unwrap_or(0);
    let kept = grapheme.get(..end).unwrap_or_default();
    if kept.len() == grapheme.len() {
        kept
    } else {
        kept.trim_end_matches([JOINER, SELECTOR])
    }
}

/// Whether the first character of `next` would join the grapheme `kept`.
fn joins(kept: &str, next: &str) -> bool {
    let both: String = kept.chars().chain(next.chars().take(1)).collect();
    both.graphemes(true).nth(1).is_none()
}
