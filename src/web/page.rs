//! The page's HTML, with all values escaped; its style sheet, and an optional script of one line.

use chrono::DateTime;
use data_encoding::HEXLOWER;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::Site;
use super::form::{Form, Problems};
use super::registration::Registered;
use crate::chat::access::Role;
use crate::chat::ids::Time;

/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// Moves the code from the URL's fragment, which browsers don't send to servers, into its field.
/// Without scripts, users copy it by hand.
pub(super) const SCRIPT: &str = "{const c=location.hash.slice(1),f=document.getElementById('code');\
    if(f&&/^[\\w-]{20,40}$/.test(c)){f.value||=c;history.replaceState(null,'',location.pathname)}}";

/// The paths of the page and its style sheet.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub home: String,
    /// Contains a hash of the content, so that browsers can cache it forever.
    pub style: String,
}

impl Paths {
    /// Returns the paths for a page at `home`.
    pub fn new(home: &str) -> Paths {
        let hash = HEXLOWER.encode(&Sha256::digest(STYLE));
        let hash = hash.get(..12).unwrap_or_default();
        Paths {
            home: home.to_owned(),
            style: format!("{}/style-{hash}.css", home.trim_end_matches('/')),
        }
    }
}

/// Renders the pages of one site.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageRenderer<'a> {
    site: &'a Site,
    paths: &'a Paths,
}

/// A form field with its label, hint and error.
struct FormField<'a> {
    id: &'static str,
    label: &'static str,
    hint: Markup,
    problem: Option<&'a str>,
}

impl<'a> PageRenderer<'a> {
    pub fn new(site: &'a Site, paths: &'a Paths) -> PageRenderer<'a> {
        PageRenderer { site, paths }
    }

    /// Renders the form with the values and problems of the last attempt.
    pub fn form(self, form: &Form, problems: &Problems) -> Markup {
        let host = &self.site.host;
        let title = if problems.is_empty() {
            format!("Join {host}")
        } else {
            format!("Error: join {host}")
        };
        let main = html! {
            (self.head("Join with your SSH key", &html! {
                p.lead {
                    "A private chat in your terminal. No app, no password: you sign in with your SSH \
                     key."
                }
            }))
            main {
                (self.fields(form, problems))
                section aria-labelledby="server" {
                    h2 #server { "This server" }
                    (self.server(Some(&self.site.join)))
                }
                (help())
            }
        };
        self.document(&title, &main)
    }

    /// Renders the confirmation.
    pub fn registered(self, registered: &Registered) -> Markup {
        let Registered {
            name,
            role,
            key,
            proof_by,
        } = registered;
        let title = format!("Welcome, {name}");
        let intro = html! {
            p.lead { "Your key is registered. Run this in your terminal:" }
            p.line { code { (self.site.join) } }
            @if let Some(by) = proof_by {
                p {
                    "Log in by " time datetime=(stamp(*by)) { (shown(*by)) } " to prove that the key is \
                     yours. After that, the name is yours for good. Without a login, name and key \
                     become available again."
                }
            }
        };
        let main = html! {
            (self.head(&title, &intro))
            main {
                section aria-labelledby="server" {
                    h2 #server { "When ssh asks about the host key" }
                    (self.server(None))
                }
                section aria-labelledby="registered" {
                    h2 #registered { "Your account" }
                    dl {
                        (fact("Name", &html! { strong { (name) } }))
                        @if *role == Role::Operator {
                            (fact("Role", &html! { "operator (see /help operators)" }))
                        }
                        (fact("Key", &html! {
                            (key.algorithm) @if !key.comment.is_empty() { ", " (key.comment) }
                        }))
                        (fact("Key fingerprint", &html! { code { (key.fingerprint) } }))
                    }
                    p.quiet {
                        "If ssh doesn't find the key, pass its file, the one without " code { ".pub" } ": "
                        code { (self.site.join.replacen("ssh", "ssh -i FILE", 1)) }
                    }
                }
            }
        };
        self.document(&title, &main)
    }

    fn document(self, title: &str, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    link rel="stylesheet" href=(self.paths.style);
                }
                body {
                    (body)
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn head(self, title: &str, intro: &Markup) -> Markup {
        html! {
            header {
                p.host { (self.site.host) }
                h1 { (title) }
                (intro)
            }
        }
    }

    fn fields(self, form: &Form, problems: &Problems) -> Markup {
        let code = FormField {
            id: "code",
            label: "Invite code",
            hint: html! { "From your invite. In a link, it's the part after " code { "#" } "." },
            problem: problems.code.as_deref(),
        };
        let name = FormField {
            id: "name",
            label: "Your name",
            hint: html! { "Shown to other users: letters a–z, digits, " code { "_" } " and " code { "-" } "." },
            problem: problems.name.as_deref(),
        };
        let key = FormField {
            id: "key",
            label: "Your public key",
            hint: html! {
                "The line in the file that ends in " code { ".pub" } ". "
                a href="#help" { "No key yet?" }
            },
            problem: problems.key.as_deref(),
        };
        // Focus the first field with a problem.
        let first = [&code, &name, &key]
            .into_iter()
            .find(|field| field.problem.is_some());
        let first = first.map(|field| field.id);
        html! {
            form method="post" action=(self.paths.home) enctype="multipart/form-data" aria-label="Join" {
                @if let Some(text) = &problems.general {
                    p.problem role="alert" { (text) }
                }
                (code.render(&html! {
                    input #code name="code" type="text" required autocomplete="off"
                        autocapitalize="characters" spellcheck="false" value=(form.code)
                        aria-describedby=(code.described_by()) aria-invalid=[code.invalid()]
                        autofocus[first == Some("code")];
                }))
                (name.render(&html! {
                    input #name name="name" type="text" required autocomplete="username"
                        autocapitalize="none" spellcheck="false" value=(form.name)
                        aria-describedby=(name.described_by()) aria-invalid=[name.invalid()]
                        autofocus[first == Some("name")];
                }))
                (key.render(&html! {
                    textarea #key name="key" rows="4" autocomplete="off" autocapitalize="none"
                        spellcheck="false" aria-describedby=(key.described_by())
                        aria-invalid=[key.invalid()] autofocus[first == Some("key")] {
                        // The first line end is not part of the text.
                        "\n" (form.key)
                    }
                    div.file {
                        label for="file" { "or upload the file" }
                        input #file name="file" type="file" accept=".pub,text/plain"
                            aria-describedby=(key.described_by());
                    }
                }))
                button type="submit" { "Register key" }
            }
        }
    }

    /// Renders how to verify the host key, and the command that joins.
    fn server(self, join: Option<&str>) -> Markup {
        let Site {
            fingerprint,
            known_hosts,
            picture,
            ..
        } = self.site;
        html! {
            p {
                "On the first connection, ssh shows a fingerprint and asks whether to trust it. Answer \
                 yes only if it's this one."
            }
            div.server {
                figure {
                    pre aria-hidden="true" { (picture) }
                    figcaption { "With " code { "-o VisualHostKey=yes" } ", ssh draws this picture, too." }
                }
                dl {
                    (fact("Fingerprint", &html! { code { (fingerprint) } }))
                    @if let Some(join) = join {
                        (fact("Command", &html! { code { (join) } }))
                    }
                    (fact("Line for known_hosts", &html! { code.long { (known_hosts) } }))
                }
            }
        }
    }
}

impl FormField<'_> {
    fn described_by(&self) -> String {
        let id = self.id;
        match self.problem {
            Some(_) => format!("{id}-problem {id}-hint"),
            None => format!("{id}-hint"),
        }
    }

    fn invalid(&self) -> Option<&'static str> {
        self.problem.map(|_| "true")
    }

    fn render(&self, control: &Markup) -> Markup {
        let id = self.id;
        html! {
            div.field.wrong[self.problem.is_some()] {
                label for=(id) { (self.label) }
                p.hint id={ (id) "-hint" } { (self.hint) }
                @if let Some(text) = self.problem {
                    p.problem id={ (id) "-problem" } { (text) }
                }
                (control)
            }
        }
    }
}

fn fact(term: &str, value: &Markup) -> Markup {
    html! {
        div { dt { (term) } dd { (value) } }
    }
}

fn help() -> Markup {
    let stays = html! {
        "The other file, without " code { ".pub" } ", is your private key. Keep it on your device and \
         never share it."
    };
    html! {
        section aria-labelledby="help" {
            h2 #help { "No key yet?" }
            details {
                summary { "macOS, Linux, Windows" }
                p { "Open a terminal (PowerShell on Windows) and create one. Press Enter at each prompt:" }
                p.line { code { "ssh-keygen -t ed25519" } }
                p { "Then print the public key, and copy the line into the form:" }
                p.line { code { "cat ~/.ssh/id_ed25519.pub" } }
            }
            details {
                summary { "PuTTY" }
                p {
                    "Start PuTTYgen, choose EdDSA, press Generate and save the private key. Copy the text \
                     in the box “Public key for pasting into OpenSSH authorized_keys file”."
                }
            }
            details {
                summary { "Phone" }
                p {
                    "An SSH app such as Termius (iPhone, Android), Blink (iPhone) or ConnectBot \
                     (Android) can create a key: choose Ed25519, then copy its public key."
                }
            }
            p.quiet { (stays) }
        }
    }
}

/// Formats a time for people: `29 November 2026, 14:02 UTC`.
fn shown(time: Time) -> String {
    let time = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    time.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// Formats a time for programs (RFC 3339).
fn stamp(time: Time) -> String {
    let time = DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%MZ").to_string()
}

#[cfg(test)]
mod tests;
