//! The way to AWS, tried without changing anything: reads are done, writes have a condition that
//! can't hold.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::lookup_host;

use crate::app::host_key::aws;
use crate::aws::cloudwatch::{CloudWatch, MetricDatum};
use crate::aws::json::{self, CLOUDWATCH, DYNAMODB, JsonService, SECRETS_MANAGER, SSM};
use crate::aws::{AwsError, CallTracker};
use crate::cli::doctor::cloud::{Action, Cloud, Tried};
use crate::clock;
use crate::config::{self, Config};

/// An operation that is tried.
struct Try {
    name: &'static str,
    on: String,
    service: &'static JsonService,
    operation: &'static str,
    body: Value,
}

/// What the configuration needs of AWS, tried; nothing if it needs nothing.
pub(super) async fn look(config: &Config) -> Option<Cloud> {
    let tries = tries(&config.aws);
    let chat = config.aws.metrics.as_deref();
    let mut services: Vec<&'static str> = tries.iter().map(|one| one.service.name).collect();
    services.extend(chat.map(|_| CLOUDWATCH.name));
    services.dedup();
    services.first()?;
    let aws = aws(config, Duration::ZERO);
    let sdk = match aws.config().await {
        Ok(sdk) => sdk,
        Err(error) => {
            return Some(Cloud {
                names: Vec::new(),
                credentials: Err(error.to_string()),
                ahead: None,
                actions: Vec::new(),
            });
        }
    };
    let mut names = Vec::new();
    for service in &services {
        if let Some((host, port)) = json::address(sdk, service) {
            let found = lookup_host((host.as_str(), port)).await;
            let found = found.map(Iterator::count).map_err(|e| e.to_string());
            names.push((host, found));
        }
    }
    names.dedup();
    let credentials = json::credentials(sdk).await.map_err(|t| t.to_string());
    let nothing = json!({});
    let (service, operation, body) = match tries.first() {
        Some(one) => (one.service, one.operation, &one.body),
        None => (&CLOUDWATCH, "ListMetrics", &nothing),
    };
    let time = json::time(sdk, service, operation, body).await;
    let ahead = time.as_ref().ok().map(|theirs| clock::now().0 - theirs);
    // It was asked of the service that is the first below.
    let mut lost = time.err().filter(is_lost);
    let mut actions = Vec::new();
    let mut silent: Vec<&'static JsonService> = Vec::new();
    for one in tries {
        let outcome = if silent.contains(&one.service) {
            Tried::Not("the service does not answer")
        } else {
            let calls = CallTracker::new(one.service.name);
            let answer = match lost.take() {
                Some(error) => Err(error),
                None => json::call(sdk, &calls, one.service, one.operation, &one.body).await,
            };
            if answer.as_ref().is_err_and(is_lost) {
                silent.push(one.service);
            }
            judge(answer.map(|_| ()))
        };
        actions.push(Action {
            name: one.name,
            on: one.on,
            tried: outcome,
        });
    }
    if let Some(secret) = &config.aws.host_key_secret {
        actions.push(Action {
            name: "secretsmanager:PutSecretValue",
            on: secret.clone(),
            tried: Tried::Not("it is needed for the first start only, and sets off an alarm"),
        });
    }
    if let Some(chat) = chat {
        // Adds nothing to what is summed up.
        let none = MetricDatum {
            name: "SlowReaderCloses",
            unit: "Count",
            value: 0.0,
        };
        let put = CloudWatch::new(Arc::clone(&aws), chat).put(&[none]).await;
        actions.push(Action {
            name: "cloudwatch:PutMetricData",
            on: "*".to_owned(),
            tried: judge(put),
        });
    }
    Some(Cloud {
        names,
        credentials,
        ahead,
        actions,
    })
}

fn is_lost(error: &AwsError) -> bool {
    matches!(error, AwsError::Unreachable(_))
}

/// An answer that a condition does not hold, or that there is nothing, is permission enough.
fn judge(answer: Result<(), AwsError>) -> Tried {
    match answer {
        Ok(()) => Tried::Allowed,
        Err(AwsError::Denied(why)) => Tried::Denied(why),
        Err(AwsError::Refused { code, .. }) if PERMITTED.contains(&&*code) => Tried::Allowed,
        // A secret without a value, which the first start makes.
        Err(AwsError::Refused { message, .. }) if message.contains("AWSCURRENT") => Tried::Allowed,
        Err(error) => Tried::Failed(error.to_string()),
    }
}

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
            service: &SECRETS_MANAGER,
            operation: "GetSecretValue",
            body: json!({ "SecretId": secret }),
        });
    }
    if let Some(parameter) = &aws.host_key_parameter {
        tries.push(Try {
            name: "ssm:GetParameter",
            on: parameter.clone(),
            service: &SSM,
            operation: "GetParameter",
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
        ("dynamodb:DescribeTable", "DescribeTable", one(json!({}))),
        (
            "dynamodb:DescribeTimeToLive",
            "DescribeTimeToLive",
            one(json!({})),
        ),
        ("dynamodb:GetItem", "GetItem", one(json!({ "Key": key }))),
        (
            "dynamodb:Query",
            "Query",
            one(json!({
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": { ":pk": { "S": "DOCTOR" } },
                "Limit": 1,
            })),
        ),
        (
            "dynamodb:PutItem",
            "PutItem",
            one(json!({ "Item": key, "ConditionExpression": never })),
        ),
        (
            "dynamodb:UpdateItem",
            "UpdateItem",
            one(json!({
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
    tries.into_iter().map(move |(name, operation, body)| Try {
        name,
        on: on.clone(),
        service: &DYNAMODB,
        operation,
        body,
    })
}
