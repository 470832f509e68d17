//! Judging what was seen.

use std::net::SocketAddr;

use super::look::{Facts, Folder, Port, Seen};
use super::{Check, DiskSpace, Outcome};
use crate::chat::ids::Time;
use crate::cli::console::shown;
use crate::config::{AccessMode, ConfigErrors};
use crate::store::StoreError;

const MIB: u64 = 1024 * 1024;
/// With less than this, somebody should make room.
const NARROW: u64 = 1024 * MIB;

/// 2024-01-01: no clock that is right is earlier.
const EARLIEST: Time = Time(1_704_067_200_000);
/// 2100-01-01.
const LATEST: Time = Time(4_102_444_800_000);
/// How far an entry may be in the future before the clock is suspected, in milliseconds.
const DRIFT: u64 = 5 * 60_000;

const ADD_OPERATOR: &str = "ssh-chat keys add --account NAME --role operator KEY.pub";
/// The same before there is a database.
const ADD_FIRST_OPERATOR: &str =
    "ssh-chat keys add --create --account NAME --role operator KEY.pub";

/// Judges everything, in the order in which the server needs it.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let file = facts.file.as_ref();
    let found = file.map_or("no file, only defaults".to_owned(), |file| {
        file.display().to_string()
    });
    let mut checks = vec![ok("configuration", found), folder(facts), host_key(facts)];
    checks.extend(database(&facts.store));
    if facts.folder != Folder::Unused {
        checks.push(space(facts.space));
    }
    if facts.systemd.is_empty() {
        for (address, port) in &facts.ports {
            checks.push(listening(*address, port, facts));
        }
    } else {
        checks.push(activated(facts));
    }
    checks.push(operators(facts));
    checks.extend(names(facts));
    checks.push(clock(facts));
    checks
}

/// The one check there is when the configuration is wrong.
pub(super) fn configuration(errors: &ConfigErrors) -> Check {
    let mend = "mend these; `ssh-chat check-config` shows them again, and nothing else can be \
                checked before";
    fail("configuration", errors.to_string(), mend)
}

pub(super) fn check(name: &'static str, outcome: Outcome, found: impl Into<String>) -> Check {
    let found = found.into();
    Check {
        name,
        outcome,
        found,
        mend: None,
    }
}

pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Check {
    check(name, Outcome::Ok, found)
}

pub(super) fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
    let mend = Some(mend.into());
    Check {
        mend,
        ..check(name, Outcome::Warn, found)
    }
}

pub(super) fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
    let mend = Some(mend.into());
    Check {
        mend,
        ..check(name, Outcome::Fail, found)
    }
}

fn folder(facts: &Facts) -> Check {
    const NAME: &str = "data folder";
    let path = facts.data_dir.display();
    match &facts.folder {
        Folder::Unused => ok(NAME, "none is used: all is kept in AWS"),
        Folder::Missing => ok(
            NAME,
            format!("{path} is not there yet; the first start makes it"),
        ),
        Folder::OtherThing => fail(
            NAME,
            format!("{path} is no folder"),
            "name another with data_dir, or move away what is there",
        ),
        Folder::Hidden(why) => fail(
            NAME,
            format!("{path} can't be looked at: {why}"),
            "run this as the user that runs the server, such as sudo -u ssh-chat ssh-chat doctor",
        ),
        Folder::There { mode, .. } if mode & 0o022 != 0 => fail(
            NAME,
            format!("others can write into {path} (mode {mode:04o})"),
            format!("chmod 700 {path}"),
        ),
        Folder::There { mode, .. } if mode & 0o055 != 0 => warn(
            NAME,
            format!("others can look into {path} (mode {mode:04o})"),
            format!("chmod 700 {path}"),
        ),
        Folder::There { owner, .. } => match facts.user {
            Some(user) if user != *owner && user != 0 => warn(
                NAME,
                format!("{path} belongs to user {owner}, and you are {user}"),
                format!(
                    "run this as the user that runs the server: sudo -u '#{owner}' ssh-chat doctor"
                ),
            ),
            _ => ok(NAME, format!("{path}, its owner's only (user {owner})")),
        },
    }
}

fn host_key(facts: &Facts) -> Check {
    const NAME: &str = "host key";
    let known = match &facts.store {
        Seen::Open {
            people: Ok(census), ..
        } => census.members,
        _ => 0,
    };
    match &facts.host_key {
        Ok(Some(key)) => ok(NAME, key.as_str()),
        Ok(None) if known > 0 => fail(
            NAME,
            "there is none, but people are known: a new one is made on the next start, and every \
             client will warn that the server has changed",
            match &facts.secret {
                Some(secret) => {
                    format!("make the earlier version of the secret {secret} current again")
                }
                None => format!(
                    "restore host_key in {} from a backup",
                    facts.data_dir.display()
                ),
            },
        ),
        Ok(None) => ok(NAME, "there is none yet; the first start makes it"),
        // The words say what to do.
        Err(why) => check(NAME, Outcome::Fail, why),
    }
}

fn database(store: &Seen) -> Vec<Check> {
    const NAME: &str = "database";
    const WRITING: &str = "writing";
    let (damage, writable) = match store {
        Seen::NotYet => return vec![ok(NAME, "there is none yet; the first start makes it")],
        Seen::Closed(why) => {
            let mend = "the sentence above says what is wrong; if the file is damaged, restore it \
                        from a backup";
            let skipped = check(WRITING, Outcome::Skip, "the database is not open");
            return vec![fail(NAME, why, mend), skipped];
        }
        Seen::Open {
            damage, writable, ..
        } => (damage, writable),
    };
    let whole = match damage {
        Ok(None) => ok(NAME, "it opens"),
        Ok(Some(found)) if found.is_empty() => ok(
            NAME,
            "it opens, and all of it was read without finding damage",
        ),
        Err(error) => check(
            NAME,
            Outcome::Skip,
            format!("it opens, but couldn't be checked for damage: {error}"),
        ),
        Ok(Some(found)) => fail(
            NAME,
            format!("it is damaged: {}", found.join("\n")),
            "stop the server, save a copy of the file, and restore it from a backup; \
             `ssh-chat export` saves what can still be read",
        ),
    };
    let written = match writable {
        Ok(()) => ok(WRITING, "it can be written"),
        Err(error @ StoreError::Full) => fail(WRITING, error.to_string(), "make room"),
        Err(error) => fail(
            WRITING,
            error.to_string(),
            "run this as the user that runs the server; look at the owner of the files and at the \
             space on the disk",
        ),
    };
    vec![whole, written]
}

fn space(space: Option<DiskSpace>) -> Check {
    const NAME: &str = "disk space";
    let Some(DiskSpace { free, reserve }) = space else {
        return check(NAME, Outcome::Skip, "not known; `df -h` tells");
    };
    let found = format!("{} MiB are free", free / MIB);
    if free < reserve {
        let found = format!(
            "{found}, less than limits.disk_reserve ({} MiB): new messages, accounts and rooms are \
             refused",
            reserve / MIB
        );
        return fail(NAME, found, "make room; it's noticed within a second");
    }
    match free {
        ..NARROW => warn(
            NAME,
            found,
            format!(
                "make room: with less than {} MiB (limits.disk_reserve), new messages are refused",
                reserve / MIB
            ),
        ),
        NARROW.. => ok(NAME, found),
    }
}

fn listening(address: SocketAddr, port: &Port, facts: &Facts) -> Check {
    const NAME: &str = "listen";
    let number = address.port();
    match (port, facts.running) {
        // What keeps nothing in a folder has no lock there to tell that it runs.
        (Port::Chat, false) if facts.folder != Folder::Unused => fail(
            NAME,
            format!("{address} is held by an ssh-chat that does not use this data folder"),
            "run this with the configuration of that one, or listen elsewhere",
        ),
        (Port::Chat, _) => ok(NAME, format!("ssh-chat answers on {address}")),
        (Port::InUse, true) => ok(NAME, format!("{address} is held, and a server runs")),
        (Port::Free, _) if number == 0 => ok(NAME, format!("{address} is any free port")),
        (Port::Free, false) => ok(NAME, format!("{address} is free")),
        (Port::Free, true) => warn(
            NAME,
            format!("{address} is free, though a server runs"),
            "it listens elsewhere; restart it if the setting was changed",
        ),
        (Port::InUse, false) => fail(
            NAME,
            format!("{address} is held by something else, or twice in the list"),
            format!("see what it is with `ss -ltnp sport = :{number}`, or listen elsewhere"),
        ),
        (Port::Denied, _) => warn(
            NAME,
            format!("this user may not listen on {address}"),
            "a service gets it from systemd; without one, choose a port from 1024 on",
        ),
        (Port::NotOurs, _) => fail(
            NAME,
            format!("{address} is no address of this machine"),
            "listen on 0.0.0.0 or [::] for all of its addresses",
        ),
        (Port::Wrong(why), _) => fail(
            NAME,
            format!("{address} can't be listened on: {why}"),
            "choose another address",
        ),
    }
}

/// With a socket unit it is systemd that listens. What the setting says is what people are told,
/// by commands that systemd did not start.
fn activated(facts: &Facts) -> Check {
    const NAME: &str = "listen";
    let list = |all: &mut dyn Iterator<Item = &SocketAddr>| {
        let all: Vec<String> = all.map(ToString::to_string).collect();
        all.join(", ")
    };
    let by_systemd = list(&mut facts.systemd.iter());
    let set = || facts.ports.iter().map(|(address, _)| address);
    let same = set().count() == facts.systemd.len() && set().all(|a| facts.systemd.contains(a));
    if same {
        return ok(
            NAME,
            format!("systemd listens on {by_systemd} for the server"),
        );
    }
    warn(
        NAME,
        format!(
            "systemd listens on {by_systemd} for the server, and `listen` is {}",
            list(&mut set())
        ),
        "say the same in `listen` as in ssh-chat.socket: invites and known_hosts lines show it",
    )
}

fn operators(facts: &Facts) -> Check {
    const NAME: &str = "operators";
    let census = match &facts.store {
        Seen::NotYet => None,
        Seen::Closed(_) => return check(NAME, Outcome::Skip, "the database is not open"),
        Seen::Open { people: Ok(c), .. } => Some(c),
        Seen::Open { people: Err(e), .. } => return check(NAME, Outcome::Skip, e.to_string()),
    };
    let (members, operators) = census.map_or((0, 0), |c| (c.members, c.operators));
    let configured = facts.operator_keys;
    if operators > 0 || configured > 0 {
        let found = format!("{operators} with a key, and {configured} in operator_keys");
        return ok(NAME, found);
    }
    let add = match facts.store {
        Seen::NotYet => ADD_FIRST_OPERATOR,
        _ => ADD_OPERATOR,
    };
    match (facts.access, members) {
        (AccessMode::Open, _) => warn(NAME, "there is none: nobody can keep order", add),
        (AccessMode::Allowlist, 0) => fail(NAME, "nobody can come in at all", add),
        (AccessMode::Allowlist, _) => {
            fail(NAME, "there is none: nobody can let anybody in or out", add)
        }
    }
}

/// Names from before they were reserved, or from an archive.
fn names(facts: &Facts) -> Option<Check> {
    /// How many are named.
    const LISTED: usize = 20;
    let Seen::Open {
        people: Ok(census), ..
    } = &facts.store
    else {
        return None;
    };
    let odd = &census.odd_names;
    if odd.is_empty() {
        return None;
    }
    let mut found = match odd.len() {
        1 => "1 account has a name that can't be chosen any more".to_owned(),
        count => format!("{count} accounts have names that can't be chosen any more"),
    };
    for name in odd.iter().take(LISTED) {
        found.push('\n');
        found.push_str(name);
    }
    if let more @ 1.. = odd.len().saturating_sub(LISTED) {
        found = format!("{found}\nand {more} more");
    }
    let mend =
        "they keep working; an operator gives one another name in the chat: /rename NAME NEW";
    Some(warn("names", found, mend))
}

fn clock(facts: &Facts) -> Check {
    const NAME: &str = "clock";
    let mend = "set it; `timedatectl` shows whether it is kept right";
    let now = facts.now;
    let newest = match facts.store {
        Seen::Open { newest, .. } => newest,
        _ => None,
    };
    match newest {
        _ if !(EARLIEST..LATEST).contains(&now) => {
            fail(NAME, format!("it says {}", shown(now)), mend)
        }
        Some(newest) if now.left_until(newest) > DRIFT => warn(
            NAME,
            format!(
                "it says {}, but something was done at {}",
                shown(now),
                shown(newest)
            ),
            mend,
        ),
        _ => ok(NAME, shown(now)),
    }
}
