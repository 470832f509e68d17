//! Who may enter.
//!
//! The one place that decides it. Today the door is open: everybody with a good key, and guests
//! where they are welcome. Allow-lists, invites and bans are to be asked here.

use russh::keys::{Algorithm, PublicKey};

use crate::chat::ids::Fingerprint;

use super::keys::{self, Refusal};

/// How somebody got in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// They proved to have this key.
    Key(Fingerprint),
    /// Without any.
    Guest,
}

/// What happens to somebody who comes without a key that could be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guest {
    /// They come in.
    Welcome,
    /// They come in once they have been told this.
    WelcomeAfter(String),
    /// They are told this and stay outside.
    Unwelcome(String),
}

/// The rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    /// Whether people may come in without a key.
    pub(super) guests: bool,
}

impl Door {
    /// Whether the owner of this key may come in, once they prove that it is theirs.
    #[expect(clippy::unused_self, reason = "rules about keys will be in here")]
    pub(super) fn key(self, key: &PublicKey, algorithm: &Algorithm) -> Result<Entry, Refusal> {
        keys::judge(key, algorithm).map(|()| Entry::Key(keys::fingerprint(key)))
    }

    /// Whether somebody may come in without a key. `refused`: why the last key that they
    /// offered could not be used, if they offered any.
    pub(super) fn guest(self, refused: Option<&Refusal>) -> Guest {
        match (self.guests, refused) {
            (true, None) => Guest::Welcome,
            (true, Some(refusal)) => {
                Guest::WelcomeAfter(format!("{refusal}\nUntil then you are a guest.\n"))
            }
            (false, Some(refusal)) => Guest::Unwelcome(format!("{refusal}\n")),
            (false, None) => Guest::Unwelcome(
                "This chat is for people with an SSH key, and your client offered none.\n\
                 Make one: ssh-keygen -t ed25519\n"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_told_what_was_wrong_with_their_key() {
        let refusal = Refusal::ShortRsa(2048);
        let open = Door { guests: true };
        let closed = Door { guests: false };
        assert_eq!(open.guest(None), Guest::Welcome);
        let Guest::WelcomeAfter(words) = open.guest(Some(&refusal)) else {
            panic!("a guest is welcome");
        };
        assert!(
            words.contains("2048 bits") && words.contains("guest"),
            "{words}"
        );
        for refused in [None, Some(&refusal)] {
            let Guest::Unwelcome(words) = closed.guest(refused) else {
                panic!("no guests here");
            };
            assert!(words.contains("ssh-keygen -t ed25519"), "{words}");
        }
    }
}
