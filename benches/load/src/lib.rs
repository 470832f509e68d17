//! Real SSH sessions with terminals, all in this process: they say things, at a pace, and each
//! counts what it sees.
//!
//! They know nothing of the server but that a line and Enter is a message, and that everybody is
//! shown it. So one generator measures any chat over SSH: `main.rs` from outside, `cargo bench`
//! this repository's beside a bare russh server.

#![allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of a measurement are far below 2^52"
)]

pub mod crowd;
pub mod pace;
pub mod process;
pub mod seen;
