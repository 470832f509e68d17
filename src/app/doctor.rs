//! `ssh-chat doctor`: the checks that need adapters. AWS permissions are tested without changing
//! anything: reads are performed, writes have a condition that is never true.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::lookup_host;

use super::data_dir::DataDir;
use super::disk_space::Space;
use super::host_key::{NO_RETRIES, aws, storage};
use super::store_factory;
use super::systemd;
use crate::aws::cloudwatch::{CloudWatch, MetricDatum};
use crate::aws::json::{self, CLOUDWATCH, DYNAMODB, JsonService, SECRETS_MANAGER, SSM};
use crate::aws::{AwsError, CallTracker};
use crate::cli::doctor::aws::{AwsState, Permission, PermissionResult};
use crate::cli::doctor::{self, DatabaseInput, DiskSpace, DoctorArgs, DoctorInput};
use crate::cli::{Console, Exit};
use crate::clock;
use crate::config::{self, Config, ConfigErrors};

/// Runs all checks and prints the results.
pub(super) async fn run(
    args: &DoctorArgs,
    config: Result<&Config, &ConfigErrors>,
    console: Console<'_>,
) -> Exit {
    let now = clock::now();
    let config = match config {
        Ok(config) => config,
        Err(errors) => return doctor::run(args, Err(errors), now, console).await,
    };
    let opening = async {
        if store_factory::may_exist(config) {
            Some(store_factory::open(config, &config.data_dir, NO_RETRIES).await)
        } else {
            None
        }
    };
    let storage = storage(config, &config.data_dir, NO_RETRIES);
    // Concurrently, so that timeouts don't add up.
    let (opened, host_key, cloud) = tokio::join!(opening, storage.find(), check_aws(config));
    let found = DoctorInput {
        config,
        host_key: host_key
            .map(|found| found.map(|key| key.fingerprint()))
            .map_err(|error| error.to_string()),
        database: match &opened {
            None => DatabaseInput::Missing,
            Some(Err(error)) => DatabaseInput::Unavailable(format!("{error:#}")),
            Some(Ok(store)) => DatabaseInput::Open {
                store: &**store,
                damage: store.damage().await,
            },
        },
        running: DataDir::in_use(&config.data_dir),
        systemd: if config.is_system_service() {
            systemd::listening()
        } else {
            Vec::new()
        },
        space: space(
            &config.data_dir,
            config.limits.disk_reserve.map(|size| size.0),
        ),
        aws: cloud,
    };
    doctor::run(args, Ok(found), now, console).await
}

/// The free space where a directory is or would be, and the required reserve.
fn space(folder: &Path, reserve: Option<u64>) -> Option<DiskSpace> {
    let folder = folder.ancestors().find(|folder| folder.exists())?;
    let space = Space::of(folder).ok()?;
    Some(DiskSpace {
        free: space.free,
        reserve: space.reserve(reserve),
    })
}

/// An AWS operation to test.
struct PermissionCheck {
    name: &'static str,
    on: String,
    service: &'static JsonService,
    operation: &'static str,
    body: Value,
}

/// Tests what the configuration needs of AWS; `None` if it needs nothing.
async fn check_aws(config: &Config) -> Option<AwsState> {
    let checks = permission_checks(&config.aws);
    let chat = config.aws.metrics.as_deref();
    let mut services: Vec<&'static str> = checks.iter().map(|check| check.service.name).collect();
    services.extend(chat.map(|_| CLOUDWATCH.name));
    services.dedup();
    services.first()?;
    let aws = aws(config, NO_RETRIES);
    let sdk = match aws.config().await {
        Ok(sdk) => sdk,
        Err(error) => {
            return Some(AwsState {
                hosts: Vec::new(),
                credentials: Err(error.to_string()),
                clock_offset_ms: None,
                permissions: Vec::new(),
            });
        }
    };
    let mut hosts = Vec::new();
    for service in &services {
        if let Some((host, port)) = json::address(sdk, service) {
            let found = lookup_host((host.as_str(), port)).await;
            let found = found.map(Iterator::count).map_err(|e| e.to_string());
            hosts.push((host, found));
        }
    }
    hosts.dedup();
    let credentials = json::credentials(sdk).await.map_err(|t| t.to_string());
    let nothing = json!({});
    let (service, operation, body) = match checks.first() {
        Some(check) => (check.service, check.operation, &check.body),
        None => (&CLOUDWATCH, "ListMetrics", &nothing),
    };
    let time = json::time(sdk, service, operation, body).await;
    let clock_offset_ms = time.as_ref().ok().map(|theirs| clock::now().0 - theirs);
    // The time came from the service that is tested first below.
    let mut unreachable = time.err().filter(is_unreachable);
    let mut permissions = Vec::new();
    let mut unreachable_services: Vec<&'static JsonService> = Vec::new();
    for check in checks {
        let outcome = if unreachable_services.contains(&check.service) {
            PermissionResult::Skipped("not tried: the service doesn't respond")
        } else {
            let calls = CallTracker::new(check.service.name);
            let answer = match unreachable.take() {
                Some(error) => Err(error),
                None => json::call(sdk, &calls, check.service, check.operation, &check.body).await,
            };
            if answer.as_ref().is_err_and(is_unreachable) {
                unreachable_services.push(check.service);
            }
            permission(answer.map(|_| ()))
        };
        permissions.push(Permission {
            action: check.name,
            resource: check.on,
            result: outcome,
        });
    }
    if let Some(secret) = &config.aws.host_key_secret {
        permissions.push(Permission {
            action: "secretsmanager:PutSecretValue",
            resource: secret.clone(),
            result: PermissionResult::Skipped(
                "not tried: only the first start needs it, and it triggers an alarm",
            ),
        });
    }
    if let Some(chat) = chat {
        // Adds nothing to the sum.
        let zero = MetricDatum {
            name: "SlowReaderCloses",
            unit: "Count",
            value: 0.0,
        };
        let put = CloudWatch::new(Arc::clone(&aws), chat).put(&[zero]).await;
        permissions.push(Permission {
            action: "cloudwatch:PutMetricData",
            resource: "*".to_owned(),
            result: permission(put),
        });
    }
    Some(AwsState {
        hosts,
        credentials,
        clock_offset_ms,
        permissions,
    })
}

fn is_unreachable(error: &AwsError) -> bool {
    matches!(error, AwsError::Unreachable(_))
}

/// Interprets a response: a failed condition or a missing item proves the permission.
fn permission(answer: Result<(), AwsError>) -> PermissionResult {
    match answer {
        Ok(()) => PermissionResult::Allowed,
        Err(AwsError::Denied(why)) => PermissionResult::Denied(why),
        Err(AwsError::Refused { code, .. }) if PERMITTED.contains(&&*code) => {
            PermissionResult::Allowed
        }
        // A secret without a value, which the first start creates.
        Err(AwsError::Refused { message, .. }) if message.contains("AWSCURRENT") => {
            PermissionResult::Allowed
        }
        Err(error) => PermissionResult::Failed(error.to_string()),
    }
}

const PERMITTED: &[&str] = &[
    "ConditionalCheckFailedException",
    "ParameterAlreadyExists",
    "ParameterNotFound",
    "TransactionCanceledException",
];

fn permission_checks(aws: &config::Aws) -> Vec<PermissionCheck> {
    let mut checks = Vec::new();
    if let Some(table) = &aws.table {
        checks.extend(table_checks(table));
    }
    if let Some(secret) = &aws.host_key_secret {
        checks.push(PermissionCheck {
            name: "secretsmanager:GetSecretValue",
            on: secret.clone(),
            service: &SECRETS_MANAGER,
            operation: "GetSecretValue",
            body: json!({ "SecretId": secret }),
        });
    }
    if let Some(parameter) = &aws.host_key_parameter {
        checks.push(PermissionCheck {
            name: "ssm:GetParameter",
            on: parameter.clone(),
            service: &SSM,
            operation: "GetParameter",
            body: json!({ "Name": parameter }),
        });
    }
    checks
}

fn table_checks(table: &str) -> impl Iterator<Item = PermissionCheck> {
    // This item never exists.
    let key = json!({ "pk": { "S": "DOCTOR" }, "sk": { "S": "DOCTOR" } });
    let never = "attribute_exists(pk) AND attribute_not_exists(pk)";
    let on_table = |more: Value| {
        let mut body = json!({ "TableName": table });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    };
    let check = on_table(json!({ "Key": key, "ConditionExpression": never }));
    let checks = [
        (
            "dynamodb:DescribeTable",
            "DescribeTable",
            on_table(json!({})),
        ),
        (
            "dynamodb:DescribeTimeToLive",
            "DescribeTimeToLive",
            on_table(json!({})),
        ),
        (
            "dynamodb:GetItem",
            "GetItem",
            on_table(json!({ "Key": key })),
        ),
        (
            "dynamodb:Query",
            "Query",
            on_table(json!({
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": { ":pk": { "S": "DOCTOR" } },
                "Limit": 1,
            })),
        ),
        (
            "dynamodb:PutItem",
            "PutItem",
            on_table(json!({ "Item": key, "ConditionExpression": never })),
        ),
        (
            "dynamodb:UpdateItem",
            "UpdateItem",
            on_table(json!({
                "Key": key,
                "UpdateExpression": "SET n = :n",
                "ExpressionAttributeValues": { ":n": { "N": "1" } },
                "ConditionExpression": never,
            })),
        ),
        ("dynamodb:DeleteItem", "DeleteItem", check.clone()),
        (
            "dynamodb:ConditionCheckItem",
            "TransactWriteItems",
            json!({ "TransactItems": [{ "ConditionCheck": check }] }),
        ),
    ];
    let on = table.to_owned();
    checks
        .into_iter()
        .map(move |(name, operation, body)| PermissionCheck {
            name,
            on: on.clone(),
            service: &DYNAMODB,
            operation,
            body,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_that_of_the_directory_or_its_nearest_parent() {
        let folder = tempfile::tempdir().unwrap();
        let here = space(folder.path(), None).unwrap();
        assert!(here.free > 0 && here.reserve > 0, "{here:?}");
        let later = space(&folder.path().join("not/yet"), Some(7));
        assert_eq!(later.map(|space| space.reserve), Some(7));
    }
}
