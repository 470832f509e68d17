//! AWS, as far as the configuration uses it: what was found on the way there, judged.

use super::judge::{check, fail, ok, warn};
use super::{Check, Outcome};

/// What was found on the way to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// The names of the services, and how many addresses each has, or why none.
    pub names: Vec<(String, Result<usize, String>)>,
    /// Whose credentials there are; or why there are none, and what to do.
    pub credentials: Result<String, String>,
    /// How far this machine's clock is ahead of AWS's, in milliseconds, if that can be told.
    pub ahead: Option<i64>,
    /// What the server may have to do.
    pub actions: Vec<Action>,
}

/// Something that the server does in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// As policies call it: `dynamodb:GetItem`.
    pub name: &'static str,
    /// With what, as the configuration names it.
    pub on: String,
    /// How it went.
    pub tried: Tried,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// It may.
    Allowed,
    /// It may not: what AWS says.
    Denied(String),
    /// It could not be found out: why, and what to do.
    Failed(String),
    /// It was not tried, because of this.
    Not(&'static str),
}

/// With so much, calls may be refused soon, in milliseconds.
const DRIFTING: u64 = 60_000;
/// Beyond five minutes AWS takes no signature.
const WRONG: u64 = 270_000;

/// Judges it, from the way to the end of it.
pub(super) fn judge(cloud: &Cloud) -> Vec<Check> {
    let mut checks: Vec<Check> = cloud.names.iter().map(name).collect();
    checks.push(match &cloud.credentials {
        Ok(whose) => ok("credentials", whose),
        // The words say what to do.
        Err(why) => check("credentials", Outcome::Fail, why),
    });
    checks.push(clock(cloud.ahead));
    if cloud.credentials.is_err() {
        let skipped = "nothing can be tried without credentials";
        checks.push(check("permissions", Outcome::Skip, skipped));
        return checks;
    }
    let allowed = |action: &&Action| action.tried == Tried::Allowed;
    let names: Vec<&str> = cloud
        .actions
        .iter()
        .filter(allowed)
        .map(|a| a.name)
        .collect();
    if !names.is_empty() {
        checks.push(ok("permissions", names.join(", ")));
    }
    checks.extend(cloud.actions.iter().filter_map(action));
    checks
}

fn name((host, addresses): &(String, Result<usize, String>)) -> Check {
    const NAME: &str = "DNS";
    match addresses {
        Ok(1..) => ok(NAME, format!("{host} has an address")),
        Ok(0) => fail(NAME, format!("{host} has no address"), RESOLVER),
        Err(why) => fail(NAME, format!("{host} is not found: {why}"), RESOLVER),
    }
}

const RESOLVER: &str =
    "look at /etc/resolv.conf, at enableDnsSupport of the VPC, and at aws.region";

fn clock(ahead: Option<i64>) -> Check {
    const NAME: &str = "AWS's clock";
    let mend = "set the clock; `timedatectl` shows whether it is kept right";
    let Some(ahead) = ahead else {
        return check(NAME, Outcome::Skip, "AWS did not tell the time");
    };
    let seconds = ahead.unsigned_abs() / 1000;
    let side = if ahead < 0 { "behind" } else { "ahead" };
    let found = format!("this machine is {seconds} s {side}");
    match ahead.unsigned_abs() {
        ..DRIFTING => ok(NAME, found),
        DRIFTING..WRONG => warn(NAME, found, mend),
        WRONG.. => fail(NAME, format!("{found}: AWS refuses what it signs"), mend),
    }
}

fn action(action: &Action) -> Option<Check> {
    const NAME: &str = "permissions";
    let Action { name, on, tried } = action;
    match tried {
        Tried::Allowed => None,
        Tried::Denied(why) => Some(fail(
            NAME,
            format!("{name} on {on} is not allowed: {why}"),
            format!("allow {name} on {on} in the policy of the server's role"),
        )),
        Tried::Failed(why) => Some(check(NAME, Outcome::Fail, format!("{name} on {on}: {why}"))),
        Tried::Not(why) => Some(check(NAME, Outcome::Skip, format!("{name} on {on}: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Cloud {
        let action = |name| Action {
            name,
            on: "chat".to_owned(),
            tried: Tried::Allowed,
        };
        Cloud {
            names: vec![("dynamodb.eu-central-1.amazonaws.com".to_owned(), Ok(2))],
            credentials: Ok("ASIA…WXYZ".to_owned()),
            ahead: Some(-300),
            actions: vec![action("dynamodb:GetItem"), action("dynamodb:PutItem")],
        }
    }

    #[test]
    fn what_is_well_has_nothing_to_mend() {
        let checks = judge(&well());
        assert!(
            checks.iter().all(|c| c.outcome == Outcome::Ok),
            "{checks:?}"
        );
        assert_eq!(checks.len(), 4);
        assert_eq!(checks[3].found, "dynamodb:GetItem, dynamodb:PutItem");
    }

    #[test]
    fn each_trouble_is_named() {
        let denied = Action {
            tried: Tried::Denied("User x is not authorized".to_owned()),
            ..well().actions[1].clone()
        };
        let lost = Action {
            tried: Tried::Failed("there is no such table".to_owned()),
            ..well().actions[1].clone()
        };
        let host = || "ssm.eu-central-1.amazonaws.com".to_owned();
        let with = |change: fn(&mut Cloud)| {
            let mut cloud = well();
            change(&mut cloud);
            cloud
        };
        let mut cases = vec![
            (
                with(|c| c.ahead = Some(90_000)),
                Outcome::Warn,
                "90 s ahead",
            ),
            (
                with(|c| c.ahead = Some(-900_000)),
                Outcome::Fail,
                "900 s behind",
            ),
            (with(|c| c.ahead = None), Outcome::Skip, "did not tell"),
            (
                with(|c| c.credentials = Err("none, attach a profile".to_owned())),
                Outcome::Fail,
                "attach a profile",
            ),
        ];
        for (names, words) in [
            (Ok(0), "has no address"),
            (Err("no route".into()), "no route"),
        ] {
            let names = vec![(host(), names)];
            cases.push((Cloud { names, ..well() }, Outcome::Fail, words));
        }
        for (action, words) in [
            (denied, "dynamodb:PutItem on chat"),
            (lost, "no such table"),
        ] {
            let actions = vec![action];
            cases.push((Cloud { actions, ..well() }, Outcome::Fail, words));
        }
        for (cloud, outcome, words) in cases {
            let checks = judge(&cloud);
            let wrong = checks
                .iter()
                .find(|check| check.outcome != Outcome::Ok)
                .unwrap();
            assert_eq!(wrong.outcome, outcome, "{wrong:?}");
            assert!(wrong.found.contains(words), "{words}: {wrong:?}");
        }
    }
}
