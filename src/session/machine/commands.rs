//! Typed lines: messages, and what each command does.

use super::super::answers;
use super::super::requests::{IgnoreAction, Purpose, StoreRead};
use super::super::returned::InputLine;
use super::super::theme::{THEMES, Theme};
use super::super::usage::{DEFAULT_HISTORY, MAX_HISTORY, MAX_TOPIC, cost};
use super::super::zone::{self, Zone};
use super::Machine;
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
const MAX_AWAY_REASON: usize = 120;

impl Machine {
    /// Sends a line, or carries out its command.
    pub(super) fn run_line(&mut self, line: &InputLine, now: Now) {
        match command::parse(&line.text) {
            ParsedLine::Blank => {}
            ParsedLine::Say(text) => self.say(self.current_room(), text, false, line, now),
            ParsedLine::Wrong(error) => self.display.error(&error),
            ParsedLine::Command(verb, args) => {
                if let Err(refusal) = self.check_rate(verb, &args, now) {
                    return self.give_back(line.clone(), &refusal, now);
                }
                if let Err(error) = self.run_command(verb, &args, line, now) {
                    self.display.error(&error);
                }
            }
        }
    }

    fn current_room(&self) -> Target {
        Target::Room(self.rooms.current())
    }

    /// Takes the cost of a command from the rate limit. Leaving is free.
    fn check_rate(&self, verb: Verb, args: &[&str], now: Now) -> Result<(), Refusal> {
        match &self.commands {
            Some(share) if verb != Verb::Quit => {
                share.take(cost(verb, args.last().copied()), now.mono)
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, to: Target, text: &str, action: bool, line: &InputLine, now: Now) {
        // The wrong file was pasted.
        if text.contains("PRIVATE KEY-----") {
            return self.display.error(
                "Not sent: that's a PRIVATE key. If anyone else has seen it, create a new one.",
            );
        }
        match Text::message(text) {
            Ok(text) => {
                let intent = Intent::Say { to, text, action };
                let purpose = Purpose::Say(line.clone());
                self.requests.intend(purpose, intent, now);
            }
            Err(error) => self.not_sent(line.clone(), &error.to_string(), "text", now),
        }
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one arm for each command, in the table's order"
    )]
    fn run_command(
        &mut self,
        verb: Verb,
        args: &[&str],
        line: &InputLine,
        now: Now,
    ) -> Result<(), String> {
        let first = args.first().copied();
        let argument = first.unwrap_or("");
        match verb {
            Verb::Msg => {
                let to = Target::Person(command::person(argument)?);
                let text = args.get(1).copied().unwrap_or("");
                self.say(to, text, false, line, now);
            }
            Verb::Reply => match self.reply_to.clone() {
                Some(name) => self.say(Target::Person(name), argument, false, line, now),
                None => {
                    return Err(
                        "No one has sent you a direct message yet. Start with /msg NAME TEXT."
                            .into(),
                    );
                }
            },
            Verb::Me => self.say(self.current_room(), argument, true, line, now),
            Verb::Edit => {
                let text = Text::message(argument).map_err(|e| e.to_string())?;
                self.edit_message(Some(text), now);
            }
            Verb::Delete => self.edit_message(None, now),
            Verb::Join => {
                let room = command::room(argument)?;
                self.enter(room, now);
            }
            Verb::Leave => {
                let room = match first {
                    Some(name) => command::room(name)?,
                    None => self.rooms.current(),
                };
                self.requests
                    .intend(Purpose::Change, Intent::Leave(room), now);
            }
            Verb::Rooms => self.requests.query(Purpose::Show, Query::Rooms, now),
            Verb::Topic => self.topic(first, now)?,
            Verb::Who => {
                let room = match first {
                    Some(name) => command::room(name)?,
                    None => self.rooms.current(),
                };
                self.requests.query(Purpose::Show, Query::Who(room), now);
            }
            Verb::Whois => {
                let name = command::person(argument)?;
                self.requests.query(Purpose::Show, Query::Whois(name), now);
            }
            Verb::History => self.history(args, now)?,
            Verb::Search => {
                let rooms = self.rooms.names().cloned();
                self.requests.read(StoreRead::Search {
                    query: argument.to_owned(),
                    within: rooms.map(Conversation::Room).collect(),
                });
            }
            Verb::Help => answers::help(&mut self.display, &self.me, first)?,
            Verb::Motd => match &self.server.motd {
                Some(motd) => self.display.note(motd.as_str()),
                None => self.display.note("There is no message of the day."),
            },
            Verb::Version => {
                let version = format!("ssh-chat {}", self.server.version);
                self.display.note(&version);
            }
            Verb::Uptime => answers::uptime(&mut self.display, &self.server, now),
            Verb::Nick => {
                let name = Name::new(argument)
                    .map_err(|e| format!("{argument:?} can't be your name: {e}."))?;
                self.requests
                    .intend(Purpose::Change, Intent::Nick(name), now);
            }
            Verb::Away => {
                let reason = match first {
                    Some(reason) => {
                        Text::line(reason, MAX_AWAY_REASON).map_err(|e| e.to_string())?
                    }
                    None => Text::stored(""),
                };
                self.requests
                    .intend(Purpose::Away, Intent::Away(reason), now);
            }
            Verb::Ignore => match first {
                Some(name) => self.look_up(command::person(name)?, IgnoreAction::Ignore, now),
                None => self.list_ignored(),
            },
            Verb::Unignore => self.unignore(command::person(argument)?, now),
            Verb::Quiet => {
                self.preferences.quiet = switch(first, self.preferences.quiet)?;
                self.display.note(if self.preferences.quiet {
                    "Joins and leaves are hidden."
                } else {
                    "Joins and leaves are shown."
                });
                self.requests.save_preferences();
            }
            Verb::Bell => {
                let on = switch(first, !self.preferences.silent)?;
                self.preferences.silent = !on;
                self.display.note(if on {
                    "The bell rings for mentions and direct messages."
                } else {
                    "The bell is off."
                });
                self.requests.save_preferences();
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
                let here = self.rooms.current();
                let here_first = [here.as_str(), argument];
                let args = match (verb, args) {
                    (Verb::Slow, [_time]) => &here_first,
                    _ => args,
                };
                if let Some(order) = orders::read(verb, args, read_key) {
                    self.requests.order(order?);
                }
            }
        }
        Ok(())
    }

    fn edit_message(&mut self, text: Option<Text>, now: Now) {
        let to = self.current_room();
        self.requests
            .intend(Purpose::Change, Intent::Edit { to, text }, now);
    }

    fn topic(&mut self, text: Option<&str>, now: Now) -> Result<(), String> {
        let room = self.rooms.current();
        let Some(text) = text else {
            self.display.note(&match self.rooms.topic() {
                Some(topic) => format!("{room}: {topic}"),
                None => format!("{room} has no topic. /topic TEXT sets one."),
            });
            return Ok(());
        };
        let topic = if text == "-" {
            None
        } else {
            Some(Text::line(text, MAX_TOPIC).map_err(|e| e.to_string())?)
        };
        self.requests
            .intend(Purpose::Change, Intent::Topic { room, topic }, now);
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
            None => DEFAULT_HISTORY,
            Some(count) => match count.parse::<usize>() {
                Ok(n) if (1..=MAX_HISTORY).contains(&n) => n,
                _ => {
                    return Err(format!(
                        "{count:?} is not a number from 1 to {MAX_HISTORY}. Example: /history 50"
                    ));
                }
            },
        };
        if let Some(name) = person {
            let name = command::person(name)?;
            self.requests
                .query(Purpose::DirectHistory(limit), Query::Whois(name), now);
        } else {
            let conversation = Conversation::Room(self.rooms.current());
            self.requests.read(StoreRead::History {
                conversation,
                limit,
            });
        }
        Ok(())
    }

    fn list_ignored(&mut self) {
        if self.preferences.ignored.is_empty() {
            self.display
                .note("You aren't ignoring anyone. /ignore NAME hides someone's messages.");
        } else {
            let ignored = self.preferences.ignored.clone();
            self.requests.read(StoreRead::Names(ignored));
        }
    }

    /// Finds the account behind a name: online, or else in the store.
    fn look_up(&mut self, name: Name, action: IgnoreAction, now: Now) {
        let purpose = Purpose::Person(name.clone(), action);
        self.requests.query(purpose, Query::Whois(name), now);
    }

    fn unignore(&mut self, name: Name, now: Now) {
        // A name stays with its account, even if it has another one now.
        let mut ignored = self.preferences.ignored.iter();
        match ignored.find(|ignored| ignored.name == name.as_str()) {
            Some(ignored) => {
                let account = ignored.account;
                self.person_found(IgnoreAction::Unignore, &Author { account, name }, now);
            }
            None => self.look_up(name, IgnoreAction::Unignore, now),
        }
    }

    /// The store answered who owns a name that no one online has.
    pub(super) fn account_found(
        &mut self,
        name: &Name,
        action: IgnoreAction,
        found: Result<Option<Author>, String>,
        now: Now,
    ) {
        match found {
            Ok(Some(person)) if person.name == *name || action == IgnoreAction::Unignore => {
                self.person_found(action, &person, now);
            }
            // An earlier name of the account, or one that looks like it.
            Ok(Some(Author { name: other, .. })) => {
                self.display.error(&format!(
                    "No one is named {name} now. Did you mean {other}?"
                ));
            }
            Ok(None) if action == IgnoreAction::Unignore => self.not_ignored(name),
            Ok(None) => self.display.error(&format!(
                "No one is named {name}. Guests can be ignored while they are online."
            )),
            Err(reason) => self
                .display
                .error(&format!("Couldn't look up {name}: {reason}.")),
        }
    }

    /// The account behind a name is known.
    pub(super) fn person_found(&mut self, action: IgnoreAction, person: &Author, now: Now) {
        let Author { account, name } = person;
        let change = match (action, self.preferences.ignores(*account)) {
            (IgnoreAction::Ignore, true) => {
                return self.display.note(&format!(
                    "You're already ignoring {name}. /unignore {name} shows their messages again."
                ));
            }
            (IgnoreAction::Unignore, false) => return self.not_ignored(name),
            (IgnoreAction::Ignore, false) => IgnoreChange::Add(Ignored {
                account: *account,
                name: name.to_string(),
            }),
            (IgnoreAction::Unignore, true) => IgnoreChange::Remove(*account),
        };
        let purpose = Purpose::Ignore(action, name.clone());
        self.requests.intend(purpose, Intent::Ignore(change), now);
    }

    fn not_ignored(&mut self, name: &Name) {
        self.display.error(&format!(
            "You aren't ignoring {name}. /ignore lists the people you ignore."
        ));
    }

    /// The change applies to all sessions of the user by now.
    pub(super) fn ignore_changed(&mut self, action: IgnoreAction, name: &Name) {
        self.display.note(&match action {
            IgnoreAction::Ignore => {
                format!("Ignoring {name}. /unignore {name} shows their messages again.")
            }
            IgnoreAction::Unignore => format!("No longer ignoring {name}."),
        });
        self.requests.save_preferences();
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
        self.zone_changed();
        self.display.note(match format {
            Timestamps::Off => "Timestamps are off.",
            Timestamps::Minutes => "Timestamps show hours and minutes.",
            Timestamps::Seconds => "Timestamps show seconds.",
        });
        Ok(())
    }

    fn time_zone(&mut self, name: Option<&str>, now: Now) -> Result<(), String> {
        if let Some(name) = name {
            let Some(tz) = zone::find(name) else {
                return Err(format!(
                    "Unknown time zone {name:?}. Use a name such as Europe/Berlin; Tab completes it."
                ));
            };
            self.preferences.tz = Some(tz.name().to_owned());
            self.zone_changed();
            self.display.forget_day();
        }
        let text = format!(
            "Your time zone is {}, where it's {}.",
            self.display.zone().name(),
            self.display.zone().moment(now.wall, now.wall)
        );
        self.display.note(&text);
        Ok(())
    }

    fn zone_changed(&mut self) {
        let preferences = &self.preferences;
        let zone = Zone::new(preferences.tz.as_deref(), preferences.timestamps);
        self.display.set_zone(zone);
        self.requests.save_preferences();
    }

    fn theme(&mut self, name: Option<&str>) -> Result<(), String> {
        let Some(name) = name else {
            let now = self.display.theme().map_or("none", |theme| theme.name);
            for theme in &THEMES {
                let sign = if theme.name == now { " (current)" } else { "" };
                let about = format!("{}{sign}", theme.about);
                self.display.item(theme.name, &about);
            }
            return Ok(());
        };
        let Some(theme) = Theme::named(name) else {
            let names: Vec<&str> = THEMES.iter().map(|theme| theme.name).collect();
            return Err(format!(
                "Unknown theme {name:?}. Themes: {}",
                names.join(", ")
            ));
        };
        self.preferences.theme = Some(theme.name.to_owned());
        self.display.set_theme(theme);
        self.display
            .note(&format!("Theme set to {}: {}.", theme.name, theme.about));
        self.requests.save_preferences();
        Ok(())
    }
}

/// Parses `on` or `off`; without an argument, toggles `now`.
fn switch(word: Option<&str>, now: bool) -> Result<bool, String> {
    match word {
        None => Ok(!now),
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(format!("{other:?} is not one of: on, off.")),
    }
}
