//! The way in: what the [`Authenticator`] says to somebody, and the talk about it.
//!
//! A key that is proven and not known lets its owner go on: clients offer all their keys, and
//! any of them may be the one. Only when they have no more to offer do they come to
//! keyboard-interactive (RFC 4256), and there they are told, or asked for an invite code.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use crate::access::authenticator::MAX_CLAIM_ANSWERS;
use crate::access::authenticator::{
    AuthDecision, AuthRequest, AuthTicket, Authenticator, CLAIM_NOTICE, ClaimAnswer,
    InviteRejected, ProvenKey, RefusalReason, RetryPrompt, claim_question,
};
use crate::chat::ids::Name;
use crate::text::Text;
use crate::text::clean_line;

use super::keys::Refusal;
use super::link::Link;
use super::refusal::penalised;

/// How long the door may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of how many unknown keys the claims are looked up.
const MAX_CLAIMED: usize = 10;
/// How often one connection is asked for a code.
const MAX_CODES: usize = 3;
/// How often somebody with a good code is asked for a name.
const MAX_NAMES: usize = 6;
/// How long it takes until a code is found wrong. Always the same, so that nobody learns from it
/// whether a code was ever good.
const WRONG: Duration = Duration::from_millis(500);
/// The longest reason on the line of its question, in characters: clients put the account before it.
const SHORT: usize = 30;
/// The longest answer that is kept, in bytes.
const MAX_ANSWER: usize = 256;

const CANT_JUDGE: &str = "The server can't look up your key right now. Try again in a minute.";
const CANT_REDEEM: &str = "The server could not check your invite code in time.\n\
    Connect again in a minute: if it was taken after all, you get in with your key alone.";

/// The next step of a talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// They are in, with this key.
    Enter(Option<ProvenKey>),
    /// They are in, with this key, as the account that claimed it.
    Confirmed(ProvenKey),
    /// They are to be told this, and then to answer that they have heard it.
    Tell(String),
    /// They are to be told this, which may be nothing, and asked for one thing.
    Ask { words: String, prompt: String },
    /// They stay outside. There is nothing more to say.
    Refuse,
}

/// What an answer is awaited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    /// Words, after which they come in as a guest.
    Hello,
    /// Words, after which they stay outside.
    Goodbye,
    /// The question whether an account gets the key that it claims.
    Claim,
    /// The question for a code.
    Code,
    /// The question for a name, now that the code is known to be good.
    Name,
}

/// The answer to the one question that was asked; empty if it is missing.
pub(super) fn first(mut raw: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    raw.next()
        .map_or_else(String::new, |raw| answer(raw.as_ref()))
}

/// One clean line, cut at [`MAX_ANSWER`].
fn answer(raw: &[u8]) -> String {
    let bytes = raw.get(..MAX_ANSWER).unwrap_or(raw);
    let mut line = clean_line(&String::from_utf8_lossy(bytes));
    // What stands for wrong bytes is longer than they were.
    while line.len() > MAX_ANSWER {
        line.pop();
    }
    line
}

/// A question with its reason: before it, or above it if both hardly fit on one line.
fn prompt(reason: &str, question: &str) -> String {
    let between = if reason.chars().count() > SHORT {
        '\n'
    } else {
        ' '
    };
    format!("{reason}{between}{question}")
}

/// How one connection gets in, or does not.
#[derive(Debug)]
pub(super) struct Login<D> {
    door: Arc<D>,
    link: Arc<Link>,
    /// How long they have to answer a question.
    time_to_answer: Duration,
    /// Why the last key that they offered can't be used.
    unusable: Option<Refusal>,
    /// The first key that they proved to have and that was not welcome, and what was said to it.
    stranger: Option<(ProvenKey, AuthDecision)>,
    /// The keys that they proved to have and whose claims were not looked up yet.
    strangers: Vec<ProvenKey>,
    /// The key that they are asked about, because accounts claim it.
    claimed: Option<ProvenKey>,
    /// How often they were asked about it.
    answers: usize,
    /// What the door says to them without a key, once it was asked.
    keyless: Option<AuthDecision>,
    /// Whether the door did not answer. It is not asked again, or somebody with many keys would
    /// wait for each of them.
    silent: bool,
    said: Said,
    /// How often they were asked for a code, and for a name.
    codes: usize,
    names: usize,
    /// The code that was found good.
    code: String,
    /// What it is to enter no code.
    enter: &'static str,
    /// Whether they gave a code that is not good.
    guessed: bool,
    /// Whether they have been told all there is to say.
    over: bool,
    /// What came with the welcome.
    ticket: Option<Box<AuthTicket>>,
}

impl<D: Authenticator> Login<D> {
    pub(super) fn new(door: Arc<D>, link: Arc<Link>, time_to_answer: Duration) -> Login<D> {
        Login {
            door,
            link,
            time_to_answer,
            unusable: None,
            stranger: None,
            strangers: Vec::new(),
            claimed: None,
            answers: 0,
            keyless: None,
            silent: false,
            said: Said::Nothing,
            codes: 0,
            names: 0,
            code: String::new(),
            enter: "leave",
            guessed: false,
            over: false,
            ticket: None,
        }
    }

    /// What came with the welcome, once.
    pub(super) fn take_ticket(&mut self) -> Option<Box<AuthTicket>> {
        self.ticket.take()
    }

    /// They offered a key that can't be used.
    pub(super) fn unusable(&mut self, why: Refusal) {
        self.unusable = Some(why);
    }

    /// They proved to have a key. Whether they are in with it.
    pub(super) async fn proven(&mut self, user: &Text, key: &ProvenKey) -> bool {
        if self
            .stranger
            .as_ref()
            .is_some_and(|(known, _)| known == key)
        {
            return false;
        }
        let decision = self.judge(user, Some(key)).await;
        match decision.map(|decision| self.unless_penalised(decision, true)) {
            Some(AuthDecision::Accepted(ticket)) => {
                self.ticket = ticket;
                return true;
            }
            Some(decision) if self.stranger.is_none() => {
                self.strangers.push(key.clone());
                self.link.attempts().stranger = Some(key.fingerprint.clone());
                self.stranger = Some((key.clone(), decision));
                self.over = false;
            }
            Some(_) if self.strangers.len() < MAX_CLAIMED && !self.strangers.contains(key) => {
                self.strangers.push(key.clone());
            }
            _ => {}
        }
        false
    }

    /// What the door says, unless their address is penalised: then only those get in whose key is
    /// known, and all others are told how long to wait.
    fn unless_penalised(&self, decision: AuthDecision, has_key: bool) -> AuthDecision {
        let stays = match &decision {
            AuthDecision::Accepted(_) => has_key && decision.knows_the_key(),
            AuthDecision::AskInvite { .. } => false,
            // It has a reason of its own.
            AuthDecision::Refused { .. } => true,
        };
        match self.link.seat.penalty(std::time::Instant::now()) {
            Some(left) if !stays => AuthDecision::Refused {
                why: RefusalReason::Penalty,
                notice: penalised(left),
            },
            _ => decision,
        }
    }

    /// Why they are not in, in a word.
    pub(super) fn why_not(&self) -> &'static str {
        let stranger = self.stranger.as_ref().map(|(_, decision)| decision);
        let judged = stranger
            .or(self.keyless.as_ref())
            .and_then(AuthDecision::reason);
        match judged {
            _ if self.silent => RefusalReason::NoAnswer.as_str(),
            _ if self.guessed => "wrong_code",
            Some(reason) => reason,
            None if self.unusable.is_some() => "unusable_key",
            None => RefusalReason::NoKey.as_str(),
        }
    }

    /// They want to talk.
    pub(super) async fn begin(&mut self, user: &Text) -> Step {
        self.said = Said::Nothing;
        if self.over {
            return Step::Refuse;
        }
        if self.silent {
            return self.goodbye(CANT_JUDGE);
        }
        if let Some((_, AuthDecision::AskInvite { .. })) = &self.stranger
            && let Some(step) = self.ask_about_claims(user).await
        {
            return step;
        }
        match self.stranger.clone() {
            Some((_, AuthDecision::AskInvite { notice, enter })) => {
                self.enter = enter;
                let reason = notice.lines().next().unwrap_or_default().to_owned();
                self.ask_code(notice, &reason)
            }
            Some((_, AuthDecision::Refused { notice, .. })) => self.goodbye(&notice),
            _ => self.begin_without_key(user).await,
        }
    }

    async fn begin_without_key(&mut self, user: &Text) -> Step {
        if self.keyless.is_none() {
            let decision = self.judge(user, None).await;
            self.keyless = decision.map(|decision| self.unless_penalised(decision, false));
        }
        match (&self.keyless, &self.unusable) {
            (Some(AuthDecision::Accepted(_)), None) => Step::Enter(None),
            (Some(AuthDecision::Accepted(_)), Some(why)) => {
                self.said = Said::Hello;
                Step::Tell(format!("{why}\nUntil then you are a guest."))
            }
            // Nobody to redeem an invite for: that takes a key.
            (
                Some(AuthDecision::Refused { notice, .. } | AuthDecision::AskInvite { notice, .. }),
                why,
            ) => {
                let words = match why {
                    None => notice.clone(),
                    Some(why) => format!("{why}\n{notice}"),
                };
                self.goodbye(&words)
            }
            (None, _) => self.goodbye(CANT_JUDGE),
        }
    }

    /// They answered.
    pub(super) async fn answered(&mut self, user: &Text, answer: String) -> Step {
        if self.said == Said::Claim
            && let Some(key) = self.claimed.take()
        {
            self.said = Said::Nothing;
            return self.answer_claim(user, key, &answer).await;
        }
        match (
            std::mem::replace(&mut self.said, Said::Nothing),
            &self.stranger,
        ) {
            (Said::Hello, _) => Step::Enter(None),
            (Said::Code, Some((key, _))) => {
                let key = key.clone();
                self.check(user, &key, answer).await
            }
            (Said::Name, Some((key, _))) => {
                let key = key.clone();
                self.redeem(user, key, &answer).await
            }
            (Said::Nothing | Said::Goodbye | Said::Claim | Said::Code | Said::Name, _) => {
                self.over = true;
                Step::Refuse
            }
        }
    }

    /// Asks about the next key that accounts claim, if there is one. Each is asked about once.
    async fn ask_about_claims(&mut self, user: &Text) -> Option<Step> {
        while !self.strangers.is_empty() {
            let key = self.strangers.remove(0);
            // Boxed, as in `judge`.
            let claims = self.door.claims(self.auth_request(user, Some(&key)));
            let claims = Box::pin(claims.instrument(self.link.span.clone()));
            // Who can't be asked now goes on as without the claims.
            let names = timeout(PATIENCE, claims).await.unwrap_or_default();
            if !names.is_empty() {
                self.claimed = Some(key);
                self.answers = 1;
                let prompt = claim_question(&names);
                return Some(self.ask(Said::Claim, CLAIM_NOTICE.to_owned(), prompt));
            }
        }
        None
    }

    async fn answer_claim(&mut self, user: &Text, key: ProvenKey, answer: &str) -> Step {
        // Boxed, as in `judge`.
        let answered = self
            .door
            .answer_claim(self.auth_request(user, Some(&key)), answer);
        let answered = Box::pin(answered.instrument(self.link.span.clone()));
        match timeout(PATIENCE, answered).await {
            Ok(ClaimAnswer::Accepted) => Step::Confirmed(key),
            Ok(ClaimAnswer::Again(question)) if self.answers < MAX_CLAIM_ANSWERS => {
                self.answers += 1;
                self.claimed = Some(key);
                self.ask(Said::Claim, String::new(), question)
            }
            Ok(ClaimAnswer::Refused | ClaimAnswer::Again(_)) => self.begin(user).await,
            Ok(ClaimAnswer::Failed(words)) => self.goodbye(&words),
            Err(_) => {
                self.no_answer();
                self.goodbye(CANT_JUDGE)
            }
        }
    }

    /// Looks at a code, before anything else is asked for: whoever has a good one keeps it while they
    /// look for a name that is free.
    async fn check(&mut self, user: &Text, key: &ProvenKey, code: String) -> Step {
        // Those who were asked before the penalty guess no more either.
        if let Some(left) = self.link.seat.penalty(std::time::Instant::now()) {
            return self.goodbye(&penalised(left));
        }
        let judged = Instant::now() + WRONG;
        // Boxed, as in `judge`.
        let checking = self
            .door
            .check_invite(self.auth_request(user, Some(key)), &code);
        let checking = Box::pin(checking.instrument(self.link.span.clone()));
        let checked = timeout(PATIENCE, checking).await;
        match checked {
            Ok(Ok(())) => {
                // An empty code asks an operator, and has nothing to be praised for.
                let good = if code.is_empty() {
                    ""
                } else {
                    "The code is good. "
                };
                let usual = Name::new(user.as_str()).ok();
                let usual = usual.map_or_else(String::new, |_| format!("Enter keeps {user}. "));
                self.code = code;
                let prompt = format!("{good}{usual}Name: ");
                self.ask_name(prompt, "")
            }
            Ok(Err(InviteRejected { notice, again })) => {
                // To leave the code empty is no guess.
                if !code.is_empty() {
                    self.link.seat.counters().invites_wrong.up();
                    self.guessed = true;
                    tracing::info!(parent: &self.link.span, event = "invite_wrong", user = user.as_str(), key = %key.fingerprint, "an invite code did not let somebody in");
                    self.link.seat.penalise(std::time::Instant::now());
                }
                sleep_until(judged).await;
                self.again(&notice, again)
            }
            Err(_) => {
                self.no_answer();
                self.goodbye(CANT_REDEEM)
            }
        }
    }

    async fn redeem(&mut self, user: &Text, key: ProvenKey, name: &str) -> Step {
        let who = self.auth_request(user, Some(&key));
        // Boxed, as in `judge`.
        let redeeming = self.door.redeem_invite(who, &self.code, name);
        let redeeming = Box::pin(redeeming.instrument(self.link.span.clone()));
        let redeemed = timeout(PATIENCE, redeeming).await;
        match redeemed {
            Ok(Ok(())) => {
                self.link.seat.counters().invites_redeemed.up();
                tracing::info!(parent: &self.link.span, event = "invite_redeemed", user = user.as_str(), key = %key.fingerprint, "somebody was let in");
                Step::Enter(Some(key))
            }
            // Not a guess, even if the code was used up in the meantime.
            Ok(Err(InviteRejected { notice, again })) => self.again(&notice, again),
            Err(_) => {
                self.no_answer();
                self.goodbye(CANT_REDEEM)
            }
        }
    }

    fn again(&mut self, notice: &str, again: RetryPrompt) -> Step {
        match again {
            RetryPrompt::Nothing => self.goodbye(notice),
            RetryPrompt::Code => self.ask_code(String::new(), notice),
            RetryPrompt::Name => self.ask_name(prompt(notice, "Another name: "), notice),
        }
    }

    /// Asks for a code, or says goodbye to somebody who has been asked often enough. The reason is
    /// in the prompt, too: `ssh -q` shows nothing else.
    fn ask_code(&mut self, words: String, reason: &str) -> Step {
        if self.codes >= MAX_CODES {
            return self.goodbye(if words.is_empty() { reason } else { &words });
        }
        self.codes += 1;
        let question = format!("Invite code (Enter to {}): ", self.enter);
        self.ask(Said::Code, words, prompt(reason, &question))
    }

    fn ask_name(&mut self, prompt: String, reason: &str) -> Step {
        if self.names >= MAX_NAMES {
            return self.goodbye(reason);
        }
        self.names += 1;
        self.ask(Said::Name, String::new(), prompt)
    }

    fn ask(&mut self, said: Said, words: String, prompt: String) -> Step {
        self.said = said;
        self.link.asked(Instant::now() + self.time_to_answer);
        Step::Ask { words, prompt }
    }

    fn goodbye(&mut self, words: &str) -> Step {
        self.said = Said::Goodbye;
        Step::Tell(words.to_owned())
    }

    /// What the door says; `None` if it says nothing in time.
    async fn judge(&mut self, user: &Text, key: Option<&ProvenKey>) -> Option<AuthDecision> {
        if self.silent {
            return None;
        }
        // Boxed: russh keeps room for what a handler awaits for as long as the connection lives.
        let judging = self.door.authenticate(self.auth_request(user, key));
        let judging = Box::pin(judging.instrument(self.link.span.clone()));
        let decision = timeout(PATIENCE, judging).await;
        if decision.is_err() {
            self.no_answer();
        }
        decision.ok()
    }

    fn no_answer(&mut self) {
        self.silent = true;
        self.link.attempts().excused = true;
        let seconds = PATIENCE.as_secs();
        tracing::warn!(
            parent: &self.link.span,
            event = "door_silent",
            seconds,
            "could not find out in time who may come in"
        );
    }

    fn auth_request<'a>(&'a self, user: &'a Text, key: Option<&'a ProvenKey>) -> AuthRequest<'a> {
        AuthRequest {
            addr: self.link.addr,
            user,
            client: self.link.control.client(),
            key,
        }
    }
}

#[cfg(test)]
mod tests;
