//! Decoding bytes into keys.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ssh_chat::term::keys::Decoder;

use crate::samples;

pub fn bench(criterion: &mut Criterion) {
    let bracketed = |text: &str| format!("\x1b[200~{text}\x1b[201~").into_bytes();
    let paste = samples::paste();
    // Arrows, words, function keys, and unsolicited terminal replies: colours, mouse, focus.
    let sequences = "\x1b[A\x1bOB\x1b[1;5C\x1bb\x1b[3~\x1b[27;5;105~\x1b]11;rgb:1e1e/1e1e/1e1e\x07\
                     \x1b[<0;10;20M\x1b[I";
    let inputs = [
        ("typed", [samples::LINE, "\r"].concat().into_bytes()),
        ("typed_mixed", [samples::MIXED, "\r"].concat().into_bytes()),
        ("paste", paste.clone().into_bytes()),
        ("paste_bracketed", bracketed(&paste)),
        // As many almost-complete paste terminators as possible.
        (
            "paste_almost_ended",
            bracketed(&"\x1b[201".repeat(samples::PASTE / 5)),
        ),
        ("sequences", sequences.repeat(10).into_bytes()),
        // A sequence that never ends.
        (
            "endless_sequence",
            ["\x1b[", &"9;".repeat(samples::PASTE / 2)]
                .concat()
                .into_bytes(),
        ),
        ("noise", samples::noise(samples::PASTE)),
    ];
    let mut group = criterion.benchmark_group("keys");
    for (name, bytes) in inputs {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let mut keys = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                keys.clear();
                Decoder::new().feed(black_box(&bytes), &mut keys);
                keys.len()
            });
        });
    }
    group.finish();
}
