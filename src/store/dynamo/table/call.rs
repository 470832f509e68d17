//! One call, until it is answered or its budget of time is used up.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Table, WriteError};
use crate::aws::{AwsError, quietly};
use crate::store::StoreError;

/// How long to go on with one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// An attempt that is not answered by then is given up.
    attempt: Duration,
    /// No attempt begins after that.
    whole: Duration,
}

/// Two of them one after the other fit into the deadline of a login.
pub(super) const READ: Budget = Budget {
    attempt: Duration::from_secs(1),
    whole: Duration::from_secs(2),
};
/// Somebody waits for their words to appear.
pub(super) const WRITE: Budget = Budget {
    attempt: Duration::from_secs(2),
    whole: Duration::from_secs(6),
};
/// Whoever reads or writes everything would have to begin again.
const PATIENT: Budget = Budget {
    attempt: Duration::from_secs(10),
    whole: Duration::from_secs(60),
};
tokio::task_local! {
    /// Set for work in which every call is given [`PATIENT`].
    static PATIENTLY: ();
}
/// The wait before the second attempt; twice as long before each further one.
const FIRST_WAIT: Duration = Duration::from_millis(30);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Does work that nobody waits for at a terminal: each of its calls goes on for up to a minute.
pub(in crate::store::dynamo) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    PATIENTLY.scope((), work).await
}

impl Table {
    /// Makes a call until it is answered or the budget is used up. `judge` tells the answers that
    /// are about conditions.
    pub(super) async fn call<T, E, S>(
        &self,
        operation: &'static str,
        budget: Budget,
        send: impl Fn(Client) -> S,
        judge: fn(&SdkError<E, HttpResponse>) -> Answer,
    ) -> Result<T, Failure>
    where
        S: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let patient = PATIENTLY.try_with(|()| PATIENT);
        let budget = patient.unwrap_or(budget);
        let begin = Instant::now();
        let end = begin + budget.whole;
        let mut wait = FIRST_WAIT;
        let mut retries = 0;
        let mut doubt = false;
        loop {
            let until = end.min(Instant::now() + budget.attempt);
            let attempt = async {
                let client = self
                    .client()
                    .await
                    .map_err(|error| (Answer::Again, error))?;
                // On the heap: what the SDK keeps of a call is large.
                let answer = Box::pin(quietly(send(client.clone()))).await;
                answer.map_err(|error| (judge(&error), AwsError::of(&error)))
            };
            let (answer, error) = match timeout_at(until, attempt).await {
                Ok(Ok(done)) => {
                    self.calls.done(operation, begin.elapsed(), retries);
                    return Ok(done);
                }
                Ok(Err(failed)) => failed,
                Err(_) => (
                    Answer::Other,
                    AwsError::Unreachable("no answer in time".to_owned()),
                ),
            };
            if let Answer::Refused(places) = answer {
                self.calls.refused(operation, begin.elapsed(), retries);
                let error = WriteError::Refused(places);
                return Err(Failure { error, doubt });
            }
            let again = matches!(answer, Answer::Again);
            doubt |= !again && error.may_have_been_done();
            let pause = wait.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            wait = LONGEST_WAIT.min(wait * 2);
            let patient = (again || error.may_pass()) && Instant::now() + pause < end;
            if !patient || !self.calls.may_retry() {
                self.calls
                    .failed(operation, begin.elapsed(), retries, &error);
                let error = WriteError::Failed {
                    error: in_short(&error, again || doubt),
                    doubt,
                };
                return Err(Failure { error, doubt });
            }
            retries += 1;
            sleep(pause).await;
        }
    }
}

/// A call that failed, and whether an earlier attempt may have been done.
pub(super) struct Failure {
    pub error: WriteError,
    pub doubt: bool,
}

/// What an answer that is an error says about conditions.
pub(super) enum Answer {
    /// These do not hold.
    Refused(Vec<usize>),
    /// Somebody else was writing to the same items: it was not done, and may be tried again.
    Again,
    /// Nothing.
    Other,
}

pub(super) fn no_condition<E>(_: &SdkError<E, HttpResponse>) -> Answer {
    Answer::Other
}

pub(super) fn one_condition<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Answer {
    match error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
    {
        Some("ConditionalCheckFailedException") => Answer::Refused(vec![0]),
        Some("TransactionConflictException") => Answer::Again,
        _ => Answer::Other,
    }
}

pub(super) fn conditions(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Answer {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            let reasons = cancelled.cancellation_reasons();
            let is = |code: &str| {
                let places = reasons.iter().enumerate();
                let places = places.filter(|(_, reason)| reason.code() == Some(code));
                places.map(|(place, _)| place).collect::<Vec<_>>()
            };
            let refused = is("ConditionalCheckFailed");
            if !refused.is_empty() {
                Answer::Refused(refused)
            } else if is("ValidationError").is_empty() {
                // A conflict, or no capacity.
                Answer::Again
            } else {
                Answer::Other
            }
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => Answer::Again,
        _ => Answer::Other,
    }
}

/// Of a transaction that only reads.
pub(super) fn conflicts(error: &SdkError<TransactGetItemsError, HttpResponse>) -> Answer {
    match error.as_service_error() {
        Some(TransactGetItemsError::TransactionCanceledException(cancelled)) => {
            let reasons = cancelled.cancellation_reasons();
            if reasons.iter().any(|r| r.code() == Some("ValidationError")) {
                Answer::Other
            } else {
                Answer::Again
            }
        }
        _ => Answer::Other,
    }
}

/// What people are told. The log has the rest: it is about roles and networks, and long. Nothing is
/// denied that is still `open`: that an earlier attempt may have done, or a later one might.
fn in_short(error: &AwsError, open: bool) -> StoreError {
    let words = match error {
        AwsError::NoRegion | AwsError::Credentials(_) => "the server can't sign in to it",
        AwsError::Denied(_) => "the server may not use it",
        AwsError::Unreachable(_) => "it can't be reached",
        AwsError::Busy(_) => "it is too busy",
        AwsError::Refused { code, .. } if code == "ResourceNotFoundException" => {
            "its table is not there"
        }
        AwsError::Refused { code, .. } if !open && is_about_the_request(code) => {
            return StoreError::Rejected(code.clone());
        }
        AwsError::Refused { .. } => "it refuses",
    };
    StoreError::Unavailable(words.to_owned())
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
    fn what_people_are_told_is_what_it_is() {
        let refused = |code: &str| AwsError::Refused {
            code: code.to_owned(),
            message: "about roles and networks".to_owned(),
        };
        for (error, open, expected) in [
            (
                refused("ValidationException"),
                false,
                "the database rejected it: ValidationException",
            ),
            (
                refused("ValidationException"),
                true,
                "the database is not responding: it refuses",
            ),
            (
                refused("KMSAccessDeniedException"),
                false,
                "the database is not responding: it refuses",
            ),
            (
                refused("ResourceNotFoundException"),
                false,
                "the database is not responding: its table is not there",
            ),
            (
                AwsError::Busy("x".into()),
                false,
                "the database is not responding: it is too busy",
            ),
        ] {
            assert_eq!(in_short(&error, open).to_string(), expected);
        }
    }
}
