//! Each stage between one client's bytes and the other clients' bytes, measured alone, with typical
//! input and with the worst that a client can send.
//!
//! See "Micro-benchmarks" in `benches/README.md`.

mod admission;
mod chat;
mod editor;
mod hub;
mod keys;
mod limits;
mod samples;
mod screen;
mod session;
mod store;
mod text;
mod wrap;

use std::time::Duration;

use anyhow::Result;
use criterion::Criterion;

fn main() -> Result<()> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    admission::bench(&mut criterion);
    keys::bench(&mut criterion);
    limits::bench(&mut criterion);
    editor::bench(&mut criterion);
    text::bench(&mut criterion);
    wrap::bench(&mut criterion);
    screen::bench(&mut criterion);
    session::bench(&mut criterion)?;
    chat::bench(&mut criterion)?;
    hub::bench(&mut criterion)?;
    store::bench(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
