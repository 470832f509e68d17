//! The test harness: real servers, real clients, and ways to wait for their output.
//!
//! Nothing sleeps. Every wait has a deadline, and a failed wait prints the screen and the end of
//! the server's log.

mod changes;
pub mod faketime;
pub mod faults;
pub mod flaky;
pub mod http;
mod login;
pub mod moto;
mod pipe;
mod process;
pub mod script;
mod server;
mod terminal;
mod tidy;
mod wait;

pub use changes::Changes;
pub use login::Login;
pub use pipe::{Pipe, pipe};
pub use server::{ARGS, Finished, Home, Server, run};
pub use terminal::{Screen, Terminal};
pub use wait::{DEADLINE, contains};
