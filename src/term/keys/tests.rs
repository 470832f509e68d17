//! What terminals send, as data, and the law of the decoder: packets don't matter.

use proptest::prelude::*;

use super::Key::*;
use super::*;

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Key>, Decoder) {
    let mut decoder = Decoder::new();
    let mut keys = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk, &mut keys);
    }
    (keys, decoder)
}

fn paste(text: &str) -> Key {
    Paste(text.to_owned())
}

/// What a terminal sends, and the keys as `Debug` writes them.
const SENT: &[(&str, &str)] = &[
    ("aé日🚀", "Char('a') Char('é') Char('日') Char('🚀')"),
    ("\r", "Enter"),
    ("\n", "Enter"),
    ("\r\n", "Enter"),
    ("\r\r\n\n", "Enter Enter Enter"),
    ("\t\x7f\x08", "Tab Backspace Backspace"),
    ("\x01\x03\x1a", "Ctrl('a') Ctrl('c') Ctrl('z')"),
    (
        "\x1c\x1d\x1e\x1f\0",
        r"Ctrl('\\') Ctrl(']') Ctrl('^') Ctrl('_')",
    ),
    // Control characters of C1, as UTF-8.
    ("a\u{9b}b\u{85}", "Char('a') Char('b')"),
    // xterm, both cursor key modes.
    (
        "\x1b[A\x1b[B\x1b[C\x1b[D\x1b[H\x1b[F",
        "Up Down Right Left Home End",
    ),
    (
        "\x1bOA\x1bOB\x1bOC\x1bOD\x1bOH\x1bOF",
        "Up Down Right Left Home End",
    ),
    (
        "\x1b[1;5C\x1b[1;5D\x1b[1;3C\x1b[1;3D",
        "WordRight WordLeft WordRight WordLeft",
    ),
    (
        "\x1b[1;2C\x1b[1;9D\x1bO5C\x1bO1;5D",
        "Right WordLeft WordRight WordLeft",
    ),
    ("\x1b[Z\x1bOM", "BackTab Enter"),
    // VT220, Linux console, PuTTY; rxvt; numbers with modifiers.
    (
        "\x1b[1~\x1b[4~\x1b[3~\x1b[5~\x1b[6~",
        "Home End Delete PageUp PageDown",
    ),
    (
        "\x1b[7~\x1b[8~\x1b[7$\x1b[8^\x1b[3@",
        "Home End Home End Alt('d')",
    ),
    ("\x1b[3;5~\x1b[5;2~\x1bOw", "Alt('d') PageUp End"),
    ("\x1bOc\x1bOd\x1b[c\x1b[d", "WordRight WordLeft Right Left"),
    (
        "\x1b\x1b[C\x1b\x1b[D\x1b\x1bOC",
        "WordRight WordLeft WordRight",
    ),
    // modifyOtherKeys and CSI u.
    ("\x1b[27;5;97~\x1b[27;2;13~", r"Ctrl('a') Alt('\n')"),
    ("\x1b[98;5u\x1b[13;2u\x1b[13u", r"Ctrl('b') Alt('\n') Enter"),
    (
        "\x1b[9;2u\x1b[127;5u\x1b[102;3u",
        r"BackTab Alt('\u{7f}') Alt('f')",
    ),
    ("\x1b[57399u\x1b[97:65;1:1u", "Char('a')"),
    // Alt.
    (
        "\x1bb\x1bf\x1bd\x1bé",
        "Alt('b') Alt('f') Alt('d') Alt('é')",
    ),
    ("\x1b\x7f\x1b\x08", r"Alt('\u{7f}') Alt('\u{7f}')"),
    ("\x1b\r\x1b\n\x1b\r\n", r"Alt('\n') Alt('\n') Alt('\n')"),
    // An Escape that something else follows.
    ("\x1b\x03\x1b\x1bx", "Escape Ctrl('c') Escape Alt('x')"),
    ("\x1b\x1b\x1b[C", "Escape WordRight"),
    // Not keys: function keys, answers, focus, mouse; each is thrown away whole.
    ("\x1b[15~\x1bOP\x1b[[Ax\x1b[2~", "Char('x')"),
    (
        "\x1b[?62;22c\x1b[>0;10;1c\x1b[24;80R\x1b[?1;2$y\x1b[4;2$yx",
        "Char('x')",
    ),
    (
        "\x1b[I\x1b[O\x1b[M !!\x1b[<0;12;3M\x1b[<0;12;3m\x1b[0;1;2Mx",
        "Char('x')",
    ),
    (
        "\x1b]11;rgb:00/00/00\x07x\x1b]52;c;AA==\x1b\\y",
        "Char('x') Char('y')",
    ),
    (
        "\x1bP1$r0m\x1b\\x\x1b_Gi=1;OK\x1b\\y\x1b^z\x1b\\",
        "Char('x') Char('y')",
    ),
    // A string or sequence that doesn't end: any control character ends it, and is a key.
    ("\x1b]0;oops\rx", "Enter Char('x')"),
    ("\x1b]0;oops\x03", "Ctrl('c')"),
    ("\x1b]0;oops\x1b[Ax", "Up Char('x')"),
    (
        "\x1b[12\rx\x1b[1\x1b[A\x1bO\x03",
        "Enter Char('x') Up Ctrl('c')",
    ),
    // Pastes.
    (
        "\x1b[200~a\r\nb\rc\nd\x1b[201~e",
        r#"Paste("a\nb\nc\nd") Char('e')"#,
    ),
    ("\x1b[200~\x1b[201~\x1b[201~", r#"Paste("")"#),
    (
        "\x1b[200~\x1b[A\x1b[20\x1b\x1b[201~",
        r#"Paste("\u{1b}[A\u{1b}[20\u{1b}")"#,
    ),
];

#[test]
fn decodes() {
    for (bytes, keys) in SENT {
        let (got, decoder) = decode([bytes.as_bytes()]);
        let got: Vec<_> = got.iter().map(|key| format!("{key:?}")).collect();
        assert_eq!(got.join(" "), *keys, "{bytes:?}");
        assert!(!decoder.is_waiting(), "{bytes:?}");
    }
}

#[test]
fn drops_what_is_not_utf8() {
    for bytes in [
        &b"\xffx"[..],
        b"\x80\xbfx",
        b"\xc3x",
        b"\xe2\x82x",
        b"\xf0\x9f\x9ax",
        b"\xc0\x80x",
        b"\xed\xa0\x80x",
        b"\xf4\x90\x80\x80x",
        b"\xf8\x88\x80\x80\x80x",
        b"\x1b\xffx",
    ] {
        assert_eq!(decode([bytes]).0, [Char('x')], "{bytes:?}");
    }
    let (keys, _) = decode([&b"\xe2\xe2\x82\xac\x1b[200~a\xffb\xe2\x82\x1b[201~"[..]]);
    assert_eq!(keys, [Char('€'), paste("ab")]);
}

#[test]
fn flush_ends_what_is_held() {
    for (bytes, keys) in [
        ("\x1b", vec![Escape]),
        ("\x1b\x1b", vec![Escape, Escape]),
        ("\x1b[", vec![]),
        ("\x1b[1;5", vec![]),
        ("\x1bO", vec![]),
        ("\x1b]0;title", vec![]),
        ("\x1b]0;title\x1b", vec![]),
        ("\x1b[M!", vec![]),
        ("", vec![]),
    ] {
        let (mut got, mut decoder) = decode([bytes.as_bytes()]);
        assert_eq!(decoder.is_waiting(), !bytes.is_empty(), "{bytes:?}");
        decoder.flush(&mut got);
        assert_eq!(got, keys, "{bytes:?}");
        assert!(!decoder.is_waiting());
        decoder.feed(b"x", &mut got);
        assert_eq!(got.last(), Some(&Char('x')), "{bytes:?}");
    }
}

#[test]
fn a_paste_outlives_a_late_packet_but_not_silence() {
    let (mut keys, mut decoder) = decode([&b"\x1b[200~first"[..]]);
    for _ in 0..20 {
        decoder.flush(&mut keys);
    }
    decoder.feed(b" second", &mut keys);
    for _ in 0..39 {
        decoder.flush(&mut keys);
    }
    assert_eq!((keys.as_slice(), decoder.is_waiting()), (&[][..], true));
    decoder.flush(&mut keys);
    assert_eq!(
        (keys, decoder.is_waiting()),
        (vec![paste("first second")], false)
    );
}

#[test]
fn what_is_held_is_bounded() {
    let (keys, _) = decode([&b"\x1b[200~"[..], &b"x".repeat(1 << 20), b"\x1b[201~y"]);
    assert_eq!(keys, [paste(&"x".repeat(64 * 1024)), Char('y')]);
    // Longer than any string or sequence: the rest is taken for typing.
    let (keys, _) = decode([&b"\x1b]"[..], &b"x".repeat(5000)]);
    assert_eq!(keys.len(), 5000 - STRING_BYTES);
    let (keys, _) = decode([&b"\x1b["[..], &b"1".repeat(100)]);
    assert_eq!(keys.len(), 100 - 64);
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        "\\PC{0,3}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            &b"\r\n"[..],
            b"\r",
            b"\n",
            b"\x1b",
            b"\x1b[",
            b"\x1bO",
            b"\x1b]",
            b"\x1b\\",
            b"\x07",
            b"\x1b[200~",
            b"\x1b[201~",
            b"\x1b[1;5C",
            b"\x1b[M",
            b"\x1b[[",
            b"\xf0\x9f",
            b"\x9a\x80",
            b"$",
            b"~",
            b";",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn packets_do_not_matter(bytes in input(), cuts in prop::collection::vec(0..64usize, 0..8)) {
        let (whole, one) = decode([bytes.as_slice()]);
        let (single, _) = decode(bytes.chunks(1));
        let mut rest = bytes.as_slice();
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        let (cut, two) = decode(chunks);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(&whole, &single);
        prop_assert_eq!(one.is_waiting(), two.is_waiting());
    }

    #[test]
    fn never_gives_a_control_character(bytes in input()) {
        for key in decode([bytes.as_slice()]).0 {
            prop_assert!(!matches!(key, Char(c) if c.is_control()), "{:?}", key);
        }
    }
}
