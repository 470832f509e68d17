//! What operators, and owners of keys, are shown of what they ordered.

use super::entry::Entry;
use super::facts;
use super::machine::Machine;
use super::status;
use crate::access::orders::OrderReply;
use crate::chat::access::{AuditEntry, Ban, KeyRecord, PendingKey};
use crate::chat::ids::{Now, Time};

impl Machine {
    /// An order was carried out, or not.
    pub fn reported(&mut self, result: Result<OrderReply, String>, now: Now) {
        self.job_done();
        match result {
            Ok(report) => self.show_report(&report, now.wall),
            Err(words) => self.error(&words),
        }
        self.release(now);
    }

    fn item(&mut self, head: &str, words: &str) {
        self.display.show(&Entry::Item(head, words));
    }

    fn show_report(&mut self, report: &OrderReply, now: Time) {
        match report {
            OrderReply::Done(words) => self.note(words),
            OrderReply::Invited { code, link, invite } => {
                self.display
                    .show(&Entry::Heading("The code, shown this once:"));
                self.item(code, "");
                if let Some(link) = link {
                    self.item(link, "");
                }
                let facts = facts::invite(invite, &self.zone, now);
                self.note(&format!("{facts}. /invite revoke {} ends it.", invite.id()));
            }
            OrderReply::Invites(invites) => {
                for invite in invites {
                    let facts = facts::invite(invite, &self.zone, now);
                    self.item(invite.id(), &format!("{facts}, by {}", invite.by));
                }
                self.count(invites.len(), "invite");
            }
            OrderReply::Bans(bans) => {
                for ban in bans {
                    self.show_ban(ban, now);
                }
                self.count(bans.len(), "ban");
            }
            OrderReply::Pending(pending) => {
                for PendingKey {
                    key,
                    name,
                    from,
                    at,
                } in pending
                {
                    let since = self.zone.moment(*at, now);
                    let facts = format!("{} from {from}, since {since}", key.fingerprint);
                    self.item(name.as_str(), &facts);
                }
                self.count(pending.len(), "key");
            }
            OrderReply::Keys { keys, claimed } => {
                for key in keys {
                    self.show_key(key, "", now);
                }
                for key in claimed {
                    self.show_key(key, ", waiting for its owner to confirm", now);
                }
                self.count(keys.len(), "key");
            }
            OrderReply::Status(status) => {
                for (head, words) in status::lines(status, &self.server) {
                    self.display.show(&Entry::Item(head, &words));
                }
            }
            OrderReply::Audit(audits) => {
                // The newest is read last.
                for audit in audits.iter().rev() {
                    self.show_audit(audit, now);
                }
                self.count(audits.len(), "entry");
            }
        }
    }

    fn show_key(&mut self, key: &KeyRecord, state: &str, now: Time) {
        let KeyRecord {
            fingerprint,
            algorithm,
            comment,
            added,
        } = key;
        let since = self.zone.moment(*added, now);
        let facts = format!("{algorithm} {comment}, since {since}{state}");
        self.item(fingerprint.as_str(), &facts.replace(" ,", ","));
    }

    fn show_ban(&mut self, ban: &Ban, now: Time) {
        let head = format!("{} {}", ban.id, ban.target);
        let mut facts = format!("by {} at {}", ban.by, self.zone.moment(ban.at, now));
        if let Some(until) = ban.until {
            facts.push_str(", until ");
            facts.push_str(&self.zone.moment(until, now));
        }
        if let Some(reason) = &ban.reason {
            facts.push_str(": ");
            facts.push_str(reason.as_str());
        }
        self.item(&head, &facts);
    }

    fn show_audit(&mut self, audit: &AuditEntry, now: Time) {
        let at = self.zone.moment(audit.at, now);
        let AuditEntry {
            actor,
            action,
            target,
            detail,
            ..
        } = audit;
        self.item(&at, &format!("{actor}: {action} {target} {detail}"));
    }

    fn count(&mut self, count: usize, what: &str) {
        let words = match count {
            0 => format!("No {what}."),
            1 => format!("1 {what}."),
            count => format!("{count} {}.", plural(what)),
        };
        self.note(&words);
    }
}

fn plural(what: &str) -> String {
    match what.strip_suffix('y') {
        Some(stem) if what != "key" => format!("{stem}ies"),
        _ => format!("{what}s"),
    }
}
