//! Descriptions of people and invites: the same text on a terminal and for
//! `ssh host COMMAND`.

use std::time::Duration;

use super::zone::Zone;
use crate::chat::access::Role;
use crate::chat::ids::{AccountId, Time};
use crate::chat::intent::PersonInfo;
use crate::chat::invite::Invite;

/// `1 person` or `3 people`.
pub(super) fn people(count: usize) -> String {
    if count == 1 {
        "1 person".to_owned()
    } else {
        format!("{count} people")
    }
}

/// Facts about a person besides the name; `me` is the reader.
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
        facts.push(format!("{} sessions", person.sessions));
    }
    match (&person.away, person.silent_for) {
        (Some(reason), _) if reason.is_empty() => facts.push("away".to_owned()),
        (Some(reason), _) => facts.push(format!("away: {reason}")),
        (None, Some(silent)) => facts.push(format!("spoke {} ago", approximate(silent))),
        (None, None) => {}
    }
    facts
}

/// What an invite grants, and until when.
pub(super) fn invite(invite: &Invite, zone: &Zone, now: Time) -> String {
    let until = zone.moment(invite.expires, now);
    let Invite {
        left, uses, role, ..
    } = invite;
    format!("{left} of {uses} uses left, expires {until}, role {role}")
}

/// A duration in its largest unit that fits.
pub(super) fn approximate(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
