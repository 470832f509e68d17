//! Chat sessions as transcripts, one file each, in `data/`.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::script;

/// Defines a test for each transcript.
macro_rules! transcripts {
    ($($name:ident),+ $(,)?) => {
        const TRANSCRIPTS: &[&str] = &[$(stringify!($name)),+];
        $(
            #[test]
            fn $name() {
                script::run(include_str!(concat!("data/", stringify!($name), ".txt")));
            }
        )+
    };
}

transcripts! {
    appearance,
    direct_messages,
    editing,
    help,
    history_and_search,
    ignoring,
    joining,
    lockdown_for_guests,
    mentions,
    messages,
    names,
    pasting,
    purging,
    removing_a_room,
    rooms,
    slow_mode,
    unknown_commands,
    without_a_terminal,
}

#[test]
fn every_transcript_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data");
    let files: BTreeSet<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let run: BTreeSet<String> = TRANSCRIPTS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, run);
}
