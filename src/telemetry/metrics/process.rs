//! What Linux says of this process, in `/proc/self`: see proc(5). Nothing where it says nothing.

use std::fs;

/// Memory that it has, in bytes, without what is swapped out.
pub(super) fn memory() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = number(&status, "VmRSS:")?;
    kib.checked_mul(1024)
}

/// Descriptors that it has open, the one with which they are counted left out.
pub(super) fn descriptors() -> Option<i64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(open.saturating_sub(1)).ok()
}

/// Descriptors that it may have open; none if there is no limit.
pub(super) fn most_descriptors() -> Option<i64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    number(&limits, "Max open files")
}

/// The first number on the line that begins so.
fn number(text: &str, begins: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(begins))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        let cases = [
            ("VmPeak:\t  9 kB\nVmRSS:\t  5224 kB\n", "VmRSS:", Some(5224)),
            (
                "Max open files            1024                 524288               files\n",
                "Max open files",
                Some(1024),
            ),
            (
                "Max open files  unlimited  unlimited\n",
                "Max open files",
                None,
            ),
            ("", "VmRSS:", None),
        ];
        for (text, begins, expected) in cases {
            assert_eq!(number(text, begins), expected, "{text:?}");
        }
    }

    #[test]
    fn this_process_can_be_seen() {
        assert!(memory().is_some_and(|bytes| bytes > 1024 * 1024));
        let open = descriptors().unwrap();
        assert!(open >= 3);
        assert!(most_descriptors().is_none_or(|most| most >= open));
    }
}
