//! One person's terminal (or pipe): from bytes to intents, from events to what they see.
//!
//! [`machine::Machine`] is pure: bytes, events and ticks go in; bytes to send and [`Effect`]s
//! come out. [`driver`] is the one loop that connects it to a channel, the hub and the store.
//!
//! [`Effect`]: machine::Effect

mod answers;
mod claims;
mod commands;
mod complete;
pub mod display;
mod driver;
mod entry;
mod exec;
mod facts;
mod jobs;
pub mod machine;
mod parting;
pub mod peer;
mod piped;
mod prompt;
mod refused;
mod reports;
mod requests;
mod rooms;
mod setup;
pub mod sign_in;
pub mod start;
mod status;
pub mod theme;
mod unsent;
pub mod usage;
mod waits;
mod zone;

pub use exec::at_console;
