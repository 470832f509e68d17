//! From keys to an edited line.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use ssh_chat::term::editor::Editor;
use ssh_chat::term::keys::Key;
use ssh_chat::text::{MAX_BYTES, MAX_CHARS};

use crate::samples;

/// Maximum number of history lines in the editor.
const HISTORY: usize = 200;

/// Maximum size of a paste from the decoder, in bytes.
const LONGEST_PASTE: usize = 64 * 1024;

pub fn bench(criterion: &mut Criterion) {
    typing(criterion);
    at_one_place(criterion);
    pasting(criterion);
    earlier_lines(criterion);
}

fn editor(text: &str) -> Editor {
    let mut editor = Editor::new(MAX_CHARS, MAX_BYTES);
    editor.set(text);
    editor
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

/// Types these keys into an editor, repeatedly.
fn type_into(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    editor: &mut Editor,
    keys: &[Key],
) {
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function(name, |b| {
        b.iter_batched(
            || keys.to_vec(),
            |keys| {
                for key in keys {
                    black_box(editor.key(key));
                }
            },
            BatchSize::SmallInput,
        );
    });
}

/// A whole line, from empty to Enter.
fn typing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("editor/line");
    for (name, text) in [("ascii", samples::LINE), ("mixed", samples::MIXED)] {
        let mut keys = typed(text);
        keys.push(Key::Enter);
        type_into(&mut group, name, &mut editor(""), &keys);
    }
    group.finish();
}

/// Where in the line the text is typed.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Middle,
    End,
}

/// A change and its reversal, in lines that are short or as long as allowed.
fn at_one_place(criterion: &mut Criterion) {
    // Room for the typed text.
    let long = samples::repeated(samples::LINE, MAX_CHARS - 100);
    let stacked = samples::STACKED.repeat(200);
    let backspace = |text: &str| {
        let mut keys = typed(text);
        keys.push(Key::Backspace);
        keys
    };
    let words = vec![Key::WordLeft, Key::WordRight];
    let cases = [
        ("end_short", "hello", Place::End, backspace("x")),
        ("end_long", &long, Place::End, backspace("x")),
        ("middle_long", &long, Place::Middle, backspace("x")),
        ("wide_middle_long", &long, Place::Middle, backspace("漢")),
        (
            "emoji_end_long",
            &long,
            Place::End,
            backspace("👩\u{200d}💻"),
        ),
        ("marked_end", &stacked, Place::End, backspace("e\u{301}")),
        (
            "marked_middle",
            &stacked,
            Place::Middle,
            backspace("e\u{301}"),
        ),
        ("word_long", &long, Place::Middle, words.clone()),
        ("word_marked", &stacked, Place::Middle, words),
    ];
    let mut group = criterion.benchmark_group("editor/key");
    for (name, text, place, keys) in cases {
        let mut editor = editor(text);
        while place == Place::Middle && editor.cursor() > text.len() / 2 {
            editor.key(Key::Left);
        }
        type_into(&mut group, name, &mut editor, &keys);
    }
    group.finish();
}

/// A paste into an empty line.
fn pasting(criterion: &mut Criterion) {
    let paste = samples::paste();
    let cases = [
        ("bracketed", vec![Key::Paste(paste.clone())]),
        ("typed", typed(&paste)),
        (
            "bracketed_mixed",
            vec![Key::Paste(samples::repeated(
                samples::MIXED,
                samples::PASTE,
            ))],
        ),
        (
            "bracketed_64_kib_hostile",
            vec![Key::Paste(
                samples::hostile().repeat(LONGEST_PASTE / MAX_BYTES),
            )],
        ),
    ];
    let mut group = criterion.benchmark_group("editor/paste");
    for (name, keys) in cases {
        let bytes: usize = keys.iter().map(size).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |b| {
            b.iter_batched(
                || (editor(""), keys.clone()),
                |(mut editor, keys)| {
                    for key in keys {
                        black_box(editor.key(key));
                    }
                    editor
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn size(key: &Key) -> usize {
    match key {
        Key::Paste(text) => text.len(),
        Key::Char(c) => c.len_utf8(),
        _ => 0,
    }
}

/// Up and down, and a search without a match.
fn earlier_lines(criterion: &mut Criterion) {
    let mut editor = editor("");
    for number in 0..HISTORY {
        editor.set(&format!("{number} {}", samples::LINE.repeat(4)));
        editor.key(Key::Enter);
    }
    let mut group = criterion.benchmark_group("editor/history");
    let walk = [vec![Key::Up; HISTORY], vec![Key::Down; HISTORY]].concat();
    group.throughput(Throughput::Elements(walk.len() as u64));
    group.bench_function("up_and_down", |b| {
        b.iter_batched(
            || walk.clone(),
            |walk| {
                for key in walk {
                    black_box(editor.key(key));
                }
            },
            BatchSize::SmallInput,
        );
    });
    let search = [vec![Key::Ctrl('r')], typed("?!"), vec![Key::Ctrl('c')]].concat();
    group.throughput(Throughput::Elements(1));
    group.bench_function("search_in_vain", |b| {
        b.iter_batched(
            || search.clone(),
            |search| {
                for key in search {
                    black_box(editor.key(key));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}
