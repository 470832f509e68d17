//! The way to AWS, tried without changing anything: reads are done, writes have a condition that
//! can't hold.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::lookup_host;

use crate::app::host_key::aws;
use crate::aws::cloudwatch::{CloudWatch, Figure};
use crate::aws::json::{self as call, Version};
use crate::aws::{AwsError, CallTracker};
use crate::cli::doctor::aws::{AwsState, Permission, PermissionResult};
use crate::clock;
use crate::config::{self, Config};

/// An operation that is tried.
struct Try {
    name: &'static str,
    on: String,
    service: &'static str,
    version: Version,
    target: &'static str,
    body: Value,
}

/// What the configuration needs of AWS, tried; nothing if it needs nothing.
pub(super) async fn look(config: &Config) -> Option<AwsState> {
    let tries = tries(&config.aws);
    let chat = config.aws.metrics.as_deref();
    let mut services: Vec<&'static str> = tries.iter().map(|one| one.service).collect();
    services.extend(chat.map(|_| "monitoring"));
    services.dedup();
    services.first()?;
    let aws = aws(config, Duration::ZERO);
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
        if let Some((host, port)) = call::address(sdk, service) {
            let found = lookup_host((host.as_str(), port)).await;
            let found = found.map(Iterator::count).map_err(|e| e.to_string());
            hosts.push((host, found));
        }
    }
    hosts.dedup();
    let credentials = call::credentials(sdk).await.map_err(|t| t.to_string());
    let nothing = json!({});
    let (service, target, body) = match tries.first() {
        Some(one) => (one.service, one.target, &one.body),
        None => ("monitoring", LIST, &nothing),
    };
    let time = call::time(sdk, service, target, body).await;
    let clock_offset_ms = time.as_ref().ok().map(|theirs| clock::now().0 - theirs);
    // It was asked of the service that is the first below.
    let mut lost = time.err().filter(is_lost);
    let mut permissions = Vec::new();
    let mut silent: Vec<&'static str> = Vec::new();
    for one in tries {
        let outcome = if silent.contains(&one.service) {
            PermissionResult::Skipped("not tried: the service doesn't respond")
        } else {
            let calls = CallTracker::new(one.service);
            let answer = match lost.take() {
                Some(error) => Err(error),
                None => call::call(sdk, &calls, one.version, one.target, &one.body).await,
            };
            if answer.as_ref().is_err_and(is_lost) {
                silent.push(one.service);
            }
            judge(answer.map(|_| ()))
        };
        permissions.push(Permission {
            action: one.name,
            resource: one.on,
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
        // Adds nothing to what is summed up.
        let none = Figure {
            name: "SlowReaderCloses",
            unit: "Count",
            value: 0.0,
        };
        let put = CloudWatch::new(Arc::clone(&aws), chat).put(&[none]).await;
        permissions.push(Permission {
            action: "cloudwatch:PutMetricData",
            resource: "*".to_owned(),
            result: judge(put),
        });
    }
    Some(AwsState {
        hosts,
        credentials,
        clock_offset_ms,
        permissions,
    })
}

fn is_lost(error: &AwsError) -> bool {
    matches!(error, AwsError::Unreachable(_))
}

/// An answer that a condition does not hold, or that there is nothing, is permission enough.
fn judge(answer: Result<(), AwsError>) -> PermissionResult {
    match answer {
        Ok(()) => PermissionResult::Allowed,
        Err(AwsError::Denied(why)) => PermissionResult::Denied(why),
        Err(AwsError::Refused { code, .. }) if PERMITTED.contains(&&*code) => {
            PermissionResult::Allowed
        }
        // A secret without a value, which the first start makes.
        Err(AwsError::Refused { message, .. }) if message.contains("AWSCURRENT") => {
            PermissionResult::Allowed
        }
        Err(error) => PermissionResult::Failed(error.to_string()),
    }
}

/// Asked for nothing but the time of the answer.
const LIST: &str = "GraniteServiceVersion20100801.ListMetrics";

const PERMITTED: &[&str] = &[
    "ConditionalCheckFailedException",
    "ParameterAlreadyExists",
    "ParameterNotFound",
    "TransactionCanceledException",
];

fn tries(aws: &config::Aws) -> Vec<Try> {
    let mut tries = Vec::new();
    if let Some(table) = &aws.table {
        tries.extend(of_table(table));
    }
    if let Some(secret) = &aws.host_key_secret {
        tries.push(Try {
            name: "secretsmanager:GetSecretValue",
            on: secret.clone(),
            service: "secretsmanager",
            version: Version::V1_1,
            target: "secretsmanager.GetSecretValue",
            body: json!({ "SecretId": secret }),
        });
    }
    if let Some(parameter) = &aws.host_key_parameter {
        tries.push(Try {
            name: "ssm:GetParameter",
            on: parameter.clone(),
            service: "ssm",
            version: Version::V1_1,
            target: "AmazonSSM.GetParameter",
            body: json!({ "Name": parameter }),
        });
    }
    tries
}

fn of_table(table: &str) -> impl Iterator<Item = Try> {
    // There is no such item, and there will be none.
    let key = json!({ "pk": { "S": "DOCTOR" }, "sk": { "S": "DOCTOR" } });
    let never = "attribute_exists(pk) AND attribute_not_exists(pk)";
    let one = |more: Value| {
        let mut body = json!({ "TableName": table });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    };
    let check = one(json!({ "Key": key, "ConditionExpression": never }));
    let tries = [
        (
            "dynamodb:DescribeTable",
            "DynamoDB_20120810.DescribeTable",
            one(json!({})),
        ),
        (
            "dynamodb:DescribeTimeToLive",
            "DynamoDB_20120810.DescribeTimeToLive",
            one(json!({})),
        ),
        (
            "dynamodb:GetItem",
            "DynamoDB_20120810.GetItem",
            one(json!({ "Key": key })),
        ),
        (
            "dynamodb:Query",
            "DynamoDB_20120810.Query",
            one(json!({
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": { ":pk": { "S": "DOCTOR" } },
                "Limit": 1,
            })),
        ),
        (
            "dynamodb:PutItem",
            "DynamoDB_20120810.PutItem",
            one(json!({ "Item": key, "ConditionExpression": never })),
        ),
        (
            "dynamodb:UpdateItem",
            "DynamoDB_20120810.UpdateItem",
            one(json!({
                "Key": key,
                "UpdateExpression": "SET n = :n",
                "ExpressionAttributeValues": { ":n": { "N": "1" } },
                "ConditionExpression": never,
            })),
        ),
        (
            "dynamodb:DeleteItem",
            "DynamoDB_20120810.DeleteItem",
            check.clone(),
        ),
        (
            "dynamodb:ConditionCheckItem",
            "DynamoDB_20120810.TransactWriteItems",
            json!({ "TransactItems": [{ "ConditionCheck": check }] }),
        ),
    ];
    let on = table.to_owned();
    tries.into_iter().map(move |(name, target, body)| Try {
        name,
        on: on.clone(),
        service: "dynamodb",
        version: Version::V1_0,
        target,
        body,
    })
}
