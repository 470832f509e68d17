//! Addresses that are listened on must not be in each other's way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Config;
use super::error::Problem;
use super::sources::Source;

/// The pairs of addresses of which only one can be listened on, as far as that can be told without
/// trying. `refused` are the settings whose value could not be read.
pub(super) fn collisions(config: &Config, refused: &[&str]) -> Vec<Problem> {
    let source = |key| config.sources.get(key).unwrap_or(&Source::Default);
    let chat = config.listen.iter().map(|address| ("listen", *address));
    let metrics = config.metrics.listen.map(|at| ("metrics.listen", at));
    // Another process listens there, if anybody starts it: the default is no reason to refuse.
    let page = config.sources.contains_key("web.listen");
    let page = page.then_some(("web.listen", config.web.listen));
    let all: Vec<_> = chat
        .chain(metrics)
        .chain(page)
        .filter(|(key, _)| !refused.contains(key))
        .collect();
    let mut problems = Vec::new();
    for (place, (key, one)) in all.iter().enumerate() {
        for (other_key, other) in all.iter().take(place) {
            // Sockets that systemd has opened already are in nobody's way.
            let open = key == other_key && *source(key) == Source::Sockets;
            if open || !overlap(*one, *other) {
                continue;
            }
            let what = match key == other_key {
                true if one == other => format!("{key} has {one} twice"),
                true => format!("{key} has both {other} and {one}, which are in each other's way"),
                false => format!(
                    "{key} is {one}, and {other_key} is {other}: one is in the way of the other"
                ),
            };
            let hint = "another port or another address for one of them; 0.0.0.0 takes every IPv4 \
                        address of its port, and [::] takes those of IPv4 too";
            problems.push(Problem::new(what, source(key).clone(), hint));
        }
    }
    problems
}

/// Whether two sockets can't listen on these addresses at the same time. Port 0 is a free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0 && one.port() == other.port() && (includes(one, other) || includes(other, one))
}

/// Whether who listens on one address has the connections to another, too. On Linux `[::]` is for
/// IPv4 as well (ipv6(7), `IPV6_V6ONLY`).
fn includes(one: SocketAddr, other: SocketAddr) -> bool {
    let scope = |address| match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    };
    match one.ip().to_canonical() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => other.ip().to_canonical().is_ipv4(),
        ip => ip == other.ip().to_canonical() && scope(one) == scope(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_as_linux_sees_it() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:2", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "[::]:1", true),
            ("[::]:1", "[::]:2", false),
            ("[::1]:1", "127.0.0.1:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("[::ffff:127.0.0.1]:1", "0.0.0.0:1", true),
            ("[::ffff:0.0.0.0]:1", "127.0.0.1:1", true),
            ("[::ffff:0.0.0.0]:1", "[::1]:1", false),
            ("[fe80::1%2]:1", "[fe80::1%2]:1", true),
            ("[fe80::1%2]:1", "[fe80::1%3]:1", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::]:0", "[::]:0", false),
        ] {
            let [a, b] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!(overlap(a, b), expected, "{one} and {other}");
            assert_eq!(overlap(b, a), expected, "{other} and {one}");
        }
    }

    /// The table above is what the system does.
    #[test]
    fn linux_agrees() {
        use std::net::TcpListener;
        for (one, other) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "[::1]"),
            ("[::]", "127.0.0.1"),
            ("[::]", "0.0.0.0"),
            ("[::]", "[::1]"),
            ("[::1]", "127.0.0.1"),
            ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ] {
            // A machine without IPv6 has nothing to say.
            let Ok(first) = TcpListener::bind(format!("{one}:0")) else {
                continue;
            };
            let first_at = first.local_addr().unwrap();
            let second_at = format!("{other}:{}", first_at.port()).parse().unwrap();
            match TcpListener::bind(second_at) {
                Ok(_) => assert!(!overlap(first_at, second_at), "{one} and {other}"),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    // Another process may have the port on the second address.
                    let expected = overlap(first_at, second_at);
                    assert!(expected || one != other, "{one} and {other}");
                }
                Err(_) => {}
            }
        }
    }
}
