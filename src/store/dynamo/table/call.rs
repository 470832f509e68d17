//! One API call with retries, until there is a response or the time budget is spent.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::CancellationReason;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Table, WriteError};
use crate::aws::{AwsError, without_sdk_logs};
use crate::store::StoreError;

/// The timeouts of one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeBudget {
    /// The timeout of each attempt.
    attempt: Duration,
    /// No attempt begins after this.
    total: Duration,
}

/// Two reads in a row fit into the deadline of a login.
pub(super) const READ: TimeBudget = TimeBudget {
    attempt: Duration::from_secs(1),
    total: Duration::from_secs(2),
};
/// Someone is waiting for their message to appear.
pub(super) const WRITE: TimeBudget = TimeBudget {
    attempt: Duration::from_secs(2),
    total: Duration::from_secs(6),
};
/// An export or import that fails has to start over.
const BULK: TimeBudget = TimeBudget {
    attempt: Duration::from_secs(10),
    total: Duration::from_secs(60),
};
tokio::task_local! {
    /// Set while every call gets the budget [`BULK`].
    static LONG_BUDGET: ();
}
/// The delay before the second attempt; it doubles for each further one.
const FIRST_DELAY: Duration = Duration::from_millis(30);
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Runs work that no one waits for: each of its calls is retried for up to a minute.
pub(in crate::store::dynamo) async fn with_long_budget<T>(work: impl Future<Output = T>) -> T {
    LONG_BUDGET.scope((), work).await
}

impl Table {
    /// Makes a call until there is a response or the budget is spent. `classify` recognises error
    /// responses about conditions.
    pub(super) async fn call<T, E, S>(
        &self,
        operation: &'static str,
        budget: TimeBudget,
        send: impl Fn(Client) -> S,
        classify: fn(&SdkError<E, HttpResponse>) -> ErrorClass,
    ) -> Result<T, CallError>
    where
        S: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let budget = LONG_BUDGET.try_with(|()| BULK).unwrap_or(budget);
        let begin = Instant::now();
        let end = begin + budget.total;
        let mut delay = FIRST_DELAY;
        let mut retries = 0;
        let mut in_doubt = false;
        loop {
            let deadline = end.min(Instant::now() + budget.attempt);
            let attempt = async {
                let client = self
                    .client()
                    .await
                    .map_err(|error| (ErrorClass::Conflict, error))?;
                // Boxed: the SDK's futures are large.
                let response = Box::pin(without_sdk_logs(send(client.clone()))).await;
                response.map_err(|error| (classify(&error), AwsError::of(&error)))
            };
            let (class, error) = match timeout_at(deadline, attempt).await {
                Ok(Ok(response)) => {
                    self.calls.done(operation, begin.elapsed(), retries);
                    return Ok(response);
                }
                Ok(Err(failed)) => failed,
                Err(_) => (
                    ErrorClass::Other,
                    AwsError::Unreachable("timed out".to_owned()),
                ),
            };
            if let ErrorClass::ConditionFailed(positions) = class {
                self.calls.refused(operation, begin.elapsed(), retries);
                let error = WriteError::ConditionFailed(positions);
                return Err(CallError { error, in_doubt });
            }
            let not_done = matches!(class, ErrorClass::Conflict);
            in_doubt |= !not_done && error.may_have_taken_effect();
            let jittered = delay.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            delay = MAX_DELAY.min(delay * 2);
            let retry = (not_done || error.is_transient()) && Instant::now() + jittered < end;
            if !retry || !self.calls.may_retry() {
                self.calls
                    .failed(operation, begin.elapsed(), retries, &error);
                let error = WriteError::Failed {
                    error: summary(&error, not_done || in_doubt),
                    in_doubt,
                };
                return Err(CallError { error, in_doubt });
            }
            retries += 1;
            sleep(jittered).await;
        }
    }
}

/// A failed call, and whether an earlier attempt may have been done.
pub(super) struct CallError {
    pub error: WriteError,
    pub in_doubt: bool,
}

/// For calls without conditions.
impl From<CallError> for StoreError {
    fn from(failed: CallError) -> StoreError {
        failed.error.into_store()
    }
}

/// What an error response says about conditions.
pub(super) enum ErrorClass {
    /// The conditions at these positions failed.
    ConditionFailed(Vec<usize>),
    /// Another write to the same items was in progress: this one wasn't done, and can be retried.
    Conflict,
    /// Nothing.
    Other,
}

pub(super) fn no_condition<E>(_: &SdkError<E, HttpResponse>) -> ErrorClass {
    ErrorClass::Other
}

pub(super) fn one_condition<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> ErrorClass {
    match error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
    {
        Some("ConditionalCheckFailedException") => ErrorClass::ConditionFailed(vec![0]),
        Some("TransactionConflictException") => ErrorClass::Conflict,
        _ => ErrorClass::Other,
    }
}

/// For transactions that write.
pub(super) fn transaction(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> ErrorClass {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancellation(cancelled.cancellation_reasons())
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => ErrorClass::Conflict,
        _ => ErrorClass::Other,
    }
}

/// For transactions that read.
pub(super) fn conflicts(error: &SdkError<TransactGetItemsError, HttpResponse>) -> ErrorClass {
    match error.as_service_error() {
        Some(TransactGetItemsError::TransactionCanceledException(cancelled)) => {
            cancellation(cancelled.cancellation_reasons())
        }
        _ => ErrorClass::Other,
    }
}

fn cancellation(reasons: &[CancellationReason]) -> ErrorClass {
    let positions = |code: &str| -> Vec<usize> {
        let reasons = reasons.iter().enumerate();
        let with_code = reasons.filter(|(_, reason)| reason.code() == Some(code));
        with_code.map(|(position, _)| position).collect()
    };
    let failed = positions("ConditionalCheckFailed");
    if !failed.is_empty() {
        ErrorClass::ConditionFailed(failed)
    } else if positions("ValidationError").is_empty() {
        // A conflict, or throttling.
        ErrorClass::Conflict
    } else {
        ErrorClass::Other
    }
}

/// The error for users. The log has the details, which are long and about roles and networks. An
/// operation that may have been done, or may still be (`open`), is never reported as rejected.
fn summary(error: &AwsError, open: bool) -> StoreError {
    let reason = match error {
        AwsError::NoRegion | AwsError::Credentials(_) => "no valid AWS credentials",
        AwsError::Denied(_) => "access denied",
        AwsError::Unreachable(_) => "unreachable or timed out",
        AwsError::Busy(_) => "throttled or overloaded",
        AwsError::Refused { code, .. } if code == "ResourceNotFoundException" => {
            "the table doesn't exist"
        }
        AwsError::Refused { code, .. } if !open && is_about_the_request(code) => {
            return StoreError::Rejected(code.clone());
        }
        AwsError::Refused { .. } => "request rejected",
    };
    StoreError::Unavailable(reason.to_owned())
}

/// Whether the request itself is at fault: too large, or against a rule of the service.
fn is_about_the_request(code: &str) -> bool {
    [
        "ItemCollectionSizeLimitExceededException",
        "SerializationException",
        "TransactionCanceledException",
        "ValidationException",
    ]
    .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_get_a_short_reason() {
        let refused = |code: &str| AwsError::Refused {
            code: code.to_owned(),
            message: "about roles and networks".to_owned(),
        };
        let unavailable = |reason: &str| StoreError::Unavailable(reason.to_owned());
        for (error, open, expected) in [
            (
                refused("ValidationException"),
                false,
                StoreError::Rejected("ValidationException".to_owned()),
            ),
            (
                refused("ValidationException"),
                true,
                unavailable("request rejected"),
            ),
            (
                refused("KMSAccessDeniedException"),
                false,
                unavailable("request rejected"),
            ),
            (
                refused("ResourceNotFoundException"),
                false,
                unavailable("the table doesn't exist"),
            ),
            (
                AwsError::Busy("x".into()),
                false,
                unavailable("throttled or overloaded"),
            ),
        ] {
            assert_eq!(summary(&error, open), expected);
        }
    }
}
