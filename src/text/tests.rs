//! What the sanitiser lets through, as data, and its laws.

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// raw | cleaned as a block
const CLEAN: &[(&str, &str)] = &[
    (
        "plain ASCII, kept as it is ~!",
        "plain ASCII, kept as it is ~!",
    ),
    ("", ""),
    ("a\tb", "a    b"),
    (
        "a\r\nb\rc\nd\u{85}e\u{2028}f\u{2029}g",
        "a\nb\nc\nd\ne\nf\ng",
    ),
    ("a\r\u{7f}\nb", "a\nb"),
    // Escape sequences lose what makes them one; the harmless rest stays visible.
    ("\x1b]0;title\x07x", "]0;titlex"),
    ("\x1b[31mred", "[31mred"),
    ("\u{9b}31mred\u{9d}", "31mred"),
    ("unterminated \x1b]52;c;AAAA", "unterminated ]52;c;AAAA"),
    ("a\0\x08\x7f\u{80}\u{9f}b", "ab"),
    // Direction, tags, zero width, soft hyphen, byte order mark, word joiner.
    (
        "\u{202e}evil\u{202c}\u{2066}\u{2069}\u{61c}\u{200f}",
        "evil",
    ),
    ("flag\u{e0067}\u{e007f}", "flag"),
    ("a\u{200b}\u{200c}\u{ad}\u{feff}\u{2060}b", "ab"),
    // Fillers, private use, non-characters, unassigned, annotations.
    (
        "\u{3164}\u{115f}\u{ffa0}a\u{e000}\u{fdd0}\u{ffff}\u{10ffff}\u{378}\u{fff9}\u{fffc}",
        "a",
    ),
    // White space of every width.
    ("a\u{a0}b\u{2003}c\u{202f}d\u{3000}e", "a b c d\u{3000}e"),
    // Composed; a singleton decomposed.
    ("e\u{301}", "é"),
    ("\u{212b}", "Å"),
    ("\u{1112}\u{1161}\u{11ab}", "한"),
    // A mark with nothing under it, at the start, after a space, after a line end.
    ("\u{301}a \u{301}b\n\u{301}c", "a b\nc"),
    // Emoji keep what joins them, nothing else does.
    ("👩\u{200d}🚀", "👩\u{200d}🚀"),
    ("❤\u{fe0f}", "❤\u{fe0f}"),
    ("1\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}"),
    ("👍🏽", "👍🏽"),
    ("🏳\u{fe0f}\u{200d}🌈", "🏳\u{fe0f}\u{200d}🌈"),
    (
        "👨\u{200d}👩\u{200d}👧\u{200d}👦",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦",
    ),
    ("🇩🇪🇫🇷", "🇩🇪🇫🇷"),
    ("a\u{200d}b\u{fe0f}c\u{200d}", "abc"),
    ("👩\u{200d}\u{200d}🚀\u{200d}", "👩\u{200d}🚀"),
    ("👩\u{200d}x", "👩x"),
    ("1\u{fe0f}2", "12"),
    // Other scripts, whole.
    (
        "Привет, 世界! שלום مرحبا नमस्ते ไทย",
        "Привет, 世界! שלום مرحبا नमस्ते ไทย",
    ),
];

#[test]
fn cleans() {
    for (raw, clean_form) in CLEAN {
        assert_eq!(clean(raw), *clean_form, "{raw:?}");
    }
}

#[test]
fn cleans_to_one_line() {
    for (raw, line) in [
        ("  a\tb\r\n\n\tc  ", "a b c"),
        ("SSH-2.0-OpenSSH_9.2", "SSH-2.0-OpenSSH_9.2"),
        (" plain ", "plain"),
        ("\x1b]0;x\x07\n", "]0;x"),
        ("é\u{2028}\u{301}x", "é x"),
        ("\n\t ", ""),
    ] {
        assert_eq!(clean_line(raw), line, "{raw:?}");
    }
}

#[test]
fn bounds_graphemes() {
    let zalgo = format!("x{}y", "\u{316}".repeat(5000));
    assert_eq!(clean(&zalgo), format!("x{}y", "\u{316}".repeat(7)));
    let initials = "\u{1100}".repeat(40);
    assert_eq!(clean(&initials), "\u{1100}".repeat(8));
    // Cut before the vowel, the initials would run into those of the next syllable.
    let syllable = format!("{}\u{1161}", "\u{1100}".repeat(9));
    assert_eq!(
        clean(&syllable.repeat(2)),
        format!("\u{fffd}{}", "\u{1100}".repeat(8))
    );
}

#[test]
fn takes_messages() {
    for (raw, kept) in [
        ("hello", "hello"),
        ("\n\n  indented \n\nend\n\n", "  indented\n\nend"),
        ("trailing \u{a0}\t", "trailing"),
        ("a\r\nb", "a\nb"),
    ] {
        assert_eq!(Text::message(raw).unwrap().as_str(), kept, "{raw:?}");
    }
    for raw in ["", " \n\t ", "\u{202e}\u{200b}", "\x1b\x07"] {
        assert_eq!(Text::message(raw), Err(TextError::Empty), "{raw:?}");
    }
    assert!(Text::message(&"x".repeat(MAX_CHARS)).is_ok());
    assert_eq!(
        Text::message(&"x".repeat(MAX_CHARS + 1)),
        Err(TextError::TooLong {
            chars: MAX_CHARS + 1,
            bytes: MAX_CHARS + 1
        })
    );
    // Four bytes each: under both limits. What is dropped doesn't count.
    assert!(Text::message(&"🚀".repeat(MAX_CHARS)).is_ok());
    assert!(Text::message(&"\u{200b}x".repeat(MAX_CHARS)).is_ok());
}

#[test]
fn takes_lines() {
    assert_eq!(Text::line(" a topic\n", 7).unwrap().as_str(), "a topic");
    assert_eq!(
        Text::line("a topic!", 7),
        Err(TextError::TooLong { chars: 8, bytes: 8 })
    );
    assert_eq!(Text::line("\t", 7), Err(TextError::Empty));
}

#[test]
fn takes_what_was_stored() {
    assert_eq!(Text::stored("old\x1b[2J row").as_str(), "old[2J row");
    assert!(Text::stored("\u{202e}").is_empty());
    let long = Text::stored(&"é".repeat(5000));
    assert_eq!(long.as_str().chars().count(), MAX_CHARS);
    // A grapheme is kept or left out, never cut.
    let family = "👨\u{200d}👩\u{200d}👧";
    let cut = Text::stored(&format!("{}{family}", "x".repeat(MAX_CHARS - 3)));
    assert_eq!(cut.as_str(), "x".repeat(MAX_CHARS - 3));
}

#[test]
fn measures() {
    for (s, cells) in [
        ("abc", 3),
        ("日本", 4),
        ("e\u{301}", 1),
        ("👩\u{200d}🚀", 2),
        ("❤\u{fe0f}", 2),
        ("🇩🇪", 2),
        ("한", 2),
        ("a\nb\r\nc", 3),
        ("", 0),
    ] {
        assert_eq!(width(s), cells, "{s:?}");
    }
}

#[test]
fn clips_and_pads() {
    assert_eq!(clip("日本語", 5), "日本");
    assert_eq!(clip("ae\u{301}x", 2), "ae\u{301}");
    assert_eq!(clip("abc", 0), "");
    assert_eq!(pad("日本", 5, false), "日本 ");
    assert_eq!(pad("ab", 4, true), "  ab");
    assert_eq!(pad("日本", 3, true), " 日");
}

#[test]
fn simple_characters_are_what_the_tables_say() {
    use unicode_normalization::is_nfc;
    use unicode_width::UnicodeWidthChar;

    for c in ('\0'..=char::MAX).filter(|c| super::cells::simple(*c).is_some()) {
        assert_eq!(super::cells::simple(c), c.width(), "{c:?}");
        assert!(is_nfc(&c.to_string()), "{c:?}");
        for next in ['a', 'é', '日', '한', '\n'] {
            assert_eq!(format!("{c}{next}").graphemes(true).count(), 2, "{c:?}");
            assert_eq!(format!("{next}{c}").graphemes(true).count(), 2, "{c:?}");
        }
    }
}

/// Pieces that meet badly: what joins, what is dropped between, what composes.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => any::<char>().prop_map(String::from),
        2 => "[ -~]{0,4}",
        4 => prop::sample::select(vec![
            "\r", "\n", "\t", " ", "\x1b[", "\u{9b}", "\u{200d}", "\u{fe0f}", "\u{20e3}", "1", "👩",
            "❤", "🏽", "🇩", "🚀", "e", "\u{301}", "\u{316}", "\u{338}", "\u{2194}", "\u{1100}",
            "\u{1161}", "\u{11a8}", "\u{915}", "\u{94d}", "\u{937}", "\u{200c}", "\u{3000}",
            "\u{600}", "\u{d4e}", "\u{2329}", "\u{202e}", "\u{a0}", "\u{e0067}", "日", "\u{9be}",
            "\u{9c7}", "\u{1F468}", "\u{23e9}", "\u{a9}",
        ])
        .prop_map(String::from),
        1 => ("\\PC", 1..20usize).prop_map(|(s, n)| s.repeat(n)),
        1 => (prop::sample::select(vec![
            "\u{316}", "\u{1100}", "\u{200d}👩", "\u{94d}\u{915}", "\u{600}", "🇩", "\u{fe0f}",
        ]), 1..20usize).prop_map(|(s, n)| s.repeat(n)),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn cleaning_twice_changes_nothing(raw in nasty()) {
        let once = clean(&raw);
        prop_assert_eq!(clean(&once), once.clone());
        let line = clean_line(&raw);
        prop_assert_eq!(clean_line(&line), line.clone());
        prop_assert_eq!(clean(&line), line);
        let stored = Text::stored(&raw);
        prop_assert_eq!(Text::stored(stored.as_str()), stored);
    }

    #[test]
    fn clean_text_is_harmless(raw in nasty()) {
        let clean = clean(&raw);
        prop_assert!(!clean.contains(|c: char| c.is_control() && c != '\n'), "{:?}", clean);
        for grapheme in clean.graphemes(true) {
            prop_assert!(grapheme.len() <= 32 && grapheme.chars().count() <= 8, "{:?}", grapheme);
        }
        prop_assert!(!clean_line(&raw).contains('\n'));
    }

    #[test]
    fn messages_are_bounded(raw in nasty()) {
        for text in [Text::stored(&raw), Text::message(&raw).unwrap_or(Text::stored(""))] {
            prop_assert!(text.as_str().chars().count() <= MAX_CHARS);
            prop_assert!(text.as_str().len() <= MAX_BYTES);
        }
    }

    #[test]
    fn a_clip_fits(raw in nasty(), cells in 0..40usize) {
        let clipped = clip(&raw, cells);
        prop_assert!(width(clipped) <= cells);
        prop_assert!(raw.starts_with(clipped));
        prop_assert_eq!(width(&pad(&raw, cells, false)), cells);
        prop_assert_eq!(width(&pad(&raw, cells, true)), cells);
    }

    #[test]
    fn graphemes_are_those_of_unicode(raw in nasty()) {
        let ours: Vec<&str> = graphemes(&raw).map(|(grapheme, _)| grapheme).collect();
        prop_assert_eq!(ours, raw.graphemes(true).collect::<Vec<_>>());
    }
}
