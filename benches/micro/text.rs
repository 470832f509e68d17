//! Sanitizing raw text.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ssh_chat::text::{self, Text};

use crate::samples;

pub fn bench(criterion: &mut Criterion) {
    let inputs = [
        ("ascii", samples::LINE.to_owned()),
        ("ascii_longest", samples::longest()),
        ("mixed", samples::MIXED.to_owned()),
        ("stacked_longest", samples::stacked()),
        ("hostile_8_kib", samples::hostile()),
    ];
    // When text is typed or received.
    step(criterion, "text/clean", &inputs, |raw| {
        text::clean(raw).len()
    });
    // When a message is read from the store.
    step(criterion, "text/stored", &inputs, |raw| {
        Text::stored(raw).as_str().len()
    });
    // Measured constantly by the prompt.
    step(criterion, "text/width", &inputs, text::width);
}

fn step(
    criterion: &mut Criterion,
    name: &str,
    inputs: &[(&str, String)],
    run: impl Fn(&str) -> usize,
) {
    let mut group = criterion.benchmark_group(name);
    for (name, raw) in inputs {
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(*name, |b| b.iter(|| run(black_box(raw))));
    }
    group.finish();
}
