//! Seeing inside: what the server says of itself to the one who runs it.

pub mod listener;
pub mod logs;
pub mod metrics;
