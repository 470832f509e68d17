use super::*;
use crate::chat::ids::Fingerprint;
use crate::rate_limit::TrustedNetworks;
use crate::ssh::limiter::ConnectionLimiter;
use crate::ssh::limits::ConnectionLimits;
use crate::text::Text;
use proptest::prelude::*;
use russh::keys::HashAlg;
use russh::keys::ssh_key::Mpint;
use russh::keys::ssh_key::public::{KeyData, RsaPublicKey};
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

fn login() -> LoginDialog<Asking> {
    let addr: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let limiter = Arc::new(ConnectionLimiter::new(ConnectionLimits {
        total: 1,
        per_address: 1,
        unauthenticated: 1,
        login_grace: Duration::from_secs(20),
        trusted: TrustedNetworks::default(),
    }));
    let permit = limiter.admit(addr, std::time::Instant::now()).unwrap();
    let conn = Arc::new(ConnectionState::new(1, addr, permit));
    LoginDialog::new(Arc::new(Asking), conn, Duration::ZERO)
}

fn key() -> ProvenKey {
    ProvenKey {
        fingerprint: Fingerprint::new("SHA256:x"),
        algorithm: Text::stored_line("ssh-ed25519"),
    }
}

/// The question for a code.
fn asked() -> DialogStep {
    DialogStep::Prompt {
        text: "Who?".to_owned(),
        prompt: "Who? Invite code (Enter to leave): ".to_owned(),
    }
}

#[tokio::test]
async fn starting_over_does_not_reset_the_prompts() {
    let (mut login, ann) = (login(), Text::stored_line("ann"));
    assert!(!login.try_key(&ann, &key()).await);
    for _ in 0..MAX_CODES {
        assert_eq!(login.start(&ann).await, asked());
    }
    assert_eq!(login.start(&ann).await, DialogStep::Show("Who?".to_owned()));
    let uncalled = login.answer(&ann, "code".to_owned());
    assert_eq!(uncalled.await, DialogStep::Reject);
}

#[tokio::test]
async fn an_answer_needs_a_question() {
    let (mut login, ann) = (login(), Text::stored_line("ann"));
    let uncalled = || "code".to_owned();
    assert_eq!(login.answer(&ann, uncalled()).await, DialogStep::Reject);
    assert!(!login.try_key(&ann, &key()).await);
    assert_eq!(login.start(&ann).await, asked());
    let name = DialogStep::Prompt {
        text: String::new(),
        prompt: "Code accepted. Enter keeps ann. Name: ".to_owned(),
    };
    assert_eq!(login.answer(&ann, "code".to_owned()).await, name);
    let entered = login.answer(&ann, String::new()).await;
    assert_eq!(entered, DialogStep::Accept(Some(key())));
    assert_eq!(login.answer(&ann, uncalled()).await, DialogStep::Reject);
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
        assert_eq!(first_answer(raw.iter()), expected, "{raw:?}");
    }
}

proptest! {
    #[test]
    fn answers_are_bounded(raw in proptest::collection::vec(any::<u8>(), 0..1000)) {
        let line = sanitize_answer(&raw);
        prop_assert!(line.len() <= MAX_ANSWER);
        prop_assert!(!line.chars().any(char::is_control));
    }
}

fn rsa(bits: usize) -> PublicKey {
    let number = |bits: usize| Mpint::from_positive_bytes(&vec![0xff; bits / 8]);
    let rsa = RsaPublicKey::new(number(16), number(bits)).unwrap();
    PublicKey::from(KeyData::Rsa(rsa))
}

#[test]
fn the_hash_counts_as_well_as_the_key() {
    let sha2 = Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    };
    let sha1 = Algorithm::Rsa { hash: None };
    let short = || KeyRejection::Key(keys::KeyRejected::ShortRsa(2048));
    let cases = [
        (4096, &sha2, Ok(())),
        (4096, &sha1, Err(KeyRejection::Sha1)),
        (2048, &sha2, Err(short())),
        (2048, &sha1, Err(short())),
    ];
    for (bits, algorithm, expected) in cases {
        assert_eq!(
            check_key(&rsa(bits), algorithm),
            expected,
            "{bits} {algorithm}"
        );
    }
}
