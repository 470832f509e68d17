//! ssh-chat: a private chat that anyone joins with `ssh host`.
//!
//! The map, from the outside in; arrows point down only, and `tests/it/architecture.rs` holds
//! that:
//!
//! - [`chat`] — the rules, pure.
//! - [`term`] — terminals, pure.
//! - [`text`] — text that is safe to show, pure.

pub mod chat;
pub mod term;
pub mod text;
