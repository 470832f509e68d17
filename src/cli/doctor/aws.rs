//! Checks of AWS, as far as the configuration uses it.

use super::checks::{check, fail, ok, warn};
use super::{CheckOutcome, CheckResult};

/// What was found on the way to AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsState {
    /// The services' host names, each with its number of addresses or why it can't be resolved.
    pub hosts: Vec<(String, Result<usize, String>)>,
    /// Whose credentials are used; or why there are none and how to fix that.
    pub credentials: Result<String, String>,
    /// How far this machine's clock is ahead of AWS's, in milliseconds, if known.
    pub clock_offset_ms: Option<i64>,
    /// The operations that the server may need.
    pub permissions: Vec<Permission>,
}

/// An operation in AWS, and whether it's allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The action's name in policies: `dynamodb:GetItem`.
    pub action: &'static str,
    /// The resource, as named in the configuration.
    pub resource: String,
    /// The result of trying it.
    pub result: PermissionResult,
}

/// The result of trying an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermissionResult {
    /// It's allowed.
    Allowed,
    /// It's denied: AWS's message.
    Denied(String),
    /// Unknown: why, and how to fix that.
    Failed(String),
    /// It wasn't tried: why.
    Skipped(&'static str),
}

/// An offset that may soon be too large, in milliseconds.
const CLOCK_WARNING: u64 = 60_000;
/// AWS rejects signatures that are five minutes off.
const CLOCK_ERROR: u64 = 270_000;

/// Runs all checks: name resolution, credentials, clock, permissions.
pub(super) fn check_all(aws: &AwsState) -> Vec<CheckResult> {
    let mut results: Vec<CheckResult> = aws.hosts.iter().map(dns).collect();
    results.push(match &aws.credentials {
        Ok(owner) => ok("credentials", owner),
        // The message tells how to fix it.
        Err(why) => check("credentials", CheckOutcome::Fail, why),
    });
    results.push(clock(aws.clock_offset_ms));
    if aws.credentials.is_err() {
        let skipped = "not checked, because there are no credentials";
        results.push(check("permissions", CheckOutcome::Skip, skipped));
        return results;
    }
    let allowed = aws
        .permissions
        .iter()
        .filter(|permission| permission.result == PermissionResult::Allowed);
    let allowed: Vec<&str> = allowed.map(|permission| permission.action).collect();
    if !allowed.is_empty() {
        results.push(ok("permissions", allowed.join(", ")));
    }
    results.extend(aws.permissions.iter().filter_map(permission));
    results
}

fn dns((host, addresses): &(String, Result<usize, String>)) -> CheckResult {
    const NAME: &str = "DNS";
    const FIX: &str = "check /etc/resolv.conf, enableDnsSupport of the VPC, and aws.region";
    match addresses {
        Ok(1..) => ok(NAME, format!("{host} has an address")),
        Ok(0) => fail(NAME, format!("{host} has no address"), FIX),
        Err(why) => fail(NAME, format!("can't resolve {host}: {why}"), FIX),
    }
}

fn clock(offset_ms: Option<i64>) -> CheckResult {
    const NAME: &str = "AWS's clock";
    let fix = "set the clock; `timedatectl` shows whether it's synchronized";
    let Some(offset_ms) = offset_ms else {
        return check(NAME, CheckOutcome::Skip, "AWS's time is unknown");
    };
    let seconds = offset_ms.unsigned_abs() / 1000;
    let direction = if offset_ms < 0 { "behind" } else { "ahead" };
    let found = format!("this machine is {seconds} s {direction}");
    match offset_ms.unsigned_abs() {
        ..CLOCK_WARNING => ok(NAME, found),
        CLOCK_WARNING..CLOCK_ERROR => warn(NAME, found, fix),
        CLOCK_ERROR.. => fail(NAME, format!("{found}: AWS rejects its signatures"), fix),
    }
}

fn permission(permission: &Permission) -> Option<CheckResult> {
    const NAME: &str = "permissions";
    let Permission {
        action,
        resource,
        result,
    } = permission;
    let operation = format!("{action} on {resource}");
    match result {
        PermissionResult::Allowed => None,
        PermissionResult::Denied(why) => Some(fail(
            NAME,
            format!("{operation} is denied: {why}"),
            format!("allow {operation} in the policy of the server's role"),
        )),
        PermissionResult::Failed(why) => Some(check(
            NAME,
            CheckOutcome::Fail,
            format!("{operation}: {why}"),
        )),
        PermissionResult::Skipped(why) => Some(check(
            NAME,
            CheckOutcome::Skip,
            format!("{operation}: {why}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> AwsState {
        let permission = |action| Permission {
            action,
            resource: "chat".to_owned(),
            result: PermissionResult::Allowed,
        };
        AwsState {
            hosts: vec![("dynamodb.eu-central-1.amazonaws.com".to_owned(), Ok(2))],
            credentials: Ok("ASIA…WXYZ".to_owned()),
            clock_offset_ms: Some(-300),
            permissions: vec![
                permission("dynamodb:GetItem"),
                permission("dynamodb:PutItem"),
            ],
        }
    }

    #[test]
    fn what_is_well_has_nothing_to_mend() {
        let checks = check_all(&well());
        assert!(
            checks.iter().all(|c| c.outcome == CheckOutcome::Ok),
            "{checks:?}"
        );
        assert_eq!(checks.len(), 4);
        assert_eq!(checks[3].finding, "dynamodb:GetItem, dynamodb:PutItem");
    }

    #[test]
    fn each_trouble_is_named() {
        let denied = Permission {
            result: PermissionResult::Denied("User x is not authorized".to_owned()),
            ..well().permissions[1].clone()
        };
        let lost = Permission {
            result: PermissionResult::Failed("there is no such table".to_owned()),
            ..well().permissions[1].clone()
        };
        let host = || "ssm.eu-central-1.amazonaws.com".to_owned();
        let with = |change: fn(&mut AwsState)| {
            let mut aws = well();
            change(&mut aws);
            aws
        };
        let mut cases = vec![
            (
                with(|c| c.clock_offset_ms = Some(90_000)),
                CheckOutcome::Warn,
                "90 s ahead",
            ),
            (
                with(|c| c.clock_offset_ms = Some(-900_000)),
                CheckOutcome::Fail,
                "900 s behind",
            ),
            (
                with(|c| c.clock_offset_ms = None),
                CheckOutcome::Skip,
                "time is unknown",
            ),
            (
                with(|c| c.credentials = Err("none, attach a profile".to_owned())),
                CheckOutcome::Fail,
                "attach a profile",
            ),
        ];
        for (hosts, words) in [
            (Ok(0), "has no address"),
            (Err("no route".into()), "no route"),
        ] {
            let hosts = vec![(host(), hosts)];
            cases.push((AwsState { hosts, ..well() }, CheckOutcome::Fail, words));
        }
        for (permission, words) in [
            (denied, "dynamodb:PutItem on chat"),
            (lost, "no such table"),
        ] {
            let permissions = vec![permission];
            cases.push((
                AwsState {
                    permissions,
                    ..well()
                },
                CheckOutcome::Fail,
                words,
            ));
        }
        for (aws, outcome, words) in cases {
            let checks = check_all(&aws);
            let wrong = checks
                .iter()
                .find(|check| check.outcome != CheckOutcome::Ok)
                .unwrap();
            assert_eq!(wrong.outcome, outcome, "{wrong:?}");
            assert!(wrong.finding.contains(words), "{words}: {wrong:?}");
        }
    }
}
