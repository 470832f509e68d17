//! The chat's domain, pure: no async, I/O, clock or randomness, and nothing of terminals, SSH or
//! storage.
//!
//! Time and identifiers are arguments, so that a list of intents always replays to the same state.

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
pub(crate) mod serial;
pub mod state;
