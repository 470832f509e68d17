//! What the sanitiser lets through, as data, and its laws.

use std::ops::RangeInclusive;

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
    // Tags hide text, so a flag made of them is a black flag; other flags are whole.
    ("🏴\u{e0067}\u{e0062}\u{e0065}\u{e007f}", "🏴"),
    ("🏴\u{200d}☠\u{fe0f}", "🏴\u{200d}☠\u{fe0f}"),
    ("#\u{fe0f}\u{20e3}", "#\u{fe0f}\u{20e3}"),
    // Braille drawings keep their shape.
    ("⠇\u{2800}⠸\n\u{2800}⠿", "⠇ ⠸\n ⠿"),
    // Hebrew with vowels and cantillation.
    ("בְּרֵאשִׁ֖ית", "בְּרֵאשִׁ֖ית"),
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

/// What becomes of characters that can't be seen: the table of decision 0028.
/// class | characters | what is left of one between two letters
const INVISIBLE: &[(&str, &[RangeInclusive<u32>], &str)] = &[
    (
        "controls (Cc)",
        &[0..=8, 0x0B..=0x0C, 0x0E..=0x1F, 0x7F..=0x84, 0x86..=0x9F],
        "",
    ),
    (
        "line ends (Zl, Zp and controls)",
        &[0x0A..=0x0A, 0x0D..=0x0D, 0x85..=0x85, 0x2028..=0x2029],
        "\n",
    ),
    ("tab", &[0x09..=0x09], "    "),
    (
        "white space (Zs)",
        &[
            0x20..=0x20,
            0xA0..=0xA0,
            0x1680..=0x1680,
            0x2000..=0x200A,
            0x202F..=0x202F,
            0x205F..=0x205F,
        ],
        " ",
    ),
    ("ideographic space", &[0x3000..=0x3000], "\u{3000}"),
    ("blank braille", &[0x2800..=0x2800], " "),
    (
        "format characters (Cf) and unassigned between them",
        &[
            0xAD..=0xAD,
            0x61C..=0x61C,
            0x180E..=0x180E,
            0x200B..=0x200F,
            0x202A..=0x202E,
            0x2060..=0x206F,
            0xFEFF..=0xFEFF,
            0xFFF9..=0xFFFB,
            0x13430..=0x1343F,
            0x1BCA0..=0x1BCA3,
            0x1D173..=0x1D17A,
        ],
        "",
    ),
    (
        "prepended signs (Cf)",
        &[
            0x600..=0x605,
            0x6DD..=0x6DD,
            0x70F..=0x70F,
            0x890..=0x891,
            0x8E2..=0x8E2,
            0x110BD..=0x110BD,
            0x110CD..=0x110CD,
        ],
        "",
    ),
    (
        "fillers",
        &[
            0x115F..=0x1160,
            0x3164..=0x3164,
            0xFFA0..=0xFFA0,
            0x16FE4..=0x16FE4,
        ],
        "",
    ),
    (
        "selectors and joiners without an emoji",
        &[
            0x34F..=0x34F,
            0x180B..=0x180D,
            0x180F..=0x180F,
            0xFE00..=0xFE0F,
            0xE0100..=0xE01EF,
        ],
        "",
    ),
    ("Khmer inherent vowels", &[0x17B4..=0x17B5], ""),
    ("tags", &[0xE0000..=0xE007F], ""),
    (
        "blank symbols",
        &[0xFFFC..=0xFFFC, 0x13441..=0x13442, 0x1D159..=0x1D159],
        "",
    ),
    (
        "not characters",
        &[0xFDD0..=0xFDEF, 0xFFFE..=0xFFFF, 0x10_FFFE..=0x10_FFFF],
        "",
    ),
    (
        "private use (Co)",
        &[0xE000..=0xF8FF, 0xF_0000..=0xF_FFFD],
        "",
    ),
    (
        "unassigned (Cn)",
        &[
            0x378..=0x379,
            0xFFF0..=0xFFF8,
            0xE_0080..=0xE_00FF,
            0xE_01F0..=0xE_0FFF,
        ],
        "",
    ),
];

#[test]
fn nothing_invisible_is_left() {
    for (class, ranges, left) in INVISIBLE {
        for c in ranges.iter().cloned().flatten().filter_map(char::from_u32) {
            let at = format!("{class}: {c:?}");
            assert_eq!(clean(&format!("a{c}b")), format!("a{left}b"), "{at}");
            let alone: String = std::iter::repeat_n(c, 3).collect();
            assert_eq!(Text::message(&alone), Err(TextError::Empty), "{at}");
            assert_eq!(Text::line(&alone, 9), Err(TextError::Empty), "{at}");
        }
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
    assert_eq!(clean(&zalgo), format!("x{}y", "\u{316}".repeat(4)));
    let around = format!("x{}y", "\u{489}\u{316}".repeat(9));
    assert_eq!(clean(&around), format!("x{}y", "\u{489}\u{316}".repeat(2)));
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
    for raw in [
        "",
        " \n\t ",
        "\u{202e}\u{200b}",
        "\x1b\x07",
        "\u{2800}\n\u{3000}\u{3164}\u{2800}",
    ] {
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
            "\u{9c7}", "\u{489}", "\u{5b0}", "\u{2800}", "\u{1F468}", "\u{23e9}", "\u{a9}",
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

#[test]
fn only_printable_ascii_is_left() {
    let cases: [(&[u8], &str); 6] = [
        (b"alice", "alice"),
        (b"", ""),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian", "SSH-2.0-OpenSSH_"),
        (b"a\x1b[2J\r\nb", "a?[2J??b"),
        ("jürgen".as_bytes(), "j?rgen"),
        (b"\xff\xfe\x00", "???"),
    ];
    for (raw, expected) in cases {
        assert_eq!(Text::ascii(raw, 16).as_str(), expected, "{raw:?}");
    }
}

proptest! {
    #[test]
    fn ascii_is_bounded_clean_and_stable(raw: Vec<u8>, max in 0usize..64) {
        let once = Text::ascii(&raw, max);
        prop_assert!(once.as_str().len() <= max);
        prop_assert!(once.as_str().bytes().all(|b| (b' '..=b'~').contains(&b)));
        prop_assert_eq!(clean(once.as_str()), once.as_str());
        prop_assert_eq!(Text::ascii(once.as_str().as_bytes(), max), once);
    }
}
