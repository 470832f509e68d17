//! ssh-chat: a private chat that anyone joins with `ssh host`.
//!
//! The map, from the outside in; arrows point down only, and `tests/it/architecture.rs` holds
//! that:
//!
//! - [`cli`] — the command line.
//! - [`app`] — puts the parts together; the only one that names adapters.
//! - [`config`] — raw settings to validated types.
//! - [`telemetry`] — logs, metrics.
//! - [`ssh`] — the listener, the transport, authentication, channels.
//! - [`session`] — one person's terminal: bytes to intents, events to bytes.
//! - [`web`] — the page where people with an invite register their keys.
//! - [`hub`] — the single writer: judges, saves, then shows.
//! - [`store`] — the port to what outlives the process, and its adapters.
//! - [`aws`] — the way to AWS, for the adapters that need it.
//! - [`secrets`] — the port to the host key, and its adapters.
//! - [`http_server`] — HTTP/1.1 with bounds, for [`web`] and [`telemetry`].
//! - [`rate_limit`] — how often something may happen, pure.
//! - [`chat`] — the rules, pure.
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
