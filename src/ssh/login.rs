//! The way in: what the [`Door`] says to somebody, and the talk about it.
//!
//! A key that is proven and not known lets its owner go on: clients offer all their keys, and
//! any of them may be the one. Only when they have no more to offer do they come to
//! keyboard-interactive (RFC 4256), and there they are told, or asked for an invite code.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use crate::access::door::{Candidate, Door, NotRedeemed, Pass, ProvenKey, Verdict, Why};
use crate::text::clean_line;

use super::keys::Refusal;
use super::link::Link;

/// How long the door may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often one connection is asked for a code.
const MAX_QUESTIONS: usize = 3;
/// How long it takes until a code is found wrong. Always the same, so that nobody learns from it
/// whether a code was ever good.
const WRONG: Duration = Duration::from_millis(500);
/// The longest answer that is kept, in bytes.
const MAX_ANSWER: usize = 256;

const CANT_JUDGE: &str = "The server can't look up your key at this moment. Try again in a minute.";
const CANT_REDEEM: &str = "The server could not check your invite code in time.\n\
    Connect again in a minute: if it was taken after all, you get in with your key alone.";

/// The next step of a talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// They are in, with this key.
    Enter(Option<ProvenKey>),
    /// They are to be told this, and then to answer that they have heard it.
    Tell(String),
    /// They are to be told this and asked for a code and a name.
    Ask(String),
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
    Question,
}

/// What somebody has to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    code: String,
    name: String,
}

impl Answers {
    /// The answers to the two prompts; what is missing is empty.
    pub(super) fn new(mut raw: impl Iterator<Item = impl AsRef<[u8]>>) -> Answers {
        let mut next = || {
            raw.next()
                .map_or_else(String::new, |raw| answer(raw.as_ref()))
        };
        Answers {
            code: next(),
            name: next(),
        }
    }
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
    stranger: Option<(ProvenKey, Verdict)>,
    /// What the door says to them without a key, once it was asked.
    keyless: Option<Verdict>,
    /// Whether the door did not answer. It is not asked again, or somebody with many keys would
    /// wait for each of them.
    silent: bool,
    said: Said,
    questions: usize,
    /// Whether they gave a code that is not good.
    guessed: bool,
    /// Whether they have been told all there is to say.
    over: bool,
    /// What came with the welcome.
    pass: Option<Box<Pass>>,
}

impl<D: Door> Login<D> {
    pub(super) fn new(door: Arc<D>, link: Arc<Link>, time_to_answer: Duration) -> Login<D> {
        Login {
            door,
            link,
            time_to_answer,
            unusable: None,
            stranger: None,
            keyless: None,
            silent: false,
            said: Said::Nothing,
            questions: 0,
            guessed: false,
            over: false,
            pass: None,
        }
    }

    /// What came with the welcome, once.
    pub(super) fn take_pass(&mut self) -> Option<Box<Pass>> {
        self.pass.take()
    }

    /// They offered a key that can't be used.
    pub(super) fn unusable(&mut self, why: Refusal) {
        self.unusable = Some(why);
    }

    /// They proved to have a key. Whether they are in with it.
    pub(super) async fn proven(&mut self, user: &str, key: &ProvenKey) -> bool {
        if self
            .stranger
            .as_ref()
            .is_some_and(|(known, _)| known == key)
        {
            return false;
        }
        match self.judge(user, Some(key)).await {
            Some(Verdict::Welcome(pass)) => {
                self.pass = pass;
                return true;
            }
            Some(verdict) if self.stranger.is_none() => {
                self.link.attempts().stranger = Some(key.fingerprint.clone());
                self.stranger = Some((key.clone(), verdict));
                self.over = false;
            }
            _ => {}
        }
        false
    }

    /// Why they are not in, in a word.
    pub(super) fn why_not(&self) -> &'static str {
        let stranger = self.stranger.as_ref().map(|(_, verdict)| verdict);
        let judged = stranger.or(self.keyless.as_ref()).and_then(Verdict::reason);
        match judged {
            _ if self.silent => Why::NoAnswer.as_str(),
            _ if self.guessed => "wrong_code",
            Some(reason) => reason,
            None if self.unusable.is_some() => "unusable_key",
            None => Why::NoKey.as_str(),
        }
    }

    /// They want to talk.
    pub(super) async fn begin(&mut self, user: &str) -> Step {
        self.said = Said::Nothing;
        if self.over {
            return Step::Refuse;
        }
        if self.silent {
            return self.goodbye(CANT_JUDGE);
        }
        match self.stranger.clone() {
            Some((_, Verdict::AskInvite { notice })) => self.ask(notice),
            Some((_, Verdict::Refused { notice, .. })) => self.goodbye(&notice),
            _ => self.begin_without_key(user).await,
        }
    }

    async fn begin_without_key(&mut self, user: &str) -> Step {
        if self.keyless.is_none() {
            self.keyless = self.judge(user, None).await;
        }
        match (&self.keyless, &self.unusable) {
            (Some(Verdict::Welcome(_)), None) => Step::Enter(None),
            (Some(Verdict::Welcome(_)), Some(why)) => {
                self.said = Said::Hello;
                Step::Tell(format!("{why}\nUntil then you are a guest."))
            }
            // Nobody to redeem an invite for: that takes a key.
            (Some(Verdict::Refused { notice, .. } | Verdict::AskInvite { notice }), why) => {
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
    pub(super) async fn answered(&mut self, user: &str, answers: Answers) -> Step {
        match (
            std::mem::replace(&mut self.said, Said::Nothing),
            &self.stranger,
        ) {
            (Said::Hello, _) => Step::Enter(None),
            (Said::Question, Some((key, _))) => {
                let key = key.clone();
                self.redeem(user, key, answers).await
            }
            (Said::Nothing | Said::Goodbye | Said::Question, _) => {
                self.over = true;
                Step::Refuse
            }
        }
    }

    async fn redeem(&mut self, user: &str, key: ProvenKey, answers: Answers) -> Step {
        let judged = Instant::now() + WRONG;
        let Answers { code, name } = answers;
        let who = self.candidate(user, Some(&key));
        // Boxed, as in `judge`.
        let redeeming = self.door.redeem(who, &code, &name);
        let redeeming = Box::pin(redeeming.instrument(self.link.span.clone()));
        let redeemed = timeout(PATIENCE, redeeming).await;
        let (span, key_id) = (&self.link.span, &key.fingerprint);
        let counters = self.link.seat.counters();
        match redeemed {
            Ok(Ok(())) => {
                counters.invites_redeemed.up();
                tracing::info!(parent: span, event = "invite_redeemed", user, key = %key_id, "somebody was let in");
                Step::Enter(Some(key))
            }
            Ok(Err(NotRedeemed { notice, again })) => {
                // To leave the code empty is no guess.
                if !code.is_empty() {
                    counters.invites_wrong.up();
                    self.guessed = true;
                    tracing::info!(parent: span, event = "invite_wrong", user, key = %key_id, "an invite code did not let somebody in");
                    self.link.seat.penalise(std::time::Instant::now());
                }
                sleep_until(judged).await;
                if again {
                    self.ask(notice)
                } else {
                    self.goodbye(&notice)
                }
            }
            Err(_) => {
                self.no_answer();
                self.goodbye(CANT_REDEEM)
            }
        }
    }

    /// Asks for a code, or says goodbye to somebody who has been asked often enough.
    fn ask(&mut self, notice: String) -> Step {
        if self.questions >= MAX_QUESTIONS {
            return self.goodbye(&notice);
        }
        self.questions += 1;
        self.said = Said::Question;
        self.link.asked(Instant::now() + self.time_to_answer);
        Step::Ask(notice)
    }

    fn goodbye(&mut self, words: &str) -> Step {
        self.said = Said::Goodbye;
        Step::Tell(words.to_owned())
    }

    /// What the door says; `None` if it says nothing in time.
    async fn judge(&mut self, user: &str, key: Option<&ProvenKey>) -> Option<Verdict> {
        if self.silent {
            return None;
        }
        // Boxed: russh keeps room for what a handler awaits for as long as the connection lives.
        let judging = self.door.judge(self.candidate(user, key));
        let judging = Box::pin(judging.instrument(self.link.span.clone()));
        let verdict = timeout(PATIENCE, judging).await;
        if verdict.is_err() {
            self.no_answer();
        }
        verdict.ok()
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

    fn candidate<'a>(&'a self, user: &'a str, key: Option<&'a ProvenKey>) -> Candidate<'a> {
        Candidate {
            addr: self.link.addr,
            user,
            client: self.link.control.client(),
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ids::Fingerprint;
    use crate::ssh::gate::Gate;
    use crate::ssh::limits::Caps;
    use proptest::prelude::*;
    use std::net::{IpAddr, SocketAddr};

    /// Asks everybody for an invite, and takes any.
    struct Asking;

    impl Door for Asking {
        fn serves(&self, _: IpAddr) -> bool {
            true
        }

        async fn judge(&self, _: Candidate<'_>) -> Verdict {
            Verdict::AskInvite {
                notice: "Who?".to_owned(),
            }
        }

        async fn redeem(&self, _: Candidate<'_>, _: &str, _: &str) -> Result<(), NotRedeemed> {
            Ok(())
        }
    }

    fn login() -> Login<Asking> {
        let addr: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let gate = Arc::new(Gate::new(Caps {
            total: 1,
            per_address: 1,
            unauthenticated: 1,
        }));
        let seat = gate.enter(addr, std::time::Instant::now()).unwrap();
        let link = Arc::new(Link::new(1, addr, seat));
        Login::new(Arc::new(Asking), link, Duration::ZERO)
    }

    fn key() -> ProvenKey {
        ProvenKey {
            fingerprint: Fingerprint::new("SHA256:x"),
            algorithm: "ssh-ed25519".to_owned(),
        }
    }

    #[tokio::test]
    async fn who_begins_anew_has_no_more_questions() {
        let mut login = login();
        assert!(!login.proven("ann", &key()).await);
        for _ in 0..MAX_QUESTIONS {
            assert_eq!(login.begin("ann").await, Step::Ask("Who?".to_owned()));
        }
        assert_eq!(login.begin("ann").await, Step::Tell("Who?".to_owned()));
        let uncalled = Answers::new([b"code"].iter());
        assert_eq!(login.answered("ann", uncalled).await, Step::Refuse);
    }

    #[tokio::test]
    async fn an_answer_needs_a_question() {
        let mut login = login();
        let uncalled = || Answers::new([b"code"].iter());
        assert_eq!(login.answered("ann", uncalled()).await, Step::Refuse);
        assert!(!login.proven("ann", &key()).await);
        assert_eq!(login.begin("ann").await, Step::Ask("Who?".to_owned()));
        let entered = login.answered("ann", uncalled()).await;
        assert_eq!(entered, Step::Enter(Some(key())));
        assert_eq!(login.answered("ann", uncalled()).await, Step::Refuse);
    }

    fn answers(raw: &[&[u8]]) -> (String, String) {
        let Answers { code, name } = Answers::new(raw.iter());
        (code, name)
    }

    #[test]
    fn answers_are_clean_lines() {
        let cases: [(&[&[u8]], &str, &str); 5] = [
            (
                &[b" ABCD-EFGH\r\n", b"J\xc3\xbcrgen"],
                "ABCD-EFGH",
                "Jürgen",
            ),
            (&[b"\x1b[2J", b"\xff"], "[2J", "\u{FFFD}"),
            (&[b"only one"], "only one", ""),
            (&[], "", ""),
            (&[b"a", b"b", b"c"], "a", "b"),
        ];
        for (raw, code, name) in cases {
            assert_eq!(answers(raw), (code.into(), name.into()), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn answers_are_bounded(raw in proptest::collection::vec(any::<u8>(), 0..1000)) {
            let line = answer(&raw);
            prop_assert!(line.len() <= MAX_ANSWER);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
