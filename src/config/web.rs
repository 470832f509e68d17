//! The settings of the page where invites are redeemed.

use std::net::SocketAddr;

use super::settings::{Kind, Otherwise, Setting};
use super::table::put;
use super::values::{Rate, addresses, number};
use crate::chat::ids::Time;
use crate::keys::read_public_key;

/// The page where invites are redeemed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// Where `ssh-chat web` listens. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The public half of the host key, if it is not to be looked up: `ssh-ed25519 AAAA…`.
    pub host_key: Option<String>,
    /// How many proxies in front of the page add to `X-Forwarded-For`: 0 to 8.
    pub trusted_hops: usize,
    /// Forms that one source may send at once after a pause; at least 1.
    pub burst: u32,
    /// Forms that one source may send in the long run.
    pub rate: Rate,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            host_key: None,
            trusted_hops: 0,
            burst: 20,
            rate: Rate::per_minute(10),
        }
    }
}

pub(super) const LISTEN: Setting = Setting {
    key: "web.listen",
    kind: Kind::Text,
    otherwise: Otherwise::Fixed,
    help: "Where `ssh-chat web` shows the page, as `ADDRESS:PORT`; port 0 is any free port",
    reloadable: false,
    set: |c, v| put(&mut c.web.listen, listen(v)),
    show: |c| Some(c.web.listen.to_string()),
};

pub(super) const HOST_KEY: Setting = Setting {
    key: "web.host_key",
    kind: Kind::Text,
    otherwise: Otherwise::Found {
        how: "what `aws.host_key_parameter` says, else the host key itself",
        example: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
    },
    help: "The public half of the host key that the page shows, for a place that can't read \
           the key",
    reloadable: false,
    set: |c, v| put(&mut c.web.host_key, host_key(v)),
    show: |c| c.web.host_key.clone(),
};

pub(super) const TRUSTED_HOPS: Setting = Setting {
    key: "web.trusted_hops",
    kind: Kind::Number,
    otherwise: Otherwise::Fixed,
    help: "How many proxies in front of the page add to `X-Forwarded-For`; 0 looks at the \
           connection only",
    reloadable: false,
    set: |c, v| put(&mut c.web.trusted_hops, number(v, 0..=8)),
    show: |c| Some(c.web.trusted_hops.to_string()),
};

pub(super) const BURST: Setting = Setting {
    key: "web.burst",
    kind: Kind::Number,
    otherwise: Otherwise::Fixed,
    help: "Forms that one address may send at once, after a pause",
    reloadable: false,
    set: |c, v| put(&mut c.web.burst, number(v, 1..=1000)),
    show: |c| Some(c.web.burst.to_string()),
};

pub(super) const RATE: Setting = Setting {
    key: "web.rate",
    kind: Kind::Text,
    otherwise: Otherwise::Fixed,
    help: "Forms that one address may send in the long run: `10/min`, `100/h`; `0` is no limit",
    reloadable: false,
    set: |c, v| put(&mut c.web.rate, v.parse()),
    show: |c| Some(c.web.rate.to_string()),
};

/// Reads one address to listen on.
fn listen(text: &str) -> Result<SocketAddr, String> {
    match addresses(text)?.as_slice() {
        [one] => Ok(*one),
        _ => Err("one address and port, such as 127.0.0.1:8080".to_owned()),
    }
}

/// Reads the public half of a host key. The comment is left off.
fn host_key(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let key = read_public_key(text, Time(0)).map_err(|error| {
        format!("the public key that `ssh-chat host-key show` prints, from ssh-ed25519 on: {error}")
    })?;
    let mut words = text.split_whitespace();
    match (key.algorithm.as_str(), words.next(), words.next()) {
        ("ssh-ed25519", Some(kind), Some(base64)) => Ok(Some(format!("{kind} {base64}"))),
        _ => Err("a line that begins with ssh-ed25519, as every host key here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_a_server_can_have_is_taken() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB\
                     BO+PyyJ4V488nG9LUmcGFOViEjr0Jh5tXgXsQW9w8mzsI+CGD9DPmhJjl8yH9Jb2qp7PJ7nYP4+\
                     dNWnpsTXEeu4=";
        let refused = host_key(ecdsa).unwrap_err();
        assert!(refused.contains("begins with ssh-ed25519"), "{refused}");
    }
}
