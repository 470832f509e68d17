use super::*;
use crate::chat::ids::Fingerprint;
use crate::rate_limit::TrustedNetworks;
use crate::ssh::gate::Gate;
use crate::ssh::limits::Caps;
use crate::text::Text;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};

/// Asks everybody for an invite, and takes any.
struct Asking;

impl Authenticator for Asking {
    fn allows_address(&self, _: IpAddr) -> bool {
        true
    }

    async fn authenticate(&self, _: AuthRequest<'_>) -> AuthDecision {
        AuthDecision::AskInvite {
            notice: "Who?".to_owned(),
            enter: "leave",
        }
    }

    async fn claims(&self, _: AuthRequest<'_>) -> Vec<Name> {
        Vec::new()
    }

    async fn answer_claim(&self, _: AuthRequest<'_>, _: &str) -> ClaimAnswer {
        ClaimAnswer::Refused
    }

    async fn check_invite(&self, _: AuthRequest<'_>, _: &str) -> Result<(), InviteRejected> {
        Ok(())
    }

    async fn redeem_invite(
        &self,
        _: AuthRequest<'_>,
        _: &str,
        _: &str,
    ) -> Result<(), InviteRejected> {
        Ok(())
    }
}

fn login() -> Login<Asking> {
    let addr: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let gate = Arc::new(Gate::new(Caps {
        total: 1,
        per_address: 1,
        unauthenticated: 1,
        login_grace: Duration::from_secs(20),
        trusted: TrustedNetworks::default(),
    }));
    let seat = gate.enter(addr, std::time::Instant::now()).unwrap();
    let link = Arc::new(Link::new(1, addr, seat));
    Login::new(Arc::new(Asking), link, Duration::ZERO)
}

fn key() -> ProvenKey {
    ProvenKey {
        fingerprint: Fingerprint::new("SHA256:x"),
        algorithm: Text::stored_line("ssh-ed25519"),
    }
}

/// The question for a code.
fn asked() -> Step {
    Step::Ask {
        words: "Who?".to_owned(),
        prompt: "Who? Invite code (Enter to leave): ".to_owned(),
    }
}

#[tokio::test]
async fn who_begins_anew_has_no_more_questions() {
    let (mut login, ann) = (login(), Text::stored_line("ann"));
    assert!(!login.proven(&ann, &key()).await);
    for _ in 0..MAX_CODES {
        assert_eq!(login.begin(&ann).await, asked());
    }
    assert_eq!(login.begin(&ann).await, Step::Tell("Who?".to_owned()));
    let uncalled = login.answered(&ann, "code".to_owned());
    assert_eq!(uncalled.await, Step::Refuse);
}

#[tokio::test]
async fn an_answer_needs_a_question() {
    let (mut login, ann) = (login(), Text::stored_line("ann"));
    let uncalled = || "code".to_owned();
    assert_eq!(login.answered(&ann, uncalled()).await, Step::Refuse);
    assert!(!login.proven(&ann, &key()).await);
    assert_eq!(login.begin(&ann).await, asked());
    let name = Step::Ask {
        words: String::new(),
        prompt: "The code is good. Enter keeps ann. Name: ".to_owned(),
    };
    assert_eq!(login.answered(&ann, "code".to_owned()).await, name);
    let entered = login.answered(&ann, String::new()).await;
    assert_eq!(entered, Step::Enter(Some(key())));
    assert_eq!(login.answered(&ann, uncalled()).await, Step::Refuse);
}

#[test]
fn answers_are_clean_lines() {
    let cases: [(&[&[u8]], &str); 6] = [
        (&[b" ABCD-EFGH\r\n"], "ABCD-EFGH"),
        (&[b"J\xc3\xbcrgen"], "Jürgen"),
        (&[b"\x1b[2J"], "[2J"),
        (&[b"\xff"], "\u{FFFD}"),
        (&[], ""),
        (&[b"a", b"b"], "a"),
    ];
    for (raw, expected) in cases {
        assert_eq!(first(raw.iter()), expected, "{raw:?}");
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
