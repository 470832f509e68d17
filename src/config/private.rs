//! Addresses that the public can't reach.

use std::net::{IpAddr, SocketAddr};

/// Reads an address of this machine alone or of a private network.
pub(super) fn private_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok();
    address
        .filter(|address: &SocketAddr| is_private(address.ip()))
        .ok_or_else(|| {
            "an address that the public can't reach, and a port: 127.0.0.1:9622, [::1]:9622, or one \
             of a private network such as 10.0.0.5:9622; not 0.0.0.0 or [::]"
                .to_owned()
        })
}

/// Whether it is of this machine, or of a range that nobody routes on the Internet: RFC 1918, 3927,
/// 6598, 4193, 4291.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_is_kept_out() {
        let private = [
            "127.0.0.1:9622",
            "127.1.2.3:0",
            "[::1]:9622",
            "[::ffff:127.0.0.1]:1",
            "10.0.0.5:9622",
            "172.17.0.2:9622",
            "192.168.1.1:1",
            "169.254.1.1:1",
            "100.64.0.1:1",
            "100.127.0.1:1",
            "[fd00::1]:1",
            "[fe80::1]:1",
        ];
        for text in private {
            assert_eq!(private_address(text), Ok(text.parse().unwrap()), "{text}");
        }
        let wrong = [
            "0.0.0.0:9622",
            "[::]:9622",
            "[::ffff:0.0.0.0]:1",
            "8.8.8.8:1",
            "172.32.0.1:1",
            "100.128.0.1:1",
            "[2001:db8::1]:1",
            "127.0.0.1",
            "localhost:9622",
            "9622",
            "",
        ];
        for text in wrong {
            let error = private_address(text).unwrap_err();
            assert!(error.contains("127.0.0.1:9622"), "{text}: {error}");
        }
    }
}
