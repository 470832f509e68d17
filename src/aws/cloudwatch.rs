//! Figures for alarms, in Amazon `CloudWatch`: one
//! [`PutMetricData`](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html)
//! for all of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{Version, call};
use super::{Aws, AwsError, CallTracker};

/// The service's name in host names and signatures.
const SERVICE: &str = "monitoring";
/// Under which figures are kept. A role may be bound to it.
pub const NAMESPACE: &str = "ssh-chat";
/// What tells several chats apart.
pub const DIMENSION: &str = "Chat";

/// One figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// What it is called.
    pub name: &'static str,
    /// What it is counted in, in `CloudWatch`'s words: `Count`, `Bytes`, `Milliseconds`.
    pub unit: &'static str,
    /// How much it is.
    pub value: f64,
}

/// Where the figures of one chat go.
#[derive(Debug)]
pub struct CloudWatch {
    aws: Arc<Aws>,
    calls: CallTracker,
    /// The chat's name there.
    chat: String,
}

impl CloudWatch {
    /// The figures of the chat of this name.
    pub fn new(aws: Arc<Aws>, chat: impl Into<String>) -> CloudWatch {
        CloudWatch {
            aws,
            calls: CallTracker::new(SERVICE),
            chat: chat.into(),
        }
    }

    /// Sends figures of this moment. What fails is counted, and logged if it did not fail before;
    /// it is not tried again, as the next ones are newer.
    pub async fn put(&self, figures: &[Figure]) -> Result<(), AwsError> {
        let put = async {
            let config = self.aws.config().await?;
            let body = self.body(figures);
            let target = "GraniteServiceVersion20100801.PutMetricData";
            call(config, &self.calls, Version::V1_0, target, &body).await
        };
        put.await.map(|_| ())
    }

    fn body(&self, figures: &[Figure]) -> Value {
        let data = figures.iter().map(|figure| {
            json!({
                "MetricName": figure.name,
                "Unit": figure.unit,
                "Value": figure.value,
                "Dimensions": [{ "Name": DIMENSION, "Value": self.chat }],
            })
        });
        json!({ "Namespace": NAMESPACE, "MetricData": data.collect::<Value>() })
    }
}
