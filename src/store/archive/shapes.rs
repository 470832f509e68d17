//! The shapes that the types of [`chat`](crate::chat) have in an archive. They follow the types
//! field by field: the compiler says when one is forgotten.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields::{self, Field};
use crate::chat::access::{
    self, BanTarget as Target, ClientPrefix, Issuer, KeyRecord as Record, LockdownScope, Role,
};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::chat::invite;
use crate::text::Text;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Record", deny_unknown_fields)]
pub(super) struct KeyRecord {
    #[serde(with = "fields")]
    fingerprint: Fingerprint,
    #[serde(with = "fields")]
    algorithm: Text,
    #[serde(with = "fields")]
    comment: Text,
    #[serde(with = "fields")]
    added: Time,
}

impl Field for Record {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        KeyRecord::serialize(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        KeyRecord::deserialize(deserializer)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "invite::Invite", deny_unknown_fields)]
pub(super) struct Invite {
    #[serde(with = "fields::hash")]
    hash: String,
    #[serde(with = "fields")]
    role: Role,
    left: u32,
    uses: u32,
    #[serde(with = "fields")]
    expires: Time,
    #[serde(with = "fields")]
    by: Issuer,
    #[serde(with = "fields")]
    at: Time,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "access::PendingKey", deny_unknown_fields)]
pub(super) struct PendingKey {
    #[serde(with = "fields")]
    key: Record,
    #[serde(with = "fields")]
    name: Name,
    #[serde(with = "fields")]
    from: IpAddr,
    #[serde(with = "fields")]
    at: Time,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Target", rename_all = "lowercase")]
enum BanTarget {
    Account(AccountId, #[serde(with = "fields")] Name),
    Key(#[serde(with = "fields::banned_key")] Fingerprint),
    Network(#[serde(with = "fields")] IpNet),
    Client(#[serde(with = "fields")] ClientPrefix),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "access::Ban", deny_unknown_fields)]
pub(super) struct Ban {
    #[serde(with = "fields")]
    id: u64,
    #[serde(with = "BanTarget")]
    target: Target,
    #[serde(with = "fields")]
    by: Issuer,
    #[serde(with = "fields")]
    at: Time,
    #[serde(with = "fields", default, skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    #[serde(with = "fields", default, skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "access::Mute", deny_unknown_fields)]
pub(super) struct Mute {
    account: AccountId,
    #[serde(with = "fields")]
    by: Issuer,
    #[serde(with = "fields", default, skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    #[serde(with = "fields", default, skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "access::Lockdown", deny_unknown_fields)]
pub(super) struct Lockdown {
    #[serde(default, skip_serializing_if = "LockdownScope::is_everyone")]
    scope: LockdownScope,
    #[serde(with = "fields")]
    by: Issuer,
    #[serde(with = "fields", default, skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
}
