//! The chat itself, pure: no async, no input or output, no clock, no randomness.
//!
//! Time and identifiers come in as arguments, so that a list of intents replays to the same
//! state every time. Knows nothing of terminals, SSH or storage.

pub mod access;
pub mod addresses;
pub mod command;
pub mod duration;
pub mod event;
pub mod ids;
pub mod intent;
pub mod invite;
pub mod preferences;
pub mod presence;
mod queries;
pub mod state;
