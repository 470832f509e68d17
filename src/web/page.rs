//! What the page looks like: HTML that escapes whatever it is given, one style sheet, and a script
//! of one line that can be missing.

use chrono::DateTime;
use data_encoding::HEXLOWER;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::Site;
use super::desk::Welcome;
use super::form::{Form, Problems};
use crate::chat::access::Role;
use crate::chat::ids::Time;

/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// Moves the code of an invite's link from the address, of which no server hears that part, into
/// its field. Without scripts it can be copied by hand.
pub(super) const SCRIPT: &str = "{const c=location.hash.slice(1),f=document.getElementById('code');\
    if(f&&/^[\\w-]{20,40}$/.test(c)){f.value||=c;history.replaceState(null,'',location.pathname)}}";

/// Where the page and its style sheet are on this server.
#[derive(Debug, Clone)]
pub(super) struct Links {
    pub home: String,
    /// Has a hash of the content in its name, so that browsers can keep it.
    pub style: String,
}

impl Links {
    /// For a page at this path.
    pub fn new(home: &str) -> Links {
        let hash = HEXLOWER.encode(&Sha256::digest(STYLE));
        let hash = hash.get(..12).unwrap_or_default();
        Links {
            home: home.to_owned(),
            style: format!("{}/style-{hash}.css", home.trim_end_matches('/')),
        }
    }
}

/// A page of one site.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'a> {
    site: &'a Site,
    links: &'a Links,
}

/// A field of the form, and what there is to say about it.
struct Field<'a> {
    id: &'static str,
    label: &'static str,
    hint: Markup,
    problem: Option<&'a str>,
}

impl<'a> Page<'a> {
    pub fn new(site: &'a Site, links: &'a Links) -> Page<'a> {
        Page { site, links }
    }

    /// The form as somebody filled it in, and what is wrong with it.
    pub fn form(self, form: &Form, problems: &Problems) -> Markup {
        let host = &self.site.host;
        let title = if problems.none() {
            format!("Join {host}")
        } else {
            format!("Not yet: join {host}")
        };
        let main = html! {
            (self.head("Join with your SSH key", &html! {
                p.lead {
                    "A private chat in your terminal. There is no app and no password: your SSH \
                     key says who you are."
                }
            }))
            main {
                (self.questions(form, problems))
                section aria-labelledby="server" {
                    h2 #server { "This server" }
                    (self.server(Some(&self.site.join)))
                }
                (help())
            }
        };
        self.whole(&title, &main)
    }

    /// What somebody is told whose key is registered.
    pub fn welcome(self, welcome: &Welcome) -> Markup {
        let Welcome {
            name,
            role,
            key,
            proof_by,
        } = welcome;
        let title = format!("Come in, {name}");
        let words = html! {
            p.lead { "Your key is registered. Type this in your terminal:" }
            p.line { code { (self.site.join) } }
            @if let Some(by) = proof_by {
                p {
                    "Do so by " time datetime=(stamp(*by)) { (shown(*by)) } ". It shows that the \
                     key is yours, and the name is yours for good. If nobody does, both are \
                     forgotten."
                }
            }
        };
        let main = html! {
            (self.head(&title, &words))
            main {
                section aria-labelledby="server" {
                    h2 #server { "When ssh asks" }
                    (self.server(None))
                }
                section aria-labelledby="registered" {
                    h2 #registered { "What is registered" }
                    dl {
                        (fact("Your name", &html! { strong { (name) } }))
                        @if *role == Role::Operator {
                            (fact("Your role", &html! { "operator: /help operators says what you can do" }))
                        }
                        (fact("Your key", &html! {
                            (key.algorithm) @if !key.comment.is_empty() { ", " (key.comment) }
                        }))
                        (fact("Its fingerprint", &html! { code { (key.fingerprint) } }))
                    }
                    p.quiet {
                        "If ssh does not find the key by itself, name its file, the one without "
                        code { ".pub" } ": " code { (self.site.join.replacen("ssh", "ssh -i FILE", 1)) }
                    }
                }
            }
        };
        self.whole(&title, &main)
    }

    fn whole(self, title: &str, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    link rel="stylesheet" href=(self.links.style);
                }
                body {
                    (body)
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn head(self, title: &str, words: &Markup) -> Markup {
        html! {
            header {
                p.host { (self.site.host) }
                h1 { (title) }
                (words)
            }
        }
    }

    fn questions(self, form: &Form, problems: &Problems) -> Markup {
        let code = Field {
            id: "code",
            label: "Invite code",
            hint: html! { "As it was sent to you. In a link it is the part after " code { "#" } "." },
            problem: problems.code.as_deref(),
        };
        let name = Field {
            id: "name",
            label: "Your name",
            hint: html! { "What the others see: letters a–z, digits, " code { "_" } " and " code { "-" } "." },
            problem: problems.name.as_deref(),
        };
        let key = Field {
            id: "key",
            label: "Your public key",
            hint: html! {
                "The one line in the file that ends in " code { ".pub" } ". "
                a href="#help" { "No key yet?" }
            },
            problem: problems.key.as_deref(),
        };
        // Where to go on: at the first field that has to be changed.
        let first = [&code, &name, &key]
            .into_iter()
            .find(|field| field.problem.is_some());
        let first = first.map(|field| field.id);
        html! {
            form method="post" action=(self.links.home) enctype="multipart/form-data" aria-label="Join" {
                @if let Some(words) = &problems.all {
                    p.problem role="alert" { (words) }
                }
                (code.around(&html! {
                    input #code name="code" type="text" required autocomplete="off"
                        autocapitalize="characters" spellcheck="false" value=(form.code)
                        aria-describedby=(code.described()) aria-invalid=[code.invalid()]
                        autofocus[first == Some("code")];
                }))
                (name.around(&html! {
                    input #name name="name" type="text" required autocomplete="username"
                        autocapitalize="none" spellcheck="false" value=(form.name)
                        aria-describedby=(name.described()) aria-invalid=[name.invalid()]
                        autofocus[first == Some("name")];
                }))
                (key.around(&html! {
                    textarea #key name="key" rows="4" autocomplete="off" autocapitalize="none"
                        spellcheck="false" aria-describedby=(key.described())
                        aria-invalid=[key.invalid()] autofocus[first == Some("key")] {
                        // The first line end is not part of the text.
                        "\n" (form.key)
                    }
                    div.file {
                        label for="file" { "or choose the file" }
                        input #file name="file" type="file" accept=".pub,text/plain"
                            aria-describedby=(key.described());
                    }
                }))
                button type="submit" { "Register this key" }
            }
        }
    }

    /// What tells this server from any other, and what is typed to come in.
    fn server(self, join: Option<&str>) -> Markup {
        let Site {
            fingerprint,
            known_hosts,
            picture,
            ..
        } = self.site;
        html! {
            p {
                "The first time, ssh shows a fingerprint and asks whether you trust it. Say yes if \
                 it is this one."
            }
            div.server {
                figure {
                    pre aria-hidden="true" { (picture) }
                    figcaption { "With " code { "-o VisualHostKey=yes" } " ssh draws this, too." }
                }
                dl {
                    (fact("Fingerprint", &html! { code { (fingerprint) } }))
                    @if let Some(join) = join {
                        (fact("What you type", &html! { code { (join) } }))
                    }
                    (fact("Line for known_hosts", &html! { code.long { (known_hosts) } }))
                }
            }
        }
    }
}

impl Field<'_> {
    fn described(&self) -> String {
        let id = self.id;
        match self.problem {
            Some(_) => format!("{id}-problem {id}-hint"),
            None => format!("{id}-hint"),
        }
    }

    fn invalid(&self) -> Option<&'static str> {
        self.problem.map(|_| "true")
    }

    fn around(&self, control: &Markup) -> Markup {
        let id = self.id;
        html! {
            div.field.wrong[self.problem.is_some()] {
                label for=(id) { (self.label) }
                p.hint id={ (id) "-hint" } { (self.hint) }
                @if let Some(words) = self.problem {
                    p.problem id={ (id) "-problem" } { (words) }
                }
                (control)
            }
        }
    }
}

fn fact(what: &str, is: &Markup) -> Markup {
    html! {
        div { dt { (what) } dd { (is) } }
    }
}

fn help() -> Markup {
    let stays = html! {
        "The other file, without " code { ".pub" } ", is the private key. It stays on your device: \
         nobody who asks for it means well."
    };
    html! {
        section aria-labelledby="help" {
            h2 #help { "No key yet?" }
            details {
                summary { "macOS, Linux, Windows" }
                p { "Open a terminal (on Windows: PowerShell) and make one. Press Enter at each question:" }
                p.line { code { "ssh-keygen -t ed25519" } }
                p { "Then show the public half, and copy that line into the form:" }
                p.line { code { "cat ~/.ssh/id_ed25519.pub" } }
            }
            details {
                summary { "PuTTY" }
                p {
                    "Start PuTTYgen, choose EdDSA, press Generate and save the private key. Copy \
                     what stands in the box “Public key for pasting into OpenSSH authorized_keys \
                     file”."
                }
            }
            details {
                summary { "A phone" }
                p {
                    "An SSH app such as Termius (iPhone, Android), Blink (iPhone) or ConnectBot \
                     (Android) makes a key: choose Ed25519, then share or copy its public key."
                }
            }
            p.quiet { (stays) }
        }
    }
}

/// A moment for people: `29 November 2026, 14:02 UTC`.
fn shown(time: Time) -> String {
    let time = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    time.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// A moment for programs (RFC 3339).
fn stamp(time: Time) -> String {
    let time = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%MZ").to_string()
}

#[cfg(test)]
mod tests;
