//! Store outages: what keeps working, and recovery without a restart.

/// Who can log in.
mod authenticator;
/// What online users see, with OpenSSH.
mod sessions;
