//! What each command does, from the side of the one who types it.

use super::facts::{HISTORY, MAX_HISTORY, TOPIC};
use super::machine::{Fetch, Machine, Wish};
use super::requests::Asked;
use super::theme::{THEMES, Theme};
use super::unsent::Entered;
use super::usage::cost;
use super::zone;
use crate::access::orders;
use crate::chat::command::{self, ParsedLine, Verb};
use crate::chat::event::Author;
use crate::chat::ids::{Conversation, Name, Now};
use crate::chat::intent::{Intent, Query, Refusal, Target};
use crate::chat::preferences::IgnoreChange;
use crate::chat::preferences::{Ignored, Timestamps};
use crate::keys;
use crate::text::Text;

/// The longest reason for being away, in characters.
const REASON: usize = 120;

impl Machine {
    /// Does what a line says.
    pub(super) fn line(&mut self, line: &Entered, now: Now) {
        match command::parse(&line.text) {
            ParsedLine::Blank => {}
            ParsedLine::Say(words) => {
                let to = self.target();
                self.say(to, words, false, line, now);
            }
            ParsedLine::Wrong(words) => self.error(&words),
            ParsedLine::Command(verb, args) => {
                if let Err(refusal) = self.allow(verb, &args, now) {
                    return self.give_back(line.clone(), &refusal, now);
                }
                if let Err(words) = self.command(verb, &args, line, now) {
                    self.error(&words);
                }
            }
        }
    }

    /// Whether another command is allowed now. Leaving always is.
    fn allow(&self, verb: Verb, args: &[&str], now: Now) -> Result<(), Refusal> {
        match &self.commands {
            Some(share) if verb != Verb::Quit => {
                share.take(cost(verb, args.last().copied()), now.mono)
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, to: Target, words: &str, action: bool, line: &Entered, now: Now) {
        // The wrong file pasted into the wrong window: nobody is to see it.
        if words.contains("PRIVATE KEY-----") {
            self.error("That is a PRIVATE key, so it was not sent. If it was shown to anybody, make a new one.");
            return;
        }
        match Text::message(words) {
            Ok(text) => {
                let intent = Intent::Say { to, text, action };
                self.intend(Asked::Say(line.clone()), intent, now);
            }
            Err(error) => self.not_sent(line.clone(), &error.to_string(), "text", now),
        }
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one arm for each command, in the table's order"
    )]
    fn command(
        &mut self,
        verb: Verb,
        args: &[&str],
        line: &Entered,
        now: Now,
    ) -> Result<(), String> {
        let first = args.first().copied();
        let words = first.unwrap_or("");
        match verb {
            Verb::Msg => {
                let to = Target::Person(command::person(words)?);
                let text = args.get(1).copied().unwrap_or("");
                self.say(to, text, false, line, now);
            }
            Verb::Reply => match self.last_direct.clone() {
                Some(name) => self.say(Target::Person(name), words, false, line, now),
                None => return Err("Nobody has written to you yet. /msg NAME TEXT begins.".into()),
            },
            Verb::Me => {
                let to = self.target();
                self.say(to, words, true, line, now);
            }
            Verb::Edit => {
                let text = Text::message(words).map_err(|e| e.to_string())?;
                self.edit_message(Some(text), now);
            }
            Verb::Delete => self.edit_message(None, now),
            Verb::Join => {
                let room = command::room(words)?;
                self.intend(Asked::Join, Intent::Join(room), now);
            }
            Verb::Leave => {
                let room = match first {
                    Some(name) => command::room(name)?,
                    None => self.here(),
                };
                self.intend(Asked::Change, Intent::Leave(room), now);
            }
            Verb::Rooms => self.query(Asked::Show, Query::Rooms, now),
            Verb::Topic => self.topic(first, now)?,
            Verb::Who => {
                let room = match first {
                    Some(name) => command::room(name)?,
                    None => self.here(),
                };
                self.query(Asked::Show, Query::Who(room), now);
            }
            Verb::Whois => {
                let name = command::person(words)?;
                self.query(Asked::Show, Query::Whois(name), now);
            }
            Verb::History => self.history(args, now)?,
            Verb::Search => {
                let rooms = self.tabs.iter();
                let within = rooms.map(|tab| Conversation::Room(tab.name.clone()));
                let fetch = Fetch::Search {
                    words: words.to_owned(),
                    within: within.collect(),
                };
                self.fetch(fetch);
            }
            Verb::Help => self.help(first)?,
            Verb::Motd => match self.server.motd.clone() {
                Some(motd) => self.note(motd.as_str()),
                None => self.note("There is no message of the day."),
            },
            Verb::Version => self.version(),
            Verb::Uptime => self.uptime(now),
            Verb::Nick => {
                let name =
                    Name::new(words).map_err(|e| format!("{words:?} can't be your name: {e}."))?;
                self.intend(Asked::Change, Intent::Nick(name), now);
            }
            Verb::Away => {
                let reason = match first {
                    Some(reason) => Text::line(reason, REASON).map_err(|e| e.to_string())?,
                    None => Text::stored(""),
                };
                self.intend(Asked::Away, Intent::Away(reason), now);
            }
            Verb::Ignore => match first {
                Some(name) => self.look_for(command::person(name)?, Wish::Ignore, now),
                None => self.list_ignored(),
            },
            Verb::Unignore => self.unignore(command::person(words)?, now),
            Verb::Quiet => {
                self.preferences.quiet = switch(first, self.preferences.quiet)?;
                let no = if self.preferences.quiet {
                    "No lines"
                } else {
                    "Lines"
                };
                self.note(&format!("{no} about joining and leaving from now on."));
                self.save();
            }
            Verb::Bell => {
                let on = switch(first, !self.preferences.silent)?;
                self.preferences.silent = !on;
                let words = if on { "The bell rings" } else { "No bell" };
                self.note(&format!(
                    "{words} for mentions and direct messages from now on."
                ));
                self.save();
            }
            Verb::Timestamp => self.timestamp(first)?,
            Verb::Tz => self.time_zone(first, now)?,
            Verb::Theme => self.theme(first)?,
            Verb::Quit => self.leave(),
            Verb::Keys
            | Verb::Invite
            | Verb::Pending
            | Verb::Approve
            | Verb::Deny
            | Verb::Kick
            | Verb::Ban
            | Verb::Unban
            | Verb::Bans
            | Verb::Mute
            | Verb::Unmute
            | Verb::Rename
            | Verb::Op
            | Verb::Deop
            | Verb::Lockdown
            | Verb::Slow
            | Verb::Purge
            | Verb::RemoveRoom
            | Verb::Announce
            | Verb::Audit
            | Verb::Status => {
                let read_key = |line: &str| {
                    keys::read_public_key(line, now.wall).map_err(|error| error.to_string())
                };
                let here = self.here();
                let here_first = [here.as_str(), words];
                let args = match (verb, args) {
                    (Verb::Slow, [_time]) => &here_first,
                    _ => args,
                };
                if let Some(order) = orders::read(verb, args, read_key) {
                    self.order(order?);
                }
            }
        }
        Ok(())
    }

    fn edit_message(&mut self, text: Option<Text>, now: Now) {
        let to = self.target();
        self.intend(Asked::Change, Intent::Edit { to, text }, now);
    }

    fn topic(&mut self, words: Option<&str>, now: Now) -> Result<(), String> {
        let room = self.here();
        let Some(words) = words else {
            let topic = self.tabs.get(self.current).and_then(|t| t.topic.as_ref());
            let words = topic.map_or_else(
                || format!("{room} has no topic. /topic TEXT sets one."),
                |topic| format!("{room}: {topic}"),
            );
            self.note(&words);
            return Ok(());
        };
        let topic = if words == "-" {
            None
        } else {
            Some(Text::line(words, TOPIC).map_err(|e| e.to_string())?)
        };
        self.intend(Asked::Change, Intent::Topic { room, topic }, now);
        Ok(())
    }

    fn history(&mut self, args: &[&str], now: Now) -> Result<(), String> {
        let (person, count) = match args {
            [] => (None, None),
            [one] if one.starts_with('@') => (Some(*one), None),
            [one] => (None, Some(*one)),
            [person, count, ..] => (Some(*person), Some(*count)),
        };
        let limit = match count {
            None => HISTORY,
            Some(count) => match count.parse::<usize>() {
                Ok(n) if (1..=MAX_HISTORY).contains(&n) => n,
                _ => {
                    return Err(format!(
                        "{count:?} is no number from 1 to {MAX_HISTORY}. Example: /history 50"
                    ));
                }
            },
        };
        if let Some(name) = person {
            let name = command::person(name)?;
            self.query(Asked::DirectHistory(limit), Query::Whois(name), now);
        } else {
            let conversation = Conversation::Room(self.here());
            self.fetch(Fetch::History {
                conversation,
                limit,
            });
        }
        Ok(())
    }

    fn list_ignored(&mut self) {
        if self.preferences.ignored.is_empty() {
            self.note("You aren't ignoring anyone. /ignore NAME hides someone's messages.");
        } else {
            self.fetch(Fetch::Names(self.preferences.ignored.clone()));
        }
    }

    /// A name leads to an account: of somebody who is online, and otherwise in the store.
    fn look_for(&mut self, name: Name, wish: Wish, now: Now) {
        self.query(Asked::Person(name.clone(), wish), Query::Whois(name), now);
    }

    fn unignore(&mut self, name: Name, now: Now) {
        // The name that they had then is still theirs.
        let mut ignored = self.preferences.ignored.iter();
        match ignored.find(|ignored| ignored.name == name.as_str()) {
            Some(ignored) => {
                let account = ignored.account;
                self.person_found(Wish::Unignore, &Author { account, name }, now);
            }
            None => self.look_for(name, Wish::Unignore, now),
        }
    }

    /// Somebody was looked for by name, and is not online: the store has answered.
    pub(super) fn account_found(
        &mut self,
        name: &Name,
        wish: Wish,
        found: Result<Option<Author>, String>,
        now: Now,
    ) {
        match found {
            Ok(Some(person)) if person.name == *name || wish == Wish::Unignore => {
                self.person_found(wish, &person, now);
            }
            // An earlier name of theirs, or one that looks like it.
            Ok(Some(Author { name: other, .. })) => {
                self.error(&format!(
                    "No one is named {name} now. Did you mean {other}?"
                ));
            }
            Ok(None) if wish == Wish::Unignore => self.not_ignored(name),
            Ok(None) => self.error(&format!(
                "No one is named {name}. Guests can be ignored while they are online."
            )),
            Err(reason) => self.error(&format!("Couldn't look up {name}: {reason}.")),
        }
    }

    /// Somebody was looked for by name, and this is who it is.
    pub(super) fn person_found(&mut self, wish: Wish, person: &Author, now: Now) {
        let Author { account, name } = person;
        let change = match (wish, self.preferences.ignores(*account)) {
            (Wish::Ignore, true) => {
                return self.note(&format!(
                    "You're already ignoring {name}. /unignore {name} shows their messages again."
                ));
            }
            (Wish::Unignore, false) => return self.not_ignored(name),
            (Wish::Ignore, false) => IgnoreChange::Add(Ignored {
                account: *account,
                name: name.to_string(),
            }),
            (Wish::Unignore, true) => IgnoreChange::Remove(*account),
        };
        let asked = Asked::Ignoring(wish, name.clone());
        self.intend(asked, Intent::Ignore(change), now);
    }

    fn not_ignored(&mut self, name: &Name) {
        self.error(&format!(
            "You aren't ignoring {name}. /ignore lists the people you ignore."
        ));
    }

    /// It is so in all sessions by now.
    pub(super) fn ignoring(&mut self, wish: Wish, name: &Name) {
        self.note(&match wish {
            Wish::Ignore => {
                format!("Ignoring {name}. /unignore {name} shows their messages again.")
            }
            Wish::Unignore => format!("No longer ignoring {name}."),
        });
        self.save();
    }

    fn timestamp(&mut self, word: Option<&str>) -> Result<(), String> {
        let format = match word {
            Some("off") => Timestamps::Off,
            Some("minutes") => Timestamps::Minutes,
            Some("seconds") => Timestamps::Seconds,
            Some(other) => {
                return Err(format!("{other:?} is not one of: off, minutes, seconds."));
            }
            None => match self.preferences.timestamps {
                Timestamps::Minutes => Timestamps::Seconds,
                Timestamps::Seconds => Timestamps::Off,
                Timestamps::Off => Timestamps::Minutes,
            },
        };
        self.preferences.timestamps = format;
        self.save();
        self.note(match format {
            Timestamps::Off => "No times from now on.",
            Timestamps::Minutes => "Times are hours and minutes from now on.",
            Timestamps::Seconds => "Times have seconds from now on.",
        });
        Ok(())
    }

    fn time_zone(&mut self, name: Option<&str>, now: Now) -> Result<(), String> {
        if let Some(name) = name {
            let Some(tz) = zone::find(name) else {
                return Err(format!(
                    "No time zone {name:?}. It is a name such as Europe/Berlin; Tab completes."
                ));
            };
            self.preferences.tz = Some(tz.name().to_owned());
            self.save();
            self.forget_day();
        }
        let words = format!(
            "Your time zone is {}, where it is {}.",
            self.zone.name(),
            self.zone.moment(now.wall, now.wall)
        );
        self.note(&words);
        Ok(())
    }

    fn theme(&mut self, name: Option<&str>) -> Result<(), String> {
        let Some(name) = name else {
            let now = self.display.theme().map_or("none", |theme| theme.name);
            for theme in &THEMES {
                let sign = if theme.name == now { " (yours)" } else { "" };
                let about = format!("{}{sign}", theme.about);
                self.display
                    .show(&super::entry::Entry::Item(theme.name, &about));
            }
            return Ok(());
        };
        let Some(theme) = Theme::named(name) else {
            let names: Vec<&str> = THEMES.iter().map(|theme| theme.name).collect();
            return Err(format!(
                "No theme {name:?}. There are: {}",
                names.join(", ")
            ));
        };
        self.preferences.theme = Some(theme.name.to_owned());
        self.display.set_theme(theme);
        self.note(&format!("The theme is {}: {}.", theme.name, theme.about));
        self.save();
        Ok(())
    }
}

/// `on`, `off`, or the other one than now.
fn switch(word: Option<&str>, now: bool) -> Result<bool, String> {
    match word {
        None => Ok(!now),
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(format!("{other:?} is not one of: on, off.")),
    }
}
