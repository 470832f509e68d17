//! The tests from outside: the real program with real SSH clients, the contract of the store ports,
//! and the directions of dependencies. One binary, so that it's linked only once.

// Tests fail by panicking, and so does the code they share.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

/// Who can log in and what they may do, as tables.
mod access;
/// `ssh-chat admin`, and hostile arguments.
mod admin;
/// Logging in: refused, invited, approved, removed.
mod admission;
/// Which module may use which, and what the pure ones never use.
mod architecture;
/// Keys that are added by another user.
mod claims;
/// A wall clock that steps.
mod clock;
/// Metrics for CloudWatch.
mod cloudwatch;
/// A disk that's almost full, and missing commits.
mod disk_space;
/// `doctor` on a database file, and on AWS.
mod doctor;
/// After kill -9, everything that anyone saw is still there.
mod durability;
/// Bans and removed keys end sessions at once.
mod eviction;
/// Commands with `ssh host COMMAND`.
mod exec;
/// DynamoDB behind a connection with faults.
mod faults;
/// Floods, silent connections, endless lines: one client's effect on the others.
mod floods;
/// Servers and clients for the tests.
mod harness;
/// The same key logs in as the same user.
mod identity;
/// The log reference against the code.
mod logs;
/// The private metrics listener.
mod metrics;
/// Export and import between servers.
mod migration;
/// Bugs of the original ssh-chat.
mod original;
/// What works while the store is down.
mod outage;
/// Pipes that send more than the rate limits allow.
mod pipes;
/// Terminals without escape sequences, and sessions without a terminal.
mod plain;
/// `ssh-chat probe`.
mod probe;
/// The host key in AWS Secrets Manager, and failures to read it.
mod secrets_aws;
/// Clients that stop reading.
mod slow_readers;
/// Starting, and refusing to start.
mod starting;
/// `/status`.
mod status;
/// Signals: shutdown and reload.
mod stopping;
/// The contract of the store ports.
mod store;
/// Which store a command opens, and when it creates one.
mod store_creation;
/// Panics in parts of the server.
mod supervision;
/// systemd: sockets, notifications, watchdog.
mod systemd;
/// Typing and editing at a terminal, and what it displays.
mod terminal;
/// Chat sessions as transcripts.
mod transcripts;
/// The key page: what it accepts and refuses.
mod web;
