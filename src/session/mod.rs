//! The session of one client, on a terminal or a pipe: from bytes to intents, and from events to
//! what the client sees.
//!
//! [`machine::Machine`] is pure: bytes, events and ticks go in; bytes to send and
//! [`machine::Effect`]s come out. [`driver`] is the event loop that connects it to a channel, the
//! hub and the store. `ssh host COMMAND` runs in [`exec`] instead.

mod answers;
mod claims;
mod completion;
mod composer;
mod context;
mod describe;
pub mod display;
mod driver;
mod exec;
pub mod machine;
pub mod peer;
mod pipe;
mod poll_set;
mod requests;
mod returned;
mod rooms;
pub mod service;
mod setup;
pub mod sign_in;
mod status;
mod store_jobs;
pub mod theme;
pub mod usage;
mod zone;

pub use exec::at_console;
