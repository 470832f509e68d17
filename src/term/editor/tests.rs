//! Editing as data: `before | keys | after`, with `|` for the cursor in the texts.

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// Keys as written here: `<C-a>`, `<A-b>`, `<Left>`, `<C-Left>` (by word), and characters.
fn keys(written: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((name, after)) = named else {
            keys.push(if c == '⏎' { Key::Enter } else { Key::Char(c) });
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = after;
        keys.push(match name {
            "Left" => Key::Left,
            "Right" => Key::Right,
            "C-Left" => Key::WordLeft,
            "C-Right" => Key::WordRight,
            "Up" => Key::Up,
            "Down" => Key::Down,
            "Home" => Key::Home,
            "End" => Key::End,
            "BS" => Key::Backspace,
            "Del" => Key::Delete,
            "Tab" => Key::Tab,
            "Esc" => Key::Escape,
            "A-BS" => Key::Alt('\x7f'),
            "A-Enter" => Key::Alt('\n'),
            _ => match name.split_once('-') {
                Some(("C", key)) => Key::Ctrl(key.chars().next().unwrap()),
                Some(("A", key)) => Key::Alt(key.chars().next().unwrap()),
                Some(("P", text)) => Key::Paste(text.to_owned()),
                _ => panic!("no key {name:?}"),
            },
        });
    }
    keys
}

fn type_in(editor: &mut Editor, written: &str) -> EditOutcome {
    let edits = keys(written).into_iter().map(|key| editor.key(key));
    edits.last().unwrap_or(EditOutcome::Unchanged)
}

fn shown(editor: &Editor) -> String {
    let (before, after) = editor.text().split_at(editor.cursor());
    format!("{before}|{after}")
}

fn editor(before: &str) -> Editor {
    let (left, right) = before.split_once('|').unwrap();
    let mut editor = Editor::new(2000, 8192);
    editor.set(&[left, right].concat());
    while editor.cursor() > left.len() {
        editor.key(Key::Left);
    }
    editor
}

/// before, keys, after
const EDITS: &[(&str, &str, &str)] = &[
    // Typing and moving.
    ("|", "hello", "hello|"),
    ("ab|cd", "x", "abx|cd"),
    ("abc|", "<Left><Left>x", "ax|bc"),
    ("a|bc", "<C-b><C-b>x", "x|abc"),
    ("abc|", "<Right>x", "abcx|"),
    ("a|bc", "<C-f>x", "abx|c"),
    ("a|bc", "<Home>x<End>y", "xabcy|"),
    ("a|bc", "<C-a>x<C-e>y", "xabcy|"),
    ("one\ntw|o\nthree", "<C-a>x<C-e>y", "one\nxtwoy|\nthree"),
    // Words.
    ("one two-three|", "<A-b>", "one two-|three"),
    ("one two-three|", "<C-Left><C-Left>", "one |two-three"),
    ("|one  two", "<A-f>", "one|  two"),
    ("one|  two", "<C-Right>", "one  two|"),
    ("naïve größe|", "<A-b>", "naïve |größe"),
    ("|!?", "<A-f>", "!?|"),
    // Deleting.
    ("abc|", "<BS>", "ab|"),
    ("|abc", "<BS>", "|abc"),
    ("ab|c", "<C-h>", "a|c"),
    ("a|bc", "<Del>", "a|c"),
    ("a|bc", "<C-d>", "a|c"),
    ("abc|", "<Del><C-d>", "abc|"),
    // Graphemes whole.
    ("é日|", "<BS>", "é|"),
    ("a👩\u{200d}🚀|b", "<BS>", "a|b"),
    ("🇩🇪🇫🇷|", "<BS>", "🇩🇪|"),
    ("x❤\u{fe0f}|", "<Left>y", "xy|❤\u{fe0f}"),
    ("q\u{316}\u{301}|", "<BS>", "|"),
    // Joined as they are typed.
    ("e|x", "\u{301}", "é|x"),
    ("q|", "\u{301}", "q\u{301}|"),
    ("👩|", "\u{200d}🚀", "👩\u{200d}🚀|"),
    ("👩|", "\u{200d}x", "👩x|"),
    ("👩|", "\u{200d}<Left>🚀", "🚀|👩"),
    ("❤|", "\u{fe0f}", "❤\u{fe0f}|"),
    ("🏳|", "\u{fe0f}\u{200d}🌈", "🏳\u{fe0f}\u{200d}🌈|"),
    ("1|", "\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}|"),
    ("|", "🇩🇪", "🇩🇪|"),
    ("🇩🇪|🇫🇷", "🇮", "🇩🇪🇮🇫|🇷"),
    ("🇩|x🇪", "<Del>", "🇩🇪|"),
    ("👍|", "🏽", "👍🏽|"),
    ("\u{1112}|", "\u{1161}\u{11ab}", "한|"),
    // Cleaned as they are typed.
    ("|", "\u{301}\u{202e}\u{200b}\u{200d}a", "a|"),
    ("a|", "\u{a0}b", "a b|"),
    // Killing and yanking.
    ("one two|", "<C-w>", "one |"),
    ("one two-three  |", "<C-w>", "one |"),
    ("one two-three|", "<A-BS>", "one two-|"),
    ("one |two three", "<A-d>", "one | three"),
    ("one |two", "<C-k>", "one |"),
    ("one |two", "<C-u>", "|two"),
    ("one two|", "<C-w><C-a><C-y> ", "two |one "),
    ("one two three|", "<C-w><C-w><C-y>!", "one two three!|"),
    (
        "one| two three",
        "<A-d><A-d><C-y><C-y>",
        "one two three two three|",
    ),
    ("one two|", "<C-w><Left><C-w><C-y>", "one| "),
    ("|ab", "<C-k><C-u><C-y>", "ab|"),
    ("a\nb|c\nd", "<C-k>", "a\nb|\nd"),
    ("a\nb|c\nd", "<C-k><C-k>", "a\nb|d"),
    ("a\nb|c\nd", "<C-u><C-u>", "a|c\nd"),
    ("|", "<C-y>", "|"),
    // Transposing.
    ("ab|", "<C-t>", "ba|"),
    ("a|bc", "<C-t>", "ba|c"),
    ("|ab", "<C-t>", "|ab"),
    ("a|", "<C-t>", "a|"),
    ("日é|", "<C-t>", "é日|"),
    // Several lines.
    ("a|b", "<A-Enter>", "a\n|b"),
    ("a|d", "<P-b\r\n\tc>", "ab\n    c|d"),
    ("|", "<P-\x1b[31mred\x07>", "[31mred|"),
    ("e|", "<P-\u{301}x>", "éx|"),
    // Keys without a meaning here.
    ("a|b", "<Esc><C-g><C-z><C-_><A-x>", "a|b"),
    // History: nothing to go to.
    ("a|b", "<Up><Down><C-p><C-n>", "a|b"),
    ("|", "one⏎<Up>", "one|"),
    ("|", "one⏎two⏎<Up><Up><Up>", "one|"),
    ("|", "one⏎two⏎<C-p><C-p><C-n>", "two|"),
    ("|", "one⏎half<Left><Up><Down>", "half|"),
    ("|", "one⏎one⏎two⏎<Up><Up><Up>", "one|"),
    ("|", "one⏎  ⏎⏎<Up>", "one|"),
    ("|", "one⏎<Up>x<Up>", "onex|"),
    ("|", "one⏎two⏎<Up>x<Down>", "|"),
    ("|", "one⏎two⏎<Up><Up>!⏎<Up><Up>", "two|"),
    ("|", "a<A-Enter>b⏎<Up>", "a\nb|"),
    ("|", "one⏎<Up><C-c>x<Up>", "one|"),
    ("|", "one⏎<Up><C-c>x<Down>", "x|"),
    // Search.
    ("|", "one two⏎three⏎<C-r>tw", "one |two"),
    ("|", "alpha⏎beta⏎<C-r>a", "bet|a"),
    ("|", "alpha⏎beta⏎<C-r>a<C-r>", "|alpha"),
    ("|", "alpha⏎beta⏎<C-r>a<C-r><C-r><C-r>", "|alpha"),
    ("|", "alpha⏎beta⏎<C-r>a<C-r><BS>b", "|beta"),
    ("|", "alpha⏎beta⏎half<Left><C-r>alp<BS><BS><BS>", "hal|f"),
    ("|", "alpha⏎half<Left><C-r>al<Esc>", "hal|f"),
    ("|", "alpha⏎half<Left><C-r>al<C-g>", "hal|f"),
    ("|", "alpha⏎half<C-r>nothing", "half|"),
    ("|", "alpha⏎half<C-r>al<End>!", "alpha!|"),
    ("|", "alpha⏎half<C-r>ph<Left>!", "a!|lpha"),
    ("|", "alpha⏎half<C-r>al<C-c>", "|"),
    ("|", "alpha⏎beta⏎<C-r>al⏎<Up>", "alpha|"),
    ("|", "größe⏎<C-r>ö", "gr|öße"),
];

#[test]
fn edits() {
    for (before, written, after) in EDITS {
        let mut editor = editor(before);
        type_in(&mut editor, written);
        assert_eq!(shown(&editor), *after, "{before:?} {written:?}");
    }
}

#[test]
fn says_what_happened() {
    use EditOutcome::*;
    let cases: &[(&str, &str, EditOutcome)] = &[
        ("|", "x", Changed),
        ("|", "\u{200b}", Unchanged),
        ("|x", "<Left>", Unchanged),
        ("x|", "<C-t>", Unchanged),
        ("a b|", "⏎", Submit("a b".to_owned())),
        ("a\nb|", "<C-j>", Submit("a\nb".to_owned())),
        ("|", "<C-m>", Submit(String::new())),
        ("/wh|", "<Tab>", Complete),
        ("|", "<C-c>", Interrupt),
        ("x|", "<C-c>", Changed),
        ("|", "<C-d>", EndOfInput),
        ("x|", "<C-d>", Unchanged),
        ("x|", "<C-l>", ClearScreen),
        ("x|", "<C-r>", Changed),
        ("x|", "<C-r><Esc>", Changed),
        ("x|", "<C-r>nothing", Full),
        // Leaving a search shows, whatever else the key does; Ctrl-C then doesn't count as leaving.
        ("|", "<C-r><Down>", Changed),
        ("|", "<C-r><C-c>", Changed),
        ("|", "found⏎<C-r>fo⏎", Submit("found".to_owned())),
        ("|", "found⏎<C-r>fo<Tab>", Complete),
    ];
    for (before, written, edit) in cases {
        assert_eq!(
            type_in(&mut editor(before), written),
            *edit,
            "{before:?} {written:?}"
        );
    }
}

#[test]
fn shows_what_is_searched_for() {
    let mut editor = editor("|");
    type_in(&mut editor, "one⏎");
    assert_eq!(editor.search_query(), None);
    for (written, query) in [
        ("<C-r>", Some("")),
        ("on", Some("on")),
        ("<BS>", Some("o")),
        ("x", Some("ox")),
        ("<C-g>", None),
    ] {
        type_in(&mut editor, written);
        assert_eq!(editor.search_query(), query, "{written:?}");
    }
}

#[test]
fn limits_hold_while_typing() {
    let mut editor = Editor::new(4, 8);
    assert_eq!(type_in(&mut editor, "abcd"), EditOutcome::Changed);
    assert_eq!(type_in(&mut editor, "e"), EditOutcome::Full);
    assert_eq!(type_in(&mut editor, "\u{301}"), EditOutcome::Full);
    assert_eq!(shown(&editor), "abcd|");
    assert_eq!(type_in(&mut editor, "<C-u>🚀🚀"), EditOutcome::Changed);
    assert_eq!(type_in(&mut editor, "🚀"), EditOutcome::Full);
    assert_eq!(type_in(&mut editor, "x"), EditOutcome::Full);
    assert_eq!(shown(&editor), "🚀🚀|");
    // As much of a paste as fits, in whole graphemes.
    assert_eq!(
        type_in(&mut editor, "<C-u>ab<Left><P-xyz>"),
        EditOutcome::Full
    );
    assert_eq!(shown(&editor), "axy|b");
    assert_eq!(
        type_in(&mut editor, "<BS><P-e\u{301}\u{316}>"),
        EditOutcome::Full
    );
    assert_eq!(shown(&editor), "ax|b");
    editor.set("one two");
    assert_eq!(shown(&editor), "one |");
}

#[test]
fn completes_in_place() {
    let mut e = editor("hi @al| there");
    e.complete(3, "@alice");
    assert_eq!(shown(&e), "hi @alice| there");
    e.complete(100, "x");
    e.complete(12, "x");
    assert_eq!(shown(&e), "hi @alice| there");
    let mut e = editor("é|");
    e.complete(1, "x");
    assert_eq!(shown(&e), "é|");
}

#[test]
fn sets_clean_text() {
    let mut e = editor("old|");
    type_in(&mut e, "<C-r>");
    e.set("new\x1b[m\ttext");
    assert_eq!(
        (shown(&e).as_str(), e.search_query()),
        ("new[m    text|", None)
    );
    assert!(!e.is_empty());
}

#[test]
fn history_is_bounded() {
    let mut e = Editor::new(2000, 8192);
    for n in 0..300 {
        e.set(&format!("line {n}"));
        e.key(Key::Enter);
    }
    type_in(&mut e, &"<Up>".repeat(300));
    assert_eq!(e.text(), "line 100");
    for n in 0..100 {
        e.set(&format!("{n} {}", "x".repeat(1990)));
        e.key(Key::Enter);
    }
    type_in(&mut e, &"<Up>".repeat(300));
    assert!(e.text().starts_with("68 "), "{}", e.text());
}

#[test]
fn takes_a_long_text() {
    let mut e = Editor::new(2000, 8192);
    for n in 0..2000 {
        e.key(Key::Char(if n % 2 == 0 { 'x' } else { '日' }));
    }
    assert_eq!(e.key(Key::Char('x')), EditOutcome::Full);
    assert_eq!(e.text().len(), 4000);
    e.set("");
    assert_eq!(
        e.key(Key::Paste("line of pasted text\n".repeat(45))),
        EditOutcome::Changed
    );
    assert_eq!(e.cursor(), 900);
}

fn any_key() -> impl Strategy<Value = Key> {
    let named = prop::sample::select(keys(
        "<Left><Right><C-Left><C-Right><Up><Down><Home><End><BS><Del><Tab><Esc><A-BS><A-Enter>⏎<C-k>\
         <C-u><C-w><C-y><C-t><C-r><C-d><C-c><A-d><C-g>",
    ));
    let joining = prop::sample::select(vec![
        '\u{200d}', '\u{fe0f}', '👩', '🚀', '❤', '\u{301}', '\u{316}', '🇩', '\u{1100}', '\u{1161}',
        '\u{915}', '\u{94d}', '\u{600}', '\u{20e3}', '1', ' ',
    ]);
    prop_oneof![
        3 => named,
        2 => "[ -~]".prop_map(|s| Key::Char(s.chars().next().unwrap())),
        3 => joining.prop_map(Key::Char),
        1 => any::<char>().prop_map(Key::Char),
        1 => "\\PC{0,12}".prop_map(Key::Paste),
    ]
}

proptest! {
    #[test]
    fn the_cursor_is_between_graphemes_and_limits_hold(keys in prop::collection::vec(any_key(), 0..60)) {
        let mut e = Editor::new(20, 50);
        for key in keys {
            e.key(key);
            let text = e.text();
            prop_assert!(text.chars().count() <= 20 && text.len() <= 50);
            let boundaries = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]);
            prop_assert!(boundaries.into_iter().any(|at| at == e.cursor()), "{}", shown(&e));
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}
