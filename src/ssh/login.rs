//! The login: which keys are accepted, and the keyboard-interactive dialog.
//!
//! A proven but unknown key doesn't end the login, because clients offer all their keys, one of
//! which may be known. Once a client has no more keys, it tries keyboard-interactive (RFC 4256),
//! where the user gets an explanation or is asked for an invite code.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PublicKey};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use crate::access::authenticator::MAX_CLAIM_ANSWERS;
use crate::access::authenticator::{
    AuthDecision, AuthRequest, AuthTicket, Authenticator, CLAIM_NOTICE, ClaimAnswer,
    InviteRejected, ProvenKey, RefusalReason, RetryPrompt, claim_question,
};
use crate::chat::ids::Name;
use crate::keys;
use crate::text::Text;
use crate::text::clean_line;

use super::rejection::penalty_message;
use super::state::ConnectionState;

/// The timeout for each call of the authenticator.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum of unknown keys whose claims are looked up.
const MAX_CLAIMED: usize = 10;
/// How often a connection is prompted for an invite code.
const MAX_CODES: usize = 3;
/// How often a user with a valid code is prompted for a name.
const MAX_NAMES: usize = 6;
/// The response time for an invalid code. Constant, so that it doesn't reveal whether the code ever
/// existed.
const INVALID_CODE_DELAY: Duration = Duration::from_millis(500);
/// The longest reason on the line of its prompt, in characters: clients print the account before
/// it.
const MAX_INLINE_REASON: usize = 30;
/// The maximum length of an answer, in bytes.
const MAX_ANSWER: usize = 256;

const KEY_LOOKUP_FAILED: &str =
    "The server can't look up your key right now. Try again in a minute.";
const REDEEM_FAILED: &str = "The server couldn't check your invite code in time.\n\
    Connect again in a minute: if the code was accepted after all, your key is enough.";

/// Why a key is rejected, and what to do instead. Shown to the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyRejection {
    #[error("Your key can't be used: {0}.")]
    Key(#[from] keys::KeyRejected),
    #[error(
        "Your client signs with SHA-1 (ssh-rsa), which is insecure. \
         Update it, or create a new key: ssh-keygen -t ed25519"
    )]
    Sha1,
}

/// Checks a key and the signature algorithm: an RSA key can sign with SHA-1 or SHA-2 (RFC 8332).
pub(super) fn check_key(key: &PublicKey, algorithm: &Algorithm) -> Result<(), KeyRejection> {
    keys::check_key(key)?;
    match algorithm {
        Algorithm::Rsa { hash: None } => Err(KeyRejection::Sha1),
        _ => Ok(()),
    }
}

/// The server's next step in the dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialogStep {
    /// Accept the login, with this key.
    Accept(Option<ProvenKey>),
    /// Accept the login with this key, as the account that claimed it.
    AcceptClaim(ProvenKey),
    /// Show a text, without a prompt. The client confirms it with an empty answer.
    Show(String),
    /// Show a text, which may be empty, and prompt for an answer.
    Prompt { text: String, prompt: String },
    /// Reject the login for good.
    Reject,
}

/// What the next answer of the client responds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Nothing,
    /// A text, after which the user logs in as a guest.
    GuestNotice,
    /// A text, after which the login is rejected.
    FinalNotice,
    /// The question whether an account may have the key that it claims.
    Claim,
    /// The prompt for an invite code.
    Code,
    /// The prompt for a name, after a valid code.
    Name,
}

/// Returns the first answer, sanitized; empty if it is missing.
pub(super) fn first_answer(mut raw: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    raw.next()
        .map_or_else(String::new, |raw| sanitize_answer(raw.as_ref()))
}

/// Returns one clean line of at most [`MAX_ANSWER`] bytes.
fn sanitize_answer(raw: &[u8]) -> String {
    let bytes = raw.get(..MAX_ANSWER).unwrap_or(raw);
    let mut line = clean_line(&String::from_utf8_lossy(bytes));
    // Replacement characters are longer than the invalid bytes.
    while line.len() > MAX_ANSWER {
        line.pop();
    }
    line
}

/// Puts a reason before its prompt: on the same line if it's short, otherwise above.
fn with_reason(reason: &str, prompt: &str) -> String {
    let separator = if reason.chars().count() > MAX_INLINE_REASON {
        '\n'
    } else {
        ' '
    };
    format!("{reason}{separator}{prompt}")
}

/// The login of one connection, a state machine.
///
/// Report keys with [`reject_key`](Self::reject_key) and [`try_key`](Self::try_key). When the
/// client starts keyboard-interactive, call [`start`](Self::start), then [`answer`](Self::answer)
/// for each answer, and perform the [`DialogStep`] that each of them returns. Once the login is
/// accepted, [`take_ticket`](Self::take_ticket) returns what came with it.
#[derive(Debug)]
pub(super) struct LoginDialog<D> {
    authenticator: Arc<D>,
    conn: Arc<ConnectionState>,
    /// How long the user has to answer a prompt.
    prompt_timeout: Duration,
    /// Why the last offered key was rejected.
    key_rejection: Option<KeyRejection>,
    /// The first proven key that was not accepted, and the decision.
    unknown_key: Option<(ProvenKey, AuthDecision)>,
    /// Proven keys whose claims are yet to be looked up.
    unchecked_keys: Vec<ProvenKey>,
    /// The key that accounts claim, about which the user was asked.
    claimed_key: Option<ProvenKey>,
    claim_prompts: usize,
    /// The decision without a key, once requested.
    without_key: Option<AuthDecision>,
    /// Whether the authenticator timed out. It isn't called again, or a user with many keys would
    /// wait for each.
    timed_out: bool,
    awaiting: Awaiting,
    code_prompts: usize,
    name_prompts: usize,
    /// The valid invite code.
    code: String,
    /// What an empty code does.
    empty_code_action: &'static str,
    /// Whether an invalid code was entered.
    invalid_code: bool,
    /// Whether the dialog is over.
    done: bool,
    ticket: Option<Box<AuthTicket>>,
}

impl<D: Authenticator> LoginDialog<D> {
    pub(super) fn new(
        authenticator: Arc<D>,
        conn: Arc<ConnectionState>,
        prompt_timeout: Duration,
    ) -> LoginDialog<D> {
        LoginDialog {
            authenticator,
            conn,
            prompt_timeout,
            key_rejection: None,
            unknown_key: None,
            unchecked_keys: Vec::new(),
            claimed_key: None,
            claim_prompts: 0,
            without_key: None,
            timed_out: false,
            awaiting: Awaiting::Nothing,
            code_prompts: 0,
            name_prompts: 0,
            code: String::new(),
            empty_code_action: "leave",
            invalid_code: false,
            done: false,
            ticket: None,
        }
    }

    /// Returns the ticket of an accepted login, once.
    pub(super) fn take_ticket(&mut self) -> Option<Box<AuthTicket>> {
        self.ticket.take()
    }

    /// Records that an offered key was rejected.
    pub(super) fn reject_key(&mut self, reason: KeyRejection) {
        self.key_rejection = Some(reason);
    }

    /// Tries to log in with a proven key. Returns whether the login is accepted.
    pub(super) async fn try_key(&mut self, user: &Text, key: &ProvenKey) -> bool {
        if self
            .unknown_key
            .as_ref()
            .is_some_and(|(known, _)| known == key)
        {
            return false;
        }
        let decision = self.decide(user, Some(key)).await;
        match decision.map(|decision| self.apply_penalty(decision, true)) {
            Some(AuthDecision::Accepted(ticket)) => {
                self.ticket = ticket;
                return true;
            }
            Some(decision) if self.unknown_key.is_none() => {
                self.unchecked_keys.push(key.clone());
                self.conn.attempts().unknown_key = Some(key.fingerprint.clone());
                self.unknown_key = Some((key.clone(), decision));
                self.done = false;
            }
            Some(_)
                if self.unchecked_keys.len() < MAX_CLAIMED
                    && !self.unchecked_keys.contains(key) =>
            {
                self.unchecked_keys.push(key.clone());
            }
            _ => {}
        }
        false
    }

    /// During a penalty, accepts known keys only.
    fn apply_penalty(&self, decision: AuthDecision, has_key: bool) -> AuthDecision {
        let exempt = match &decision {
            AuthDecision::Accepted(_) => has_key && decision.knows_the_key(),
            AuthDecision::AskInvite { .. } => false,
            // Keeps its own reason.
            AuthDecision::Refused { .. } => true,
        };
        match self.conn.permit.penalty(std::time::Instant::now()) {
            Some(left) if !exempt => AuthDecision::Refused {
                why: RefusalReason::Penalty,
                notice: penalty_message(left),
            },
            _ => decision,
        }
    }

    /// The reason of the rejection, for logs and metrics.
    pub(super) fn rejection_reason(&self) -> &'static str {
        let with_key = self.unknown_key.as_ref().map(|(_, decision)| decision);
        let reason = with_key
            .or(self.without_key.as_ref())
            .and_then(AuthDecision::reason);
        match reason {
            _ if self.timed_out => RefusalReason::NoAnswer.as_str(),
            _ if self.invalid_code => "wrong_code",
            Some(reason) => reason,
            None if self.key_rejection.is_some() => "unusable_key",
            None => RefusalReason::NoKey.as_str(),
        }
    }

    /// Starts the dialog, or starts it over.
    pub(super) async fn start(&mut self, user: &Text) -> DialogStep {
        self.awaiting = Awaiting::Nothing;
        if self.done {
            return DialogStep::Reject;
        }
        if self.timed_out {
            return self.final_notice(KEY_LOOKUP_FAILED);
        }
        if let Some((_, AuthDecision::AskInvite { .. })) = &self.unknown_key
            && let Some(step) = self.prompt_claim(user).await
        {
            return step;
        }
        match self.unknown_key.clone() {
            Some((_, AuthDecision::AskInvite { notice, enter })) => {
                self.empty_code_action = enter;
                let reason = notice.lines().next().unwrap_or_default().to_owned();
                self.prompt_code(notice, &reason)
            }
            Some((_, AuthDecision::Refused { notice, .. })) => self.final_notice(&notice),
            _ => self.start_without_key(user).await,
        }
    }

    async fn start_without_key(&mut self, user: &Text) -> DialogStep {
        if self.without_key.is_none() {
            let decision = self.decide(user, None).await;
            self.without_key = decision.map(|decision| self.apply_penalty(decision, false));
        }
        match (&self.without_key, &self.key_rejection) {
            (Some(AuthDecision::Accepted(_)), None) => DialogStep::Accept(None),
            (Some(AuthDecision::Accepted(_)), Some(reason)) => {
                self.awaiting = Awaiting::GuestNotice;
                DialogStep::Show(format!("{reason}\nUntil then you are a guest."))
            }
            // Redeeming an invite takes a key.
            (
                Some(AuthDecision::Refused { notice, .. } | AuthDecision::AskInvite { notice, .. }),
                reason,
            ) => {
                let text = match reason {
                    None => notice.clone(),
                    Some(reason) => format!("{reason}\n{notice}"),
                };
                self.final_notice(&text)
            }
            (None, _) => self.final_notice(KEY_LOOKUP_FAILED),
        }
    }

    /// Handles an answer of the user.
    pub(super) async fn answer(&mut self, user: &Text, answer: String) -> DialogStep {
        if self.awaiting == Awaiting::Claim
            && let Some(key) = self.claimed_key.take()
        {
            self.awaiting = Awaiting::Nothing;
            return self.answer_claim(user, key, &answer).await;
        }
        match (
            std::mem::replace(&mut self.awaiting, Awaiting::Nothing),
            &self.unknown_key,
        ) {
            (Awaiting::GuestNotice, _) => DialogStep::Accept(None),
            (Awaiting::Code, Some((key, _))) => {
                let key = key.clone();
                self.check_code(user, &key, answer).await
            }
            (Awaiting::Name, Some((key, _))) => {
                let key = key.clone();
                self.redeem(user, key, &answer).await
            }
            (
                Awaiting::Nothing
                | Awaiting::FinalNotice
                | Awaiting::Claim
                | Awaiting::Code
                | Awaiting::Name,
                _,
            ) => {
                self.done = true;
                DialogStep::Reject
            }
        }
    }

    /// Asks about the next key that accounts claim, if there is one. Each is asked about once.
    async fn prompt_claim(&mut self, user: &Text) -> Option<DialogStep> {
        while !self.unchecked_keys.is_empty() {
            let key = self.unchecked_keys.remove(0);
            let request = self.auth_request(user, Some(&key));
            let names = self.with_timeout(self.authenticator.claims(request)).await;
            // On a timeout, the login continues as if there were no claims.
            let names = names.unwrap_or_default();
            if !names.is_empty() {
                self.claimed_key = Some(key);
                self.claim_prompts = 1;
                let prompt = claim_question(&names);
                return Some(self.prompt(Awaiting::Claim, CLAIM_NOTICE.to_owned(), prompt));
            }
        }
        None
    }

    async fn answer_claim(&mut self, user: &Text, key: ProvenKey, answer: &str) -> DialogStep {
        let request = self.auth_request(user, Some(&key));
        let answered = self.with_timeout(self.authenticator.answer_claim(request, answer));
        match answered.await {
            Some(ClaimAnswer::Accepted) => DialogStep::AcceptClaim(key),
            Some(ClaimAnswer::Again(prompt)) if self.claim_prompts < MAX_CLAIM_ANSWERS => {
                self.claim_prompts += 1;
                self.claimed_key = Some(key);
                self.prompt(Awaiting::Claim, String::new(), prompt)
            }
            Some(ClaimAnswer::Refused | ClaimAnswer::Again(_)) => self.start(user).await,
            Some(ClaimAnswer::Failed(text)) => self.final_notice(&text),
            None => {
                self.on_timeout();
                self.final_notice(KEY_LOOKUP_FAILED)
            }
        }
    }

    /// Checks a code before the user is prompted for a name, so that a valid one isn't used up by
    /// names that are taken.
    async fn check_code(&mut self, user: &Text, key: &ProvenKey, code: String) -> DialogStep {
        // A penalty also ends dialogs that began before it.
        if let Some(left) = self.conn.permit.penalty(std::time::Instant::now()) {
            return self.final_notice(&penalty_message(left));
        }
        let respond_at = Instant::now() + INVALID_CODE_DELAY;
        let request = self.auth_request(user, Some(key));
        let checked = self.with_timeout(self.authenticator.check_invite(request, &code));
        match checked.await {
            Some(Ok(())) => {
                // An empty code asks an operator for approval.
                let accepted = if code.is_empty() {
                    ""
                } else {
                    "Code accepted. "
                };
                let default = Name::new(user.as_str()).ok();
                let default = default.map_or_else(String::new, |_| format!("Enter keeps {user}. "));
                self.code = code;
                let prompt = format!("{accepted}{default}Name: ");
                self.prompt_name(prompt, "")
            }
            Some(Err(InviteRejected { notice, again })) => {
                // An empty code is no guess.
                if !code.is_empty() {
                    self.conn.permit.counters().invites_wrong.increment();
                    self.invalid_code = true;
                    tracing::info!(parent: &self.conn.span, event = "invite_invalid", user = user.as_str(), key = %key.fingerprint, "invalid invite code");
                    self.conn.permit.record_strike(std::time::Instant::now());
                }
                sleep_until(respond_at).await;
                self.retry(&notice, again)
            }
            None => {
                self.on_timeout();
                self.final_notice(REDEEM_FAILED)
            }
        }
    }

    async fn redeem(&mut self, user: &Text, key: ProvenKey, name: &str) -> DialogStep {
        let request = self.auth_request(user, Some(&key));
        let redeemed =
            self.with_timeout(self.authenticator.redeem_invite(request, &self.code, name));
        match redeemed.await {
            Some(Ok(())) => {
                self.conn.permit.counters().invites_redeemed.increment();
                tracing::info!(parent: &self.conn.span, event = "invite_redeemed", user = user.as_str(), key = %key.fingerprint, "invite redeemed");
                DialogStep::Accept(Some(key))
            }
            // No guess, even if the code was used up in the meantime.
            Some(Err(InviteRejected { notice, again })) => self.retry(&notice, again),
            None => {
                self.on_timeout();
                self.final_notice(REDEEM_FAILED)
            }
        }
    }

    fn retry(&mut self, notice: &str, again: RetryPrompt) -> DialogStep {
        match again {
            RetryPrompt::Nothing => self.final_notice(notice),
            RetryPrompt::Code => self.prompt_code(String::new(), notice),
            RetryPrompt::Name => self.prompt_name(with_reason(notice, "Another name: "), notice),
        }
    }

    /// Prompts for a code, up to [`MAX_CODES`] times. The prompt includes the reason, because it's
    /// all that `ssh -q` shows.
    fn prompt_code(&mut self, text: String, reason: &str) -> DialogStep {
        if self.code_prompts >= MAX_CODES {
            return self.final_notice(if text.is_empty() { reason } else { &text });
        }
        self.code_prompts += 1;
        let prompt = format!("Invite code (Enter to {}): ", self.empty_code_action);
        self.prompt(Awaiting::Code, text, with_reason(reason, &prompt))
    }

    fn prompt_name(&mut self, prompt: String, reason: &str) -> DialogStep {
        if self.name_prompts >= MAX_NAMES {
            return self.final_notice(reason);
        }
        self.name_prompts += 1;
        self.prompt(Awaiting::Name, String::new(), prompt)
    }

    fn prompt(&mut self, awaiting: Awaiting, text: String, prompt: String) -> DialogStep {
        self.awaiting = awaiting;
        self.conn.on_prompt(Instant::now() + self.prompt_timeout);
        DialogStep::Prompt { text, prompt }
    }

    /// Shows a text, after which the login is rejected.
    fn final_notice(&mut self, text: &str) -> DialogStep {
        self.awaiting = Awaiting::FinalNotice;
        DialogStep::Show(text.to_owned())
    }

    /// Returns the authenticator's decision, or `None` after a timeout.
    async fn decide(&mut self, user: &Text, key: Option<&ProvenKey>) -> Option<AuthDecision> {
        if self.timed_out {
            return None;
        }
        let request = self.auth_request(user, key);
        let decision = self
            .with_timeout(self.authenticator.authenticate(request))
            .await;
        if decision.is_none() {
            self.on_timeout();
        }
        decision
    }

    /// Runs a call of the authenticator in the connection's span. Returns `None` after a timeout.
    ///
    /// Boxed: russh reserves memory for the handler's largest future while the connection lasts.
    fn with_timeout<'a, T>(
        &self,
        call: impl Future<Output = T> + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = Option<T>> + Send + 'a>> {
        let call = call.instrument(self.conn.span.clone());
        Box::pin(async { timeout(AUTH_TIMEOUT, call).await.ok() })
    }

    fn on_timeout(&mut self) {
        self.timed_out = true;
        self.conn.attempts().timed_out = true;
        let seconds = AUTH_TIMEOUT.as_secs();
        tracing::warn!(
            parent: &self.conn.span,
            event = "auth_timeout",
            seconds,
            "login failed: the store timed out"
        );
    }

    fn auth_request<'a>(&'a self, user: &'a Text, key: Option<&'a ProvenKey>) -> AuthRequest<'a> {
        AuthRequest {
            addr: self.conn.addr,
            user,
            client: self.conn.control.client_version(),
            key,
        }
    }
}

#[cfg(test)]
mod tests;
