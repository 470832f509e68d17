//! Conflicts between addresses to listen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::{ConfigError, ValueSource};
use super::settings::Config;

/// Pairs of addresses that can't both be listened on, as far as that can be told without trying.
/// `invalid` are the settings whose value couldn't be parsed.
pub(super) fn conflicts(config: &Config, invalid: &[&str]) -> Vec<ConfigError> {
    let sources = &config.origins.sources;
    let source = |key| sources.get(key).unwrap_or(&ValueSource::Default);
    let chat = config.listen.iter().map(|address| ("listen", *address));
    let metrics = config
        .metrics
        .listen
        .map(|address| ("metrics.listen", address));
    // The page is another process, which may not run at all: its default conflicts with nothing.
    let page = sources
        .contains_key("web.listen")
        .then_some(("web.listen", config.web.listen));
    let all: Vec<_> = chat
        .chain(metrics)
        .chain(page)
        .filter(|(key, _)| !invalid.contains(key))
        .collect();
    let mut errors = Vec::new();
    for (index, (key, one)) in all.iter().enumerate() {
        for (other_key, other) in all.iter().take(index) {
            // Sockets that systemd has already opened don't conflict.
            let is_open = key == other_key && *source(key) == ValueSource::Sockets;
            if is_open || !overlap(*one, *other) {
                continue;
            }
            let message = match key == other_key {
                true if one == other => format!("{key} has {one} twice"),
                true => format!("{key} has both {other} and {one}, which conflict"),
                false => format!("{key} ({one}) conflicts with {other_key} ({other})"),
            };
            let hint = "use another port or address for one of them; 0.0.0.0 covers every IPv4 \
                        address, and [::] covers every IPv6 and IPv4 address";
            errors.push(ConfigError::new(message, source(key).clone(), hint));
        }
    }
    errors
}

/// Whether two sockets can't listen on these addresses at the same time. Port 0 is any free port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0 && one.port() == other.port() && (includes(one, other) || includes(other, one))
}

/// Whether a listener on one address also gets connections to the other. On Linux, `[::]` covers IPv4
/// too (ipv6(7), `IPV6_V6ONLY`).
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
