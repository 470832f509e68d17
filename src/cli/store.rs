//! `ssh-chat store`: what everything but the host key is kept in.

use clap::Subcommand;

/// What to do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Make the table or the database that the configuration names, if there is none
    Init,
    /// Look whether it is there and can be used, and change nothing
    Check,
}
