//! Wrapping text to a terminal's rows: the part of rendering that's done once for all windows of
//! the same shape.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ssh_chat::term::style::Style;
use ssh_chat::term::wrap::Layout;

use crate::samples;

pub fn bench(criterion: &mut Criterion) {
    let cases = [
        ("ascii", 80, samples::LINE.to_owned()),
        ("ascii_longest", 80, samples::longest()),
        ("ascii_longest_narrow", 20, samples::longest()),
        ("mixed", 80, samples::MIXED.to_owned()),
        // A single word that has to be broken.
        ("one_word_longest", 80, "a".repeat(2000)),
        // Words slightly too long for the rest of a row, so that each one moves to the next row.
        ("moved_words", 80, samples::repeated(&"漢".repeat(20), 6000)),
        ("stacked_longest", 80, samples::stacked()),
    ];
    let mut group = criterion.benchmark_group("wrap");
    for (name, cols, text) in cases {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut out = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let mut layout = Layout::new(&mut out, cols);
                layout.indent(cols / 4);
                layout.span(Style::PLAIN.bold(), black_box(&text));
                layout.end();
                out.len()
            });
        });
    }
    group.finish();
}
