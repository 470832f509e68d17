//! Real SSH sessions with terminals, all in this process: they send messages at a given pace, and
//! each counts what it receives.
//!
//! They assume only that a line and Enter is a message, and that it's displayed to everyone. So one
//! generator loads any chat over SSH: `main.rs` one that's already running, `cargo bench` this
//! repository's next to a bare russh server.

#![allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a measurement are far below 2^52"
)]

pub mod crowd;
pub mod pace;
pub mod process;
pub mod seen;
