//! What there is to say about people and invites, in the same words on a terminal and on the
//! `ssh` line; and the bounds that both share.

use std::time::Duration;

use super::zone::Zone;
use crate::chat::access::Role;
use crate::chat::ids::{AccountId, Time};
use crate::chat::intent::PersonInfo;
use crate::chat::invite::Invite;

/// The longest topic, in characters.
pub(super) const TOPIC: usize = 200;
/// How many messages of history are shown unless told.
pub(super) const HISTORY: usize = 50;
/// How many messages of history are shown at the most.
pub(super) const MAX_HISTORY: usize = 500;
/// How many finds a search shows.
pub(super) const FOUND: usize = 30;

/// What there is to say about somebody beside the name; `me` is who is told.
pub(super) fn person(person: &PersonInfo, me: AccountId) -> Vec<String> {
    let mut facts = Vec::new();
    if person.account == me {
        facts.push("you".to_owned());
    }
    if person.role != Role::Member {
        facts.push(person.role.to_string());
    }
    if person.muted {
        facts.push("muted".to_owned());
    }
    if person.bot {
        facts.push("bot".to_owned());
    }
    if person.sessions > 1 {
        facts.push(format!("{} terminals", person.sessions));
    }
    match (&person.away, person.silent_for) {
        (Some(reason), _) if reason.is_empty() => facts.push("away".to_owned()),
        (Some(reason), _) => facts.push(format!("away: {reason}")),
        (None, Some(silent)) => facts.push(format!("spoke {} ago", ago(silent))),
        (None, None) => {}
    }
    facts
}

/// What an invite is good for.
pub(super) fn invite(invite: &Invite, zone: &Zone, now: Time) -> String {
    let until = zone.moment(invite.expires, now);
    let Invite {
        left, uses, role, ..
    } = invite;
    format!("{left} of {uses} uses left, until {until}, makes a {role}")
}

/// A length of time in its largest fitting unit.
pub(super) fn ago(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
