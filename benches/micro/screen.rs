//! The prompt that stays below the printed lines.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ssh_chat::term::screen::{Prompt, Screen, Size};
use ssh_chat::term::style::{Color, Style};

use crate::samples;

const LABEL: &[(Style, &str)] = &[
    (Style::PLAIN.bold(), "lobby"),
    (Style::PLAIN.fg(Color::Ansi(3)), " (@ops 2)"),
    (Style::PLAIN.bold(), " ▸ "),
];

pub fn bench(criterion: &mut Criterion) {
    let texts = [
        ("empty", String::new()),
        ("half_typed", samples::LINE.to_owned()),
        ("longest", samples::longest()),
        ("stacked_longest", samples::stacked()),
    ];
    let size = Size::clamped(80, 24);
    let mut out = Vec::new();

    let mut group = criterion.benchmark_group("screen/print_above");
    for (name, text) in &texts {
        let prompt = at_end(text);
        let mut screen = Screen::new(size);
        group.bench_function(*name, |b| {
            b.iter(|| {
                out.clear();
                screen.erase(&mut out);
                out.extend_from_slice(black_box(b"14:31     bob  hello\r\n"));
                screen.draw(&prompt, &mut out);
                out.len()
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("screen/resize");
    for (name, text) in &texts {
        let prompt = at_end(text);
        let mut screen = Screen::new(size);
        let sizes = [Size::clamped(40, 24), Size::clamped(120, 40)];
        group.throughput(Throughput::Elements(sizes.len() as u64));
        group.bench_function(*name, |b| {
            b.iter(|| {
                out.clear();
                for size in sizes {
                    screen.resize(size);
                    screen.draw(&prompt, &mut out);
                }
                out.len()
            });
        });
    }
    group.finish();

    // One more character, and its deletion.
    let mut group = criterion.benchmark_group("screen/key");
    for (name, text) in &texts {
        let more = [text, "x"].concat();
        let prompts = [at_end(&more), at_end(text)];
        let mut screen = Screen::new(size);
        group.throughput(Throughput::Elements(prompts.len() as u64));
        group.bench_function(*name, |b| {
            b.iter(|| {
                out.clear();
                for prompt in &prompts {
                    screen.draw(black_box(prompt), &mut out);
                }
                out.len()
            });
        });
    }
    group.finish();
}

fn at_end(text: &str) -> Prompt<'_> {
    Prompt {
        label: LABEL,
        text,
        cursor: text.len(),
    }
}
