//! One person's terminal (or pipe).

pub mod peer;
