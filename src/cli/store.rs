//! `ssh-chat store`: what everything but the host key is kept in.

use clap::Subcommand;

/// What to do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum StoreCommand {
    /// Make the table or the database that the configuration names, if there is none
    Init,
    /// Look whether it is there and can be used, and change nothing
    Check,
    /// Start again although acknowledged commits are missing, once a start has refused because of
    /// that; says what is lost
    AcceptLoss,
}

/// How a command opens the store. Only the last two make what isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read. It must exist, and nothing in it changes.
    Read,
    /// To write. It must exist.
    Write,
    /// To write. A database is made if there is none; a table, which costs money and has its place
    /// in Terraform, must exist.
    Import,
    /// To write. A database or a table is made if there is none: somebody asked for that.
    Create,
}

impl OpenMode {
    /// To write, with `--create` or without.
    pub(super) fn writing(create: bool) -> OpenMode {
        if create {
            OpenMode::Create
        } else {
            OpenMode::Write
        }
    }
}
