//! Which source a form comes from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::rate_limit::source;

/// The source of a request. Behind proxies it is the address that the outermost of those that are
/// trusted has seen: each adds one at the end of `X-Forwarded-For`, and what stands in front of
/// theirs anybody may have written.
pub(super) fn of_request(peer: Option<IpAddr>, headers: &HeaderMap, hops: usize) -> IpAddr {
    let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let forwarded = hops.checked_sub(1).and_then(|from_the_end| {
        let values = headers.get_all("x-forwarded-for").iter().rev();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','))
            .nth(from_the_end)
            .and_then(address)
    });
    source(forwarded.unwrap_or(peer))
}

/// An address, as some proxies write it with the port.
fn address(raw: &str) -> Option<IpAddr> {
    let raw = raw.trim();
    let bare = raw.trim_start_matches('[').trim_end_matches(']');
    let with_port = || raw.parse().map(|addr: SocketAddr| addr.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_what_trusted_proxies_saw() {
        let two = &["203.0.113.1, 198.51.100.2", "192.0.2.3"][..];
        for (forwarded, hops, expected) in [
            (&[][..], 0, "127.0.0.1"),
            (&["203.0.113.1"], 0, "127.0.0.1"),
            (&["203.0.113.1"], 1, "203.0.113.1"),
            (&["203.0.113.1:4711"], 1, "203.0.113.1"),
            (&["[2001:db8:0:1::5]:4711"], 1, "2001:db8:0:1::"),
            (&["[2001:db8::5]"], 1, "2001:db8::"),
            (&["2001:db8:0:1:2:3:4:5"], 1, "2001:db8:0:1::"),
            (&["::ffff:203.0.113.1"], 1, "203.0.113.1"),
            (&["spoofed, 203.0.113.1"], 1, "203.0.113.1"),
            (two, 1, "192.0.2.3"),
            (two, 2, "198.51.100.2"),
            (two, 3, "203.0.113.1"),
            // Not the way through the proxies.
            (two, 4, "127.0.0.1"),
            (&["203.0.113.1, unknown"], 1, "127.0.0.1"),
            (&[], 1, "127.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let found = of_request(Some([127, 0, 0, 1].into()), &headers, hops);
            assert_eq!(found.to_string(), expected, "{forwarded:?} {hops}");
        }
        let unknown = of_request(None, &HeaderMap::new(), 0);
        assert_eq!(unknown.to_string(), "::");
    }
}
