//! Seeing inside: what the server says of itself to the one who runs it.

pub mod logs;
