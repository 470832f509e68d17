//! Rows as data, and the laws of the layout.

use proptest::prelude::*;

use super::*;
use crate::term::style::Color;

const RED: Style = Style::PLAIN.fg(Color::Ansi(1));
const BOLD: Style = Style::PLAIN.bold();

fn lay_out(cols: usize, indent: usize, spans: &[(Style, &str)]) -> String {
    let mut out = Vec::new();
    let mut layout = Layout::new(&mut out, cols);
    layout.indent(indent);
    for (style, text) in spans {
        layout.span(*style, text);
    }
    layout.end();
    String::from_utf8(out).unwrap()
}

#[test]
fn wraps() {
    // columns, indent, text, rows
    let cases: &[(usize, usize, &str, &[&str])] = &[
        (20, 0, "", &[""]),
        (20, 0, "short", &["short"]),
        (11, 0, "aaaa bbbbb", &["aaaa bbbbb"]),
        (11, 0, "aaaa bbbbb cc", &["aaaa bbbbb", "cc"]),
        (11, 0, "aaaa bbbbbb cc", &["aaaa", "bbbbbb cc"]),
        (11, 2, "aaaa bbbbbb ccc", &["aaaa", "  bbbbbb", "  ccc"]),
        // Spaces at a break go, others stay.
        (11, 0, "aaaa   bbbbbb", &["aaaa", "bbbbbb"]),
        (11, 0, "aaaaaaaaaa    bb", &["aaaaaaaaaa", "bb"]),
        (11, 0, "a  b\n  c d", &["a  b", "  c d"]),
        (11, 0, "    aaaaaaaa", &["    aaaaaa", "aa"]),
        (11, 0, "             a", &["          ", "a"]),
        (11, 0, "a  ", &["a  "]),
        // Long words.
        (11, 0, "aaaaaaaaaabbbbb", &["aaaaaaaaaa", "bbbbb"]),
        (11, 0, "xx aaaaaaaaaabbbbb", &["xx", "aaaaaaaaaa", "bbbbb"]),
        (
            11,
            4,
            "xx aaaaaaaaaabbbbb",
            &["xx aaaaaaa", "    aaabbb", "    bb"],
        ),
        // Wide ones, marks, emoji, at the edge.
        (11, 0, "日本語日本語", &["日本語日本", "語"]),
        (11, 0, "a日本語日本語", &["a日本語日", "本語"]),
        (
            11,
            0,
            "aaaaaaaaae\u{301}e\u{301}",
            &["aaaaaaaaae\u{301}", "e\u{301}"],
        ),
        (
            11,
            0,
            "aaaaaaaaa👩\u{200d}🚀b",
            &["aaaaaaaaa", "👩\u{200d}🚀b"],
        ),
        (11, 0, "bbb aaaaaé", &["bbb aaaaaé"]),
        (11, 0, "bbb aaaaaaé", &["bbb", "aaaaaaé"]),
        // Lines, and what is no text.
        (
            20,
            3,
            "one\ntwo\n\nfour",
            &["one", "   two", "   ", "   four"],
        ),
        (20, 0, "a\x1b[31m\u{9b}b\r\tc\x7f", &["a[31mbc"]),
        (20, 0, "a\r\nb", &["a", "b"]),
    ];
    for (cols, indent, text, rows) in cases {
        let expected: String = rows.join("\r\n") + "\r\n";
        assert_eq!(
            lay_out(*cols, *indent, &[(Style::PLAIN, text)]),
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn styles_stop_at_the_end_of_a_row() {
    let spans = [(RED, "aaaa bb"), (BOLD, "bbbb"), (Style::PLAIN, " c")];
    assert_eq!(
        lay_out(20, 0, &spans),
        "\x1b[;31maaaa bb\x1b[;1mbbbb\x1b[m c\r\n",
    );
    assert_eq!(
        lay_out(11, 2, &spans),
        "\x1b[;31maaaa\x1b[m\r\n  \x1b[;31mbb\x1b[;1mbbbb\x1b[m c\r\n",
    );
    assert_eq!(
        lay_out(8, 0, &[(RED, "aaaa"), (BOLD, "  "), (RED, "bbbb")]),
        "\x1b[;31maaaa\x1b[m\r\n\x1b[;1m\x1b[;31mbbbb\x1b[m\r\n",
    );
}

/// The visible graphemes of an output, each with the sequence that styled it; and its rows.
fn read(out: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut seen, mut rows) = (Vec::new(), Vec::new());
    let body = out.strip_suffix("\r\n").unwrap();
    for row in body.split("\r\n") {
        let (mut style, mut plain) = ("\x1b[m".to_owned(), String::new());
        let mut parts = row.split('\x1b');
        let mut texts = vec![parts.next().unwrap()];
        let mut styles = vec![style.clone()];
        for part in parts {
            let (sequence, text) = part.split_once('m').unwrap();
            style = format!("\x1b{sequence}m");
            styles.push(style.clone());
            texts.push(text);
        }
        assert_eq!(style, "\x1b[m", "a row ends in style: {row:?}");
        for (text, style) in texts.into_iter().zip(styles) {
            plain.push_str(text);
            let visible = text.chars().filter(|c| *c != ' ');
            seen.extend(visible.map(|c| (style.clone(), c.to_string())));
        }
        rows.push(plain);
    }
    (seen, rows)
}

fn spans() -> impl Strategy<Value = Vec<(Style, String)>> {
    let style = prop::sample::select(vec![Style::PLAIN, RED, BOLD, RED.dim()]);
    let piece = prop_oneof![
        3 => "[a-z]{0,30}",
        3 => "[ -~]{0,20}",
        2 => " {1,3}",
        1 => "\\PC{0,8}",
        2 => prop::sample::select(vec![
            "日", "e\u{301}", "👩\u{200d}🚀", "\n", "\x1b[2J", "\u{9b}", "\x07", "नमस्ते", "\r\n",
        ])
        .prop_map(String::from),
    ];
    let text = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    prop::collection::vec((style, text), 0..6)
}

proptest! {
    #[test]
    fn rows_fit_and_nothing_is_lost(spans in spans(), cols in 20..60usize, indent in 0..40usize) {
        let borrowed: Vec<_> = spans.iter().map(|(style, text)| (*style, text.as_str())).collect();
        let out = lay_out(cols, indent, &borrowed);
        let (seen, rows) = read(&out);
        for row in rows {
            prop_assert!(!row.contains(char::is_control), "{:?}", row);
            prop_assert!(text::width(&row) < cols, "{:?}", row);
        }
        let mut given = Vec::new();
        for (style, text) in &spans {
            let mut sequence = Vec::new();
            style.sgr(&mut sequence);
            let sequence = String::from_utf8(sequence).unwrap();
            let shown = text::graphemes(text).filter(|(g, _)| !g.contains(char::is_control));
            let visible = shown.flat_map(|(g, _)| g.chars()).filter(|c| *c != ' ');
            given.extend(visible.map(|c| (sequence.clone(), c.to_string())));
        }
        prop_assert_eq!(seen, given);
    }
}
