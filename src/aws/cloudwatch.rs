//! Metrics in Amazon `CloudWatch`, for alarms:
//! [`PutMetricData`](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html).

use std::sync::Arc;

use serde_json::{Value, json};

use super::json::{CLOUDWATCH, call};
use super::{Aws, AwsError, CallTracker};

/// The namespace of all metrics. An IAM policy may be restricted to it.
pub const NAMESPACE: &str = "ssh-chat";
/// The dimension that tells several chats apart.
pub const DIMENSION: &str = "Chat";

/// One value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricDatum {
    /// The metric's name.
    pub name: &'static str,
    /// The unit, as `CloudWatch` spells it: `Count`, `Bytes`, `Milliseconds`.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
}

/// Sends the metrics of one chat.
#[derive(Debug)]
pub struct CloudWatch {
    aws: Arc<Aws>,
    calls: CallTracker,
    /// The value of [`DIMENSION`].
    chat: String,
}

impl CloudWatch {
    /// A sender for the chat with this name.
    pub fn new(aws: Arc<Aws>, chat: impl Into<String>) -> CloudWatch {
        CloudWatch {
            aws,
            calls: CallTracker::new(CLOUDWATCH.name),
            chat: chat.into(),
        }
    }

    /// Sends current values in one call. There are no retries, since the next values are newer. The
    /// first failure in a row is logged.
    pub async fn put(&self, data: &[MetricDatum]) -> Result<(), AwsError> {
        let config = self.aws.config().await?;
        let body = self.body(data);
        call(config, &self.calls, &CLOUDWATCH, "PutMetricData", &body).await?;
        Ok(())
    }

    fn body(&self, data: &[MetricDatum]) -> Value {
        let data = data.iter().map(|datum| {
            json!({
                "MetricName": datum.name,
                "Unit": datum.unit,
                "Value": datum.value,
                "Dimensions": [{ "Name": DIMENSION, "Value": self.chat }],
            })
        });
        json!({ "Namespace": NAMESPACE, "MetricData": data.collect::<Value>() })
    }
}
