//! Everything that is tested from outside: the real program with real SSH clients, the contract
//! of the ports, the directions of dependencies. One binary, so that it is linked once.

// A test that can't go on panics, in what tests share too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

/// Who gets in and who may do what, as tables.
mod access;
/// Orders at the console, and hostile ones.
mod admin;
/// Coming in: refused, invited, approved, thrown out.
mod admission;
/// Which module may use which, and what the pure ones never touch.
mod architecture;
/// Keys that somebody else adds.
mod claims;
/// A wall clock that steps.
mod clock;
/// Figures for alarms.
mod cloudwatch;
/// What `doctor` says of a database file, and of AWS.
mod doctor;
/// What kill -9 leaves behind: everything that anybody saw.
mod durability;
/// Out means out.
mod eviction;
/// Commands on the `ssh` line.
mod exec;
/// DynamoDB that loses, delays and spoils requests.
mod faults;
/// Floods, silent connections, endless lines: what one client can't do to the others.
mod floods;
/// The server and the people.
mod harness;
/// Who somebody is when they come back.
mod identity;
/// The catalogue of events.
mod logs;
/// What the private listener tells.
mod metrics;
/// Everything out of one server and into another.
mod moving;
/// Which store a command opens, and when it makes one.
mod opening;
/// The bugs of the program that this one replaces.
mod original;
/// What goes on while the store does not answer.
mod outage;
/// More through a pipe than is allowed at once.
mod piping;
/// Terminals without escape sequences, and none at all.
mod plain;
/// Looking at a server from outside.
mod probe;
/// The host key in AWS Secrets Manager, and when it can't be had.
mod secrets_aws;
/// Readers that do not read.
mod slow;
/// A disk that is almost full, and commits that vanish.
mod space;
/// Starting, and refusing to start.
mod starting;
/// How the server is, told to operators.
mod status;
/// Signals: stopping and reloading.
mod stopping;
/// The contract of the store port.
mod store;
/// What happens when a part of the server panics.
mod supervision;
/// What systemd gives the server, and what it is told.
mod systemd;
/// What people say and see, as transcripts.
mod talking;
/// Typing, editing and what the terminal looks like meanwhile.
mod terminal;
/// The key page: what it lets in and what not.
mod web;
