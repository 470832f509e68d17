//! The chat itself, pure: no async, no input or output, no clock, no randomness.
//!
//! Time and identifiers come in as arguments, so that a list of intents replays to the same
//! state every time. Knows nothing of terminals, SSH or storage.

pub mod access;
mod answer;
pub mod command;
pub mod duration;
pub mod event;
pub mod ids;
pub mod ignore;
pub mod intent;
pub mod invite;
pub mod origins;
pub mod preferences;
pub mod presence;
pub(crate) mod serial;
pub mod slow;
pub mod state;
