//! Why a call of AWS failed, and whether it may work later.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Why a call of AWS failed. The words are for whoever runs the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody says which region.
    #[error(
        "it is not known in which region of AWS it is; set aws.region or the variable AWS_REGION, \
         or mend the instance's access to its metadata"
    )]
    NoRegion,
    /// There are no credentials, or AWS does not take them.
    #[error(
        "there are no credentials that AWS takes ({0}); on EC2, attach an instance profile and let \
         the instance reach its metadata; elsewhere, set the variables AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY; and see that the clock is right"
    )]
    Credentials(String),
    /// Whoever the credentials belong to may not do it.
    #[error("it is not allowed ({0}); allow it in the policy of the role")]
    Denied(String),
    /// There was no answer, or none of AWS's.
    #[error(
        "AWS can't be reached ({0}); look at the security group, the route or VPC endpoint, and DNS"
    )]
    Unreachable(String),
    /// Too many calls, or a fault of AWS's own.
    #[error("AWS is busy or has a fault ({0}); nothing need be done if it passes")]
    Busy(String),
    /// Any other answer that is an error.
    #[error("AWS refuses ({code}: {message})")]
    Refused {
        /// Its name in the documentation of the service.
        code: String,
        /// What AWS says about it.
        message: String,
    },
}

impl Trouble {
    /// What the error of a call means.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Trouble
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => Trouble::answered(
                answer.raw().status().as_u16(),
                error.code().unwrap_or("no code"),
                error.message().unwrap_or("no message"),
            ),
            SdkError::ConstructionFailure(_) => Trouble::Refused {
                code: "the request can't be made".to_owned(),
                message: chain(error),
            },
            _ if causes(error).any(<dyn Error>::is::<CredentialsError>) => {
                Trouble::Credentials(chain(error))
            }
            _ => Trouble::Unreachable(chain(error)),
        }
    }

    /// What an answer means that is an error.
    pub(super) fn answered(status: u16, code: &str, message: &str) -> Trouble {
        let both = || cut(&format!("{code}: {message}"));
        match code {
            "AccessDeniedException" | "AccessDenied" => Trouble::Denied(cut(message)),
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
            | "UnrecognizedClientException" => Trouble::Credentials(both()),
            _ if status >= 500 || status == 429 || is_throttling(code) => Trouble::Busy(both()),
            _ => Trouble::Refused {
                code: cut(code),
                message: cut(message),
            },
        }
    }

    /// Whether the same call may work later without anybody's changing it: credentials and
    /// policies lag behind the start of an instance, too.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Trouble::Refused { .. })
    }

    /// Whether what was asked for may have been done all the same, or may still be: the answer got
    /// lost, or was that of a fault.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Trouble::Unreachable(_) => true,
            Trouble::Busy(words) => !is_throttling(words),
            _ => false,
        }
    }

    /// Its kind in a word, as metrics and logs have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::NoRegion => "no_region",
            Trouble::Credentials(_) => "credentials",
            Trouble::Denied(_) => "denied",
            Trouble::Unreachable(_) => "unreachable",
            Trouble::Busy(_) => "busy",
            Trouble::Refused { .. } => "refused",
        }
    }
}

/// The error and what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| (*error).source();
    std::iter::successors(Some(error), next)
}

/// What an error and its causes say, without repetitions and without requests: some of the SDK's
/// errors have the whole one in them, and so the secret that was to be sent.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in causes(error) {
        let whole = error.to_string();
        let more = match whole.split_once("Request {") {
            Some((before, _)) => before,
            None => &whole,
        };
        if !words.iter().any(|said| said.contains(more)) {
            words.push(more.to_owned());
        }
    }
    cut(&words.join(": "))
}

/// Whether it is the code of an answer that asks to come less often, or begins with one. Nothing
/// was done then.
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

/// As much of it as fits into a sentence.
fn cut(words: &str) -> String {
    const MOST: usize = 400;
    match words.char_indices().nth(MOST) {
        Some((at, _)) => words.split_at(at).0.to_owned() + "…",
        None => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_they_mean() {
        type Is = fn(&Trouble) -> bool;
        let denied: Is = |t| matches!(t, Trouble::Denied(_));
        let credentials: Is = |t| matches!(t, Trouble::Credentials(_));
        let busy: Is = |t| matches!(t, Trouble::Busy(_));
        let refused: Is = |t| matches!(t, Trouble::Refused { .. });
        for (status, code, is) in [
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
            let trouble = Trouble::answered(status, code, "words");
            assert!(is(&trouble), "{status} {code}: {trouble:?}");
            assert_eq!(trouble.may_pass(), !refused(&trouble));
        }
    }

    #[test]
    fn what_others_say_is_cut() {
        let trouble = Trouble::answered(400, "AccessDenied", &"é".repeat(10_000));
        assert!(trouble.to_string().chars().count() < 600);
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "refused");
    }

    #[test]
    fn requests_are_not_told() {
        let words = "can't apply x to request Request { body: \"-----BEGIN";
        let told = chain(&std::io::Error::other(words));
        assert_eq!(told, "can't apply x to request ");
    }
}
