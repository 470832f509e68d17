//! What the edge counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that any task may raise and any other read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What happened at the SSH port since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that the system handed over, whether then let in or refused.
    pub accepted: Count,
    /// Times that the system could not hand over a connection.
    pub accept_errors: Count,
    /// Refused: too many connections in all.
    pub refused_total: Count,
    /// Refused: too many connections from the same address.
    pub refused_per_address: Count,
    /// Refused: too many people at the door who have not logged in yet.
    pub refused_unauthenticated: Count,
    /// Refused: too many new connections from the same address.
    pub refused_rate: Count,
    /// Evicted for others, or cut early because there was little room, before they logged in.
    pub evicted: Count,
    /// Refused: the address failed too often.
    pub refused_penalty: Count,
    /// Refused: nobody from that address is served.
    pub refused_ban: Count,
    /// Logins.
    pub auth_ok: Count,
    /// Connections that tried to log in and did not.
    pub auth_failed: Count,
    /// Invite codes that let somebody in.
    pub invites_redeemed: Count,
    /// Invite codes that did not.
    pub invites_wrong: Count,
    /// Connections open now.
    pub open: Count,
}
