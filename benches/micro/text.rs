//! Raw text to text that is safe to show.

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
    // When it is typed or arrives.
    step(criterion, "text/clean", &inputs, |raw| {
        text::clean(raw).len()
    });
    // What a message goes through again when it is read from the store.
    step(criterion, "text/stored", &inputs, |raw| {
        Text::stored(raw).as_str().len()
    });
    // What the prompt is asked all the time.
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
