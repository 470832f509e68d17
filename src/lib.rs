//! ssh-chat: a private chat that anyone joins with `ssh host`.
//!
//! The modules, from the outside in. Dependencies point downward only, which
//! `tests/it/architecture.rs` checks:
//!
//! - [`cli`] — the command line.
//! - [`app`] — wires everything together; the only module that names adapters.
//! - [`config`] — settings, from raw strings to validated types.
//! - [`telemetry`] — logs, metrics.
//! - [`ssh`] — the listener, the transport, authentication, channels.
//! - [`session`] — one terminal: bytes to intents, events to bytes.
//! - [`web`] — the registration page for people with an invite.
//! - [`access`] — access control: logins, bans, operators' orders.
//! - [`keys`] — reading public keys, and checking their strength.
//! - [`hub`] — the single writer of the chat's state: decide, save, then show.
//! - [`store`] — the port to the data store, and its adapters.
//! - [`aws`] — AWS client, error classification, retries.
//! - [`secrets`] — the port to the host key, and its adapters.
//! - [`clock`] — the only module that reads the clocks.
//! - [`http_server`] — a bounded HTTP/1.1 server, for [`web`] and [`telemetry`].
//! - [`rate_limit`] — rate limiters, pure.
//! - [`chat`] — the chat's domain, pure.
//! - [`term`] — terminals, pure.
//! - [`text`] — text that is safe to show, pure.

pub mod access;
pub mod app;
pub mod aws;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http_server;
pub mod hub;
pub mod keys;
pub mod rate_limit;
pub mod secrets;
pub mod session;
pub mod ssh;
pub mod store;
pub mod telemetry;
pub mod term;
pub mod text;
pub mod web;
