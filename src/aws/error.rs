//! Classified errors of AWS calls: what went wrong, and whether a retry can help.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Why an AWS call failed. The messages are for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// No region is configured or found.
    #[error(
        "no AWS region is configured; set aws.region or AWS_REGION, or give the instance access to \
         its metadata service"
    )]
    NoRegion,
    /// There are no credentials, or AWS rejected them.
    #[error(
        "no valid AWS credentials ({0}); on EC2, attach an instance profile and allow access to the \
         metadata service; elsewhere, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; also check \
         the system clock"
    )]
    Credentials(String),
    /// The credentials' role lacks a permission.
    #[error("access denied ({0}); allow it in the role's policy")]
    Denied(String),
    /// There was no response, or none from AWS.
    #[error(
        "AWS is unreachable ({0}); check the security group, the route or VPC endpoint, and DNS"
    )]
    Unreachable(String),
    /// AWS throttles the calls, or has a fault of its own.
    #[error("AWS is throttling or failing ({0}); no action needed if it stops")]
    Busy(String),
    /// Any other error response.
    #[error("AWS rejected the request ({code}: {message})")]
    Refused {
        /// The error code, as in the service's API reference.
        code: String,
        /// AWS's message.
        message: String,
    },
}

impl AwsError {
    /// Classifies an error of the SDK.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> AwsError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(response) => AwsError::from_response(
                response.raw().status().as_u16(),
                error.code().unwrap_or("no code"),
                error.message().unwrap_or("no message"),
            ),
            SdkError::ConstructionFailure(_) => AwsError::Refused {
                code: "invalid request".to_owned(),
                message: chain(error),
            },
            _ if causes(error).any(<dyn Error>::is::<CredentialsError>) => {
                AwsError::Credentials(chain(error))
            }
            _ => AwsError::Unreachable(chain(error)),
        }
    }

    /// Classifies an error response.
    pub(super) fn from_response(status: u16, code: &str, message: &str) -> AwsError {
        let both = || truncated(&format!("{code}: {message}"));
        match code {
            "AccessDeniedException" | "AccessDenied" => AwsError::Denied(truncated(message)),
            "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => AwsError::Credentials(both()),
            _ if status >= 500 || status == 429 || is_throttling(code) => AwsError::Busy(both()),
            _ => AwsError::Refused {
                code: truncated(code),
                message: truncated(message),
            },
        }
    }

    /// Whether the same call may succeed later without a change by the operator. Missing
    /// credentials and permissions count: both lag behind the start of an instance.
    pub fn is_transient(&self) -> bool {
        !matches!(self, AwsError::Refused { .. })
    }

    /// Whether the operation may have taken effect, or still may: the response was lost, or
    /// reported a fault.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            AwsError::Unreachable(_) => true,
            AwsError::Busy(message) => !is_throttling(message),
            _ => false,
        }
    }

    /// The class, as in metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            AwsError::NoRegion => "no_region",
            AwsError::Credentials(_) => "credentials",
            AwsError::Denied(_) => "denied",
            AwsError::Unreachable(_) => "unreachable",
            AwsError::Busy(_) => "busy",
            AwsError::Refused { .. } => "refused",
        }
    }
}

/// The error and its causes, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| (*error).source();
    std::iter::successors(Some(error), next)
}

/// The messages of an error and its causes, without repetitions and without requests: some SDK
/// errors print the whole request, including the secret in it.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    for error in causes(error) {
        let message = error.to_string();
        let message = match message.split_once("Request {") {
            Some((before, _)) => before,
            None => &message,
        };
        if !messages.iter().any(|outer| outer.contains(message)) {
            messages.push(message.to_owned());
        }
    }
    truncated(&messages.join(": "))
}

/// Whether this is, or begins with, an error code for throttling. A throttled call had no effect.
fn is_throttling(code: &str) -> bool {
    const CODES: [&str; 5] = [
        "Throttl",
        "RequestThrottled",
        "RequestLimitExceeded",
        "TooManyRequests",
        "ProvisionedThroughputExceeded",
    ];
    CODES.iter().any(|begin| code.starts_with(begin))
}

/// The first 400 characters.
fn truncated(text: &str) -> String {
    const MAX: usize = 400;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => text.split_at(at).0.to_owned() + "…",
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_classified() {
        type Expected = fn(&AwsError) -> bool;
        let denied: Expected = |t| matches!(t, AwsError::Denied(_));
        let credentials: Expected = |t| matches!(t, AwsError::Credentials(_));
        let busy: Expected = |t| matches!(t, AwsError::Busy(_));
        let refused: Expected = |t| matches!(t, AwsError::Refused { .. });
        for (status, code, expected) in [
            (400, "AccessDeniedException", denied),
            (403, "AccessDenied", denied),
            (400, "ExpiredTokenException", credentials),
            (400, "UnrecognizedClientException", credentials),
            (400, "InvalidSignatureException", credentials),
            (400, "ThrottlingException", busy),
            (400, "Throttling", busy),
            (400, "ProvisionedThroughputExceededException", busy),
            (400, "RequestLimitExceeded", busy),
            (429, "whatever", busy),
            (500, "InternalServiceError", busy),
            (503, "no code", busy),
            (400, "ResourceNotFoundException", refused),
            (404, "no code", refused),
        ] {
            let error = AwsError::from_response(status, code, "words");
            assert!(expected(&error), "{status} {code}: {error:?}");
            assert_eq!(error.is_transient(), !refused(&error));
        }
    }

    #[test]
    fn long_messages_are_truncated() {
        let error = AwsError::from_response(400, "AccessDenied", &"é".repeat(10_000));
        assert!(error.to_string().chars().count() < 600);
    }

    #[test]
    fn causes_are_not_repeated() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "refused");
    }

    #[test]
    fn requests_are_left_out() {
        let message = "can't apply x to request Request { body: \"-----BEGIN";
        let shown = chain(&std::io::Error::other(message));
        assert_eq!(shown, "can't apply x to request ");
    }
}
