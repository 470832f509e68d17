//! What goes on while the store does not answer, and that all of it mends itself.

/// Who gets in.
mod authenticator;
/// What people see who are in, with OpenSSH.
mod sessions;
