//! Names of people and rooms: which are valid, which can be chosen, which look alike.

use std::fmt;
use std::sync::Arc;

/// Why a name is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It's empty.
    #[error("a name can't be empty")]
    Empty,
    /// It's longer than [`MAX_NAME`].
    #[error("a name has at most {MAX_NAME} characters, this one has {0}")]
    TooLong(usize),
    /// It has a character outside the alphabet.
    #[error("a name has the characters a-z 0-9 _ - only, not {0:?}")]
    Character(char),
    /// It doesn't begin with a letter.
    #[error("a name begins with a letter, not with {0:?}")]
    Start(char),
    /// It's a reserved word, or looks like one.
    #[error("the name {0} is reserved (it could be mistaken for the server or an operator)")]
    Reserved(String),
    /// It looks like a guest's name.
    #[error("names like {0} are given to guests")]
    Guest(String),
}

/// The longest name, in characters (and bytes: names are ASCII).
pub const MAX_NAME: usize = 32;

/// The prefix of guests' names.
const GUEST: &str = "guest-";

/// Names that can't be chosen, nor can any name that looks like one of them.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    // They claim a role, or to speak for the server's operator.
    "abuse", "admin", "administrator", "administrators", "admins", "hostmaster", "mod",
    "moderator", "moderators", "mods", "official", "op", "operator", "operators", "ops", "owner",
    "owners", "postmaster", "root", "security", "staff", "superuser", "support", "sysadmin",
    "sysop", "webmaster",
    // The product's own terms, in lists, notices and the audit log.
    "bot", "bots", "chat", "client", "console", "daemon", "guest", "guests", "host", "lobby",
    "member", "members", "server", "service", "ssh-chat", "system", "web",
    // In place of a name, they mean someone else, many people or none.
    "all", "anybody", "anyone", "channel", "everybody", "everyone", "here", "me", "nobody",
    "none", "noone", "other", "others", "people", "somebody", "someone", "them", "they",
    "unknown", "we", "you", "yourself",
];

fn checked(raw: &str) -> Result<String, NameError> {
    let raw = raw.trim();
    let chars = raw.chars().count();
    if chars == 0 {
        return Err(NameError::Empty);
    }
    if chars > MAX_NAME {
        return Err(NameError::TooLong(chars));
    }
    let folded = raw.to_ascii_lowercase();
    match folded
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(folded),
    }
}

/// A name with similar characters made equal.
fn skeleton(name: &str) -> String {
    let mut skeleton = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '0' => skeleton.push('o'),
            '1' | 'i' => skeleton.push('l'),
            'm' => skeleton.push_str("rn"),
            'w' => skeleton.push_str("vv"),
            '-' => skeleton.push('_'),
            c => skeleton.push(c),
        }
    }
    skeleton
}

/// A person's name: 1 to [`MAX_NAME`] of `a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Parses a name that is being chosen. Upper case becomes lower case, and a leading `@` is
    /// dropped.
    pub fn new(raw: &str) -> Result<Name, NameError> {
        let name = Name::existing(raw)?;
        name.can_be_chosen().map(|()| name)
    }

    /// Parses the typed name of an account that may exist. It may be one that can't be chosen now.
    pub fn existing(raw: &str) -> Result<Name, NameError> {
        let raw = raw.trim();
        Name::stored(raw.strip_prefix('@').unwrap_or(raw))
    }

    /// Reads a stored name. It may be one that can't be chosen now.
    pub fn stored(raw: &str) -> Result<Name, NameError> {
        checked(raw).map(|name| Name(name.into()))
    }

    /// Checks whether the name can be chosen by someone who doesn't have it.
    pub fn can_be_chosen(&self) -> Result<(), NameError> {
        let first = self.0.chars().next();
        if let Some(first) = first.filter(|c| !c.is_ascii_lowercase()) {
            return Err(NameError::Start(first));
        }
        if self.disguise().starts_with("guest_") {
            return Err(NameError::Guest(self.0.to_string()));
        }
        let looks = |name: &Name| name.disguise().replace('_', "");
        let own = looks(self);
        if RESERVED
            .iter()
            .any(|word| looks(&Name((*word).into())) == own)
        {
            return Err(NameError::Reserved(self.0.to_string()));
        }
        Ok(())
    }

    /// A guest's name: `guest-` and four characters that can't be confused.
    pub fn guest(random: u32) -> Name {
        const ALPHABET: [char; 31] = [
            'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't',
            'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7', '8', '9',
        ];
        let mut name = String::from(GUEST);
        let mut rest = random as usize;
        for _ in 0..4 {
            name.extend(ALPHABET.get(rest % ALPHABET.len()));
            rest /= ALPHABET.len();
        }
        Name(name.into())
    }

    /// Whether it's a guest's name, which can't be chosen.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with(GUEST)
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with look-alike characters made equal. No two accounts have names with the same
    /// skeleton (the idea of UTS #39 §4, for this small alphabet).
    pub fn skeleton(&self) -> String {
        skeleton(&self.0)
    }

    /// The skeleton with digits read as letters, to find disguised reserved names. Skeletons are
    /// stored, so they can't be as strict.
    fn disguise(&self) -> String {
        let skeleton = self.skeleton();
        let undone = skeleton.chars().map(|c| match c {
            '3' => 'e',
            '4' => 'a',
            '5' => 's',
            '7' => 't',
            '8' => 'b',
            c => c,
        });
        undone.collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0)
    }
}

/// A room's name: 1 to [`MAX_NAME`] of `a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The name of the lobby.
    pub const LOBBY: &str = "lobby";

    /// The lobby, which everyone starts in and can't leave.
    pub fn lobby() -> RoomName {
        RoomName(RoomName::LOBBY.into())
    }

    /// Parses a typed name. Upper case becomes lower case, and a leading `#` is dropped.
    pub fn new(raw: &str) -> Result<RoomName, NameError> {
        let raw = raw.trim();
        checked(raw.strip_prefix('#').unwrap_or(raw)).map(|name| RoomName(name.into()))
    }

    /// The name with look-alike characters made equal, as for [`Name::skeleton`]. No room is created
    /// with the skeleton of another.
    pub fn skeleton(&self) -> String {
        skeleton(&self.0)
    }

    /// The name, in lower case, without `#`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_folded() {
        let cases = [
            ("alice", Ok("alice")),
            (" Alice ", Ok("alice")),
            ("@bob", Ok("bob")),
            ("a_b-9", Ok("a_b-9")),
            ("", Err(NameError::Empty)),
            ("@", Err(NameError::Empty)),
            ("al ice", Err(NameError::Character(' '))),
            ("аlice", Err(NameError::Character('а'))),
            ("a\u{1b}[31m", Err(NameError::Character('\u{1b}'))),
            ("System", Err(NameError::Reserved("system".into()))),
            ("1abc", Err(NameError::Start('1'))),
            ("-x", Err(NameError::Start('-'))),
            ("_x", Err(NameError::Start('_'))),
            ("guest-abcd", Err(NameError::Guest("guest-abcd".into()))),
        ];
        for (raw, expected) in cases {
            let got = Name::new(raw);
            assert_eq!(
                got.as_ref().map(Name::as_str),
                expected.as_ref().map(|s| *s),
                "{raw:?}"
            );
        }
        assert_eq!(Name::new(&"x".repeat(33)), Err(NameError::TooLong(33)));
    }

    /// What claims an office, or stands in a name's place in the product's own words, can't be
    /// chosen in any disguise; who has it already keeps it.
    #[test]
    fn reserved_names_are_known_by_their_looks() {
        let disguised = [
            "every0ne",
            "systern",
            "sy5tem",
            "y0u",
            "0perator",
            "oper4tor",
            "adm1n",
            "Adrnin",
            "r00t",
            "h0st",
            "vveb",
            "rn0d",
            "ssh_chat",
            "sshchat",
            "sys-tem",
            "operator_",
            "n0b0dy",
            "l0bby",
            "lo88y",
            "st4ff",
            "supp0rt",
            "b0t",
            "gue5t",
            "gu3st-abcd",
            "guest_abcd",
            "5ystem",
            "c0ns0le",
        ];
        for raw in RESERVED.iter().chain(&disguised) {
            assert!(Name::new(raw).is_err(), "{raw}");
            assert_eq!(
                Name::existing(&format!("@{raw}")),
                Name::stored(&raw.to_lowercase()),
                "{raw}"
            );
        }
        for raw in [
            "alice", "al", "a1", "opal", "modest", "hostess", "guesty", "guest1", "webb", "rob0t",
            "operetta", "rooter", "youri", "meg", "allison", "mia", "boto", "x",
        ] {
            assert!(Name::new(raw).is_ok(), "{raw}");
        }
        for random in 0..100 {
            assert!(Name::guest(random).is_guest());
        }
    }

    #[test]
    fn look_alikes_share_a_skeleton() {
        for (a, b) in [
            ("bob1", "bobl"),
            ("o0o", "ooo"),
            ("tim", "tirn"),
            ("a-b", "a_b"),
        ] {
            assert_eq!(
                Name::new(a).unwrap().skeleton(),
                Name::new(b).unwrap().skeleton()
            );
        }
        assert_ne!(
            Name::new("bob").unwrap().skeleton(),
            Name::new("rob").unwrap().skeleton()
        );
    }
}
