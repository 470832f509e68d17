//! Normalizes what differs from run to run: times and fingerprints.

/// `14:02` becomes `HH:MM`, `14:02:07` `HH:MM:SS`, a fingerprint `SHA256:…`.
pub fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let time = (!before.is_alphanumeric() && before != ':')
            .then(|| time(rest))
            .flatten();
        let taken = if let Some((length, written)) = time {
            out.push_str(written);
            length
        } else if let Some(fingerprint) = rest.strip_prefix("SHA256:") {
            let is_part =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '…' | '.');
            let end = fingerprint
                .find(|c| !is_part(c))
                .unwrap_or(fingerprint.len());
            out.push_str("SHA256:…");
            "SHA256:".len() + end
        } else {
            out.push(c);
            c.len_utf8()
        };
        before = rest[..taken].chars().next_back().unwrap_or(c);
        rest = &rest[taken..];
    }
    out
}

/// A time at the start of a text: its length and its replacement.
fn time(text: &str) -> Option<(usize, &'static str)> {
    let fits = |shape: &str| {
        let mut chars = text.chars();
        let fits = shape.chars().all(|s| {
            chars.next().is_some_and(|c| {
                if s == ':' {
                    c == ':'
                } else {
                    c.is_ascii_digit()
                }
            })
        });
        fits && !chars
            .next()
            .is_some_and(|c| c.is_alphanumeric() || c == ':')
    };
    ["HH:MM", "HH:MM:SS"]
        .into_iter()
        .find(|shape| fits(shape))
        .map(|shape| (shape.len(), shape))
}

#[test]
fn times_and_fingerprints_are_normalized() {
    for (text, expected) in [
        ("14:02 alice: hi", "HH:MM alice: hi"),
        (" 14:02:07  bob", " HH:MM:SS  bob"),
        ("at 14:02, and 1:2:3", "at HH:MM, and 1:2:3"),
        (
            "127.0.0.1:2222 x14:02 14:021",
            "127.0.0.1:2222 x14:02 14:021",
        ),
        ("you (SHA256:k+/X…q0) é", "you (SHA256:…) é"),
    ] {
        assert_eq!(tidy(text), expected);
    }
}
