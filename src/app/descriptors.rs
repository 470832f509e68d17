//! Whether the process may open as many files as it needs: each connection takes a descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is no chat connection: listeners, the store, the log, the key
/// page and `/metrics`.
const OTHERS: u64 = 200;

/// Raises the soft limit (`ulimit -n`) to the hard one, and warns if that is too little for
/// `limits.connections`.
pub(super) fn prepare(connections: usize) {
    let found = getrlimit(Resource::Nofile);
    if found.current != found.maximum {
        let raised = Rlimit {
            current: found.maximum,
            ..found
        };
        // It may be forbidden. What counts is the limit that is in force then.
        let _unless_forbidden = setrlimit(Resource::Nofile, raised);
    }
    let limit = getrlimit(Resource::Nofile).current;
    if let Some(few) = too_few(connections, limit) {
        let Few {
            limit,
            needed,
            enough_for,
        } = few;
        tracing::warn!(
            event = "few_descriptors",
            limit,
            connections,
            needed,
            "the process may open {limit} files, and limits.connections={connections} needs {needed}: raise the \
             limit (LimitNOFILE={needed} in the unit, ulimit -n in a shell), or set \
             limits.connections={enough_for}"
        );
    }
}

/// Too few descriptors.
#[derive(Debug, PartialEq, Eq)]
struct Few {
    limit: u64,
    needed: u64,
    /// Connections that they are enough for.
    enough_for: u64,
}

/// `limit`: none if there is no limit.
fn too_few(connections: usize, limit: Option<u64>) -> Option<Few> {
    let limit = limit?;
    let needed = u64::try_from(connections).ok()?.saturating_add(OTHERS);
    (limit < needed).then(|| Few {
        limit,
        needed,
        enough_for: limit.saturating_sub(OTHERS).max(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_takes_one() {
        let few = |limit, needed, enough_for| {
            Some(Few {
                limit,
                needed,
                enough_for,
            })
        };
        let cases = [
            (4096, None, None),
            (4096, Some(65_536), None),
            (4096, Some(4296), None),
            (4096, Some(4295), few(4295, 4296, 4095)),
            (4096, Some(1024), few(1024, 4296, 824)),
            (4096, Some(100), few(100, 4296, 1)),
        ];
        for (connections, limit, expected) in cases {
            assert_eq!(too_few(connections, limit), expected, "{limit:?}");
        }
    }
}
