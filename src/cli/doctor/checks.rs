//! The checks of everything but AWS: pure functions of the collected state.

use std::net::SocketAddr;

use super::state::{DataFolder, DatabaseState, PortState, SystemState};
use super::{CheckOutcome, CheckResult, DiskSpace};
use crate::chat::ids::Time;
use crate::cli::console::format_time;
use crate::config::{AccessMode, ConfigErrors};
use crate::store::StoreError;

const MIB: u64 = 1024 * 1024;
/// Free space below which there's a warning.
const LOW_SPACE: u64 = 1024 * MIB;

/// 2024-01-01. A correct clock is later.
const EARLIEST: Time = Time(1_704_067_200_000);
/// 2100-01-01.
const LATEST: Time = Time(4_102_444_800_000);
/// How far an audit entry can be in the future without a warning, in milliseconds.
const MAX_DRIFT: u64 = 5 * 60_000;

const ADD_OPERATOR: &str = "ssh-chat keys add --account NAME --role operator KEY.pub";
/// The same if there's no database yet.
const ADD_FIRST_OPERATOR: &str =
    "ssh-chat keys add --create --account NAME --role operator KEY.pub";

/// Runs all checks, in the order in which the server needs things.
pub(super) fn check_all(state: &SystemState) -> Vec<CheckResult> {
    let file = state.file.as_ref();
    let found = file.map_or("no file, only defaults".to_owned(), |file| {
        file.display().to_string()
    });
    let mut checks = vec![ok("configuration", found), folder(state), host_key(state)];
    checks.extend(database(&state.database));
    if state.folder != DataFolder::Unused {
        checks.push(space(state.space));
    }
    if state.systemd.is_empty() {
        for (address, port) in &state.ports {
            checks.push(listening(*address, port, state));
        }
    } else {
        checks.push(activated(state));
    }
    checks.push(operators(state));
    checks.extend(names(state));
    checks.push(clock(state));
    checks
}

/// The only result if the configuration is invalid.
pub(super) fn invalid_configuration(errors: &ConfigErrors) -> CheckResult {
    let fix = "fix these first; `ssh-chat check-config` shows them again. Nothing else can be checked \
               until then";
    fail("configuration", errors.to_string(), fix)
}

pub(super) fn check(
    name: &'static str,
    outcome: CheckOutcome,
    finding: impl Into<String>,
) -> CheckResult {
    CheckResult {
        name,
        outcome,
        finding: finding.into(),
        fix: None,
    }
}

pub(super) fn ok(name: &'static str, finding: impl Into<String>) -> CheckResult {
    check(name, CheckOutcome::Ok, finding)
}

pub(super) fn warn(
    name: &'static str,
    finding: impl Into<String>,
    fix: impl Into<String>,
) -> CheckResult {
    let fix = Some(fix.into());
    CheckResult {
        fix,
        ..check(name, CheckOutcome::Warn, finding)
    }
}

pub(super) fn fail(
    name: &'static str,
    finding: impl Into<String>,
    fix: impl Into<String>,
) -> CheckResult {
    let fix = Some(fix.into());
    CheckResult {
        fix,
        ..check(name, CheckOutcome::Fail, finding)
    }
}

fn folder(state: &SystemState) -> CheckResult {
    const NAME: &str = "data folder";
    let path = state.data_dir.display();
    match &state.folder {
        DataFolder::Unused => ok(NAME, "not used: everything is in AWS"),
        DataFolder::Missing => ok(
            NAME,
            format!("{path} doesn't exist yet; the first start creates it"),
        ),
        DataFolder::NotAFolder => fail(
            NAME,
            format!("{path} isn't a folder"),
            "set data_dir to another path, or move this file away",
        ),
        DataFolder::Inaccessible(why) => fail(
            NAME,
            format!("can't access {path}: {why}"),
            "run this as the server's user: sudo -u ssh-chat ssh-chat doctor",
        ),
        DataFolder::Present { mode, .. } if mode & 0o022 != 0 => fail(
            NAME,
            format!("other users can write to {path} (mode {mode:04o})"),
            format!("chmod 700 {path}"),
        ),
        DataFolder::Present { mode, .. } if mode & 0o055 != 0 => warn(
            NAME,
            format!("other users can read {path} (mode {mode:04o})"),
            format!("chmod 700 {path}"),
        ),
        DataFolder::Present { owner, .. } => match state.user {
            Some(user) if user != *owner && user != 0 => warn(
                NAME,
                format!("{path} belongs to user {owner}, but you are user {user}"),
                format!("run this as the server's user: sudo -u '#{owner}' ssh-chat doctor"),
            ),
            _ => ok(NAME, format!("{path}, private to user {owner}")),
        },
    }
}

fn host_key(state: &SystemState) -> CheckResult {
    const NAME: &str = "host key";
    let known = match &state.database {
        DatabaseState::Open {
            accounts: Ok(accounts),
            ..
        } => accounts.with_keys,
        _ => 0,
    };
    match &state.host_key {
        Ok(Some(key)) => ok(NAME, key.as_str()),
        Ok(None) if known > 0 => fail(
            NAME,
            "missing, although there are accounts: the next start will create a new one, and every \
             client will warn that the host key has changed",
            match &state.secret {
                Some(secret) => {
                    format!("restore the previous version of the secret {secret}")
                }
                None => format!(
                    "restore host_key in {} from a backup",
                    state.data_dir.display()
                ),
            },
        ),
        Ok(None) => ok(NAME, "there is none yet; the first start creates it"),
        // The message tells how to fix it.
        Err(why) => check(NAME, CheckOutcome::Fail, why),
    }
}

fn database(database: &DatabaseState) -> Vec<CheckResult> {
    const NAME: &str = "database";
    const WRITING: &str = "writing";
    let (damage, writable) = match database {
        DatabaseState::Missing => {
            return vec![ok(NAME, "there is none yet; the first start creates it")];
        }
        DatabaseState::Unavailable(why) => {
            let fix = "see the message above; if the file is damaged, restore it from a backup";
            let skipped = check(WRITING, CheckOutcome::Skip, "the database isn't open");
            return vec![fail(NAME, why, fix), skipped];
        }
        DatabaseState::Open {
            damage, writable, ..
        } => (damage, writable),
    };
    let whole = match damage {
        Ok(None) => ok(NAME, "it opens"),
        Ok(Some(found)) if found.is_empty() => {
            ok(NAME, "it opens, and a full check found no damage")
        }
        Err(error) => check(
            NAME,
            CheckOutcome::Skip,
            format!("it opens, but couldn't be checked for damage: {error}"),
        ),
        Ok(Some(found)) => fail(
            NAME,
            format!("it's damaged: {}", found.join("\n")),
            "stop the server, copy the file, and restore a backup; `ssh-chat export` saves what can still \
             be read",
        ),
    };
    let written = match writable {
        Ok(()) => ok(WRITING, "it's writable"),
        Err(error @ StoreError::Full) => fail(WRITING, error.to_string(), "free up disk space"),
        Err(error) => fail(
            WRITING,
            error.to_string(),
            "run this as the server's user, and check the owner of the files and the free disk space",
        ),
    };
    vec![whole, written]
}

fn space(space: Option<DiskSpace>) -> CheckResult {
    const NAME: &str = "disk space";
    let Some(DiskSpace { free, reserve }) = space else {
        return check(NAME, CheckOutcome::Skip, "unknown; check it with `df -h`");
    };
    let found = format!("{} MiB free", free / MIB);
    if free < reserve {
        let found = format!(
            "{found}, less than limits.disk_reserve ({} MiB): new messages, accounts and rooms are \
             rejected",
            reserve / MIB
        );
        return fail(
            NAME,
            found,
            "free up disk space; the server notices within a second",
        );
    }
    match free {
        ..LOW_SPACE => warn(
            NAME,
            found,
            format!(
                "free up disk space: below {} MiB (limits.disk_reserve), new messages are rejected",
                reserve / MIB
            ),
        ),
        LOW_SPACE.. => ok(NAME, found),
    }
}

fn listening(address: SocketAddr, port: &PortState, state: &SystemState) -> CheckResult {
    const NAME: &str = "listen";
    let number = address.port();
    match (port, state.running) {
        // Without a data folder, there is no lock that shows whether the server runs.
        (PortState::SshChat, false) if state.folder != DataFolder::Unused => fail(
            NAME,
            format!("{address} is used by an ssh-chat with another data folder"),
            "use that server's configuration, or listen on another address",
        ),
        (PortState::SshChat, _) => ok(NAME, format!("ssh-chat answers on {address}")),
        (PortState::InUse, true) => ok(
            NAME,
            format!("{address} is in use, and the server is running"),
        ),
        (PortState::Free, _) if number == 0 => ok(NAME, format!("{address} picks any free port")),
        (PortState::Free, false) => ok(NAME, format!("{address} is free")),
        (PortState::Free, true) => warn(
            NAME,
            format!("{address} is free, although the server is running"),
            "it listens on another address; restart it if the setting was changed",
        ),
        (PortState::InUse, false) => fail(
            NAME,
            format!("{address} is used by another program, or listed twice"),
            format!("find it with `ss -ltnp sport = :{number}`, or listen on another address"),
        ),
        (PortState::Denied, _) => warn(
            NAME,
            format!("this user isn't allowed to listen on {address}"),
            "under systemd, the socket unit opens it; otherwise, choose a port from 1024 up",
        ),
        (PortState::NotLocal, _) => fail(
            NAME,
            format!("{address} isn't an address of this machine"),
            "listen on 0.0.0.0 or [::] for all addresses",
        ),
        (PortState::Unusable(why), _) => fail(
            NAME,
            format!("can't listen on {address}: {why}"),
            "choose another address",
        ),
    }
}

/// With a socket unit, systemd listens. The setting is still shown to users, by commands that systemd
/// didn't start.
fn activated(state: &SystemState) -> CheckResult {
    const NAME: &str = "listen";
    let list = |all: &mut dyn Iterator<Item = &SocketAddr>| {
        let all: Vec<String> = all.map(ToString::to_string).collect();
        all.join(", ")
    };
    let by_systemd = list(&mut state.systemd.iter());
    let set = || state.ports.iter().map(|(address, _)| address);
    let same = set().count() == state.systemd.len() && set().all(|a| state.systemd.contains(a));
    if same {
        return ok(
            NAME,
            format!("systemd listens on {by_systemd} for the server"),
        );
    }
    warn(
        NAME,
        format!(
            "systemd listens on {by_systemd} for the server, but `listen` is {}",
            list(&mut set())
        ),
        "set `listen` to the address in ssh-chat.socket: invites and known_hosts lines show it",
    )
}

fn operators(state: &SystemState) -> CheckResult {
    const NAME: &str = "operators";
    let accounts = match &state.database {
        DatabaseState::Missing => None,
        DatabaseState::Unavailable(_) => {
            return check(NAME, CheckOutcome::Skip, "the database isn't open");
        }
        DatabaseState::Open {
            accounts: Ok(c), ..
        } => Some(c),
        DatabaseState::Open {
            accounts: Err(e), ..
        } => return check(NAME, CheckOutcome::Skip, e.to_string()),
    };
    let (with_keys, operators) = accounts.map_or((0, 0), |c| (c.with_keys, c.operators));
    let configured = state.operator_keys;
    if operators > 0 || configured > 0 {
        let found = format!("{operators} with a key, {configured} in operator_keys");
        return ok(NAME, found);
    }
    let add = match state.database {
        DatabaseState::Missing => ADD_FIRST_OPERATOR,
        _ => ADD_OPERATOR,
    };
    match (state.access, with_keys) {
        (AccessMode::Open, _) => warn(NAME, "there are none: no one can moderate", add),
        (AccessMode::Allowlist, 0) => fail(NAME, "no one can join", add),
        (AccessMode::Allowlist, _) => fail(
            NAME,
            "there are none: no one can admit or remove users",
            add,
        ),
    }
}

/// Names chosen before they were reserved, or imported from an archive.
fn names(state: &SystemState) -> Option<CheckResult> {
    /// How many are listed.
    const MAX_LISTED: usize = 20;
    let DatabaseState::Open {
        accounts: Ok(accounts),
        ..
    } = &state.database
    else {
        return None;
    };
    let invalid = &accounts.invalid_names;
    if invalid.is_empty() {
        return None;
    }
    let mut found = match invalid.len() {
        1 => "1 account has a name that's no longer allowed".to_owned(),
        count => format!("{count} accounts have names that are no longer allowed"),
    };
    for name in invalid.iter().take(MAX_LISTED) {
        found.push('\n');
        found.push_str(name);
    }
    if let more @ 1.. = invalid.len().saturating_sub(MAX_LISTED) {
        found = format!("{found}\nand {more} more");
    }
    let fix = "they keep working; an operator can rename them in the chat: /rename NAME NEW";
    Some(warn("names", found, fix))
}

fn clock(state: &SystemState) -> CheckResult {
    const NAME: &str = "clock";
    let fix = "set it; `timedatectl` shows whether it's synchronized";
    let now = state.now;
    let last_audit = match state.database {
        DatabaseState::Open { last_audit, .. } => last_audit,
        _ => None,
    };
    match last_audit {
        _ if !(EARLIEST..LATEST).contains(&now) => {
            fail(NAME, format!("it shows {}", format_time(now)), fix)
        }
        Some(last) if now.left_until(last) > MAX_DRIFT => warn(
            NAME,
            format!(
                "it shows {}, but the audit log has an entry from {}",
                format_time(now),
                format_time(last)
            ),
            fix,
        ),
        _ => ok(NAME, format_time(now)),
    }
}
