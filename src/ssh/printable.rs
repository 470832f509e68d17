//! Words of strangers, made fit for a log line.

/// At most `max` characters of what somebody sent, with `?` for each that is not printable
/// ASCII. What they call themselves before they are known must not move a cursor or forge a
/// second log line.
pub(super) fn printable(raw: &[u8], max: usize) -> String {
    // A character has at most four bytes: look at no more than can be needed.
    let bytes = raw.get(..max.saturating_mul(4)).unwrap_or(raw);
    String::from_utf8_lossy(bytes)
        .chars()
        .take(max)
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;
    use proptest::prelude::*;

    #[test]
    fn only_printable_ascii_is_left() {
        let cases: [(&[u8], &str); 6] = [
            (b"alice", "alice"),
            (b"", ""),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian", "SSH-2.0-OpenSSH_"),
            (b"a\x1b[2J\r\nb", "a?[2J??b"),
            ("jürgen".as_bytes(), "j?rgen"),
            (b"\xff\xfe\x00", "???"),
        ];
        for (raw, expected) in cases {
            assert_eq!(printable(raw, 16), expected, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn bounded_and_stable(raw: Vec<u8>, max in 0usize..64) {
            let once = printable(&raw, max);
            prop_assert!(once.len() <= max);
            prop_assert!(once.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(printable(once.as_bytes(), max), once);
        }
    }
}
