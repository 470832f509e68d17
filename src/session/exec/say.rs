//! The commands that say something: `send`, `msg`, `me`, `topic`, `nick`.

use crate::session::usage::MAX_TOPIC;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Exec;
use super::cut::{Cutter, Next};
use super::item::Item;
use super::out::End;
use super::part::{Part, exists, must_exist};
use super::plain::sent;
use super::request::Run;
use crate::chat::command;
use crate::chat::ids::RoomName;
use crate::chat::intent::{Answer, Intent, Query, Target};
use crate::session::peer::Outbound;
use crate::text::{Text, clip};

/// How long the input may pause before the whole lines that came are said.
const PAUSE: Duration = Duration::from_millis(300);
/// How much of words that were not sent is repeated, in terminal cells.
const SHOWN: usize = 60;

/// Standard input, as far as it is wanted.
pub(super) type Stdin = mpsc::Receiver<Bytes>;

impl<O: Outbound> Exec<'_, O> {
    /// `send ROOM [TEXT]`, `me ROOM TEXT`
    pub(super) async fn send(&mut self, run: &Run, stdin: Stdin, action: bool) -> Result<(), End> {
        let room = room(run)?;
        let text = if action { run.arg(1) } else { run.text(1) };
        let mut words = Words::new(text, stdin);
        // A room is made for something to say, not for an input that was empty.
        let first = words.first().await?;
        let made = !exists(self.context, &room).await?;
        let (mut part, lobby) = Part::begin(self.context).await?;
        part.enter(&room, lobby).await?;
        if made {
            self.out.tell(&format!("The room {room} is new.")).await?;
        }
        self.say(part, &Target::Room(room), first, words, action)
            .await
    }

    /// `msg NAME [TEXT]`
    pub(super) async fn message(&mut self, run: &Run, stdin: Stdin) -> Result<(), End> {
        let name = command::person(run.arg(0).unwrap_or_default()).map_err(End::usage)?;
        let mut words = Words::new(run.text(1), stdin);
        let first = words.first().await?;
        let (part, _) = Part::begin(self.context).await?;
        self.say(part, &Target::Person(name), first, words, false)
            .await
    }

    /// Says all there is to say, in as many messages as it takes.
    async fn say(
        &mut self,
        mut part: Part,
        to: &Target,
        first: Text,
        mut words: Words,
        action: bool,
    ) -> Result<(), End> {
        let (mut count, mut lines) = (0, 0);
        let mut next = Some(first);
        while let Some(text) = next {
            let intent = Intent::Say {
                to: to.clone(),
                text: text.clone(),
                action,
            };
            if let Err(end) = part.carry_out(intent).await {
                return Err(interrupted(end, count, lines, to, Some(&text)));
            }
            count += 1;
            lines += text.as_str().lines().count();
            next = tokio::select! {
                next = words.next() => next,
                end = part.dismissed() => return Err(interrupted(end, count, lines, to, None)),
            };
        }
        self.out.show(Item::Sent(to, count)).await
    }

    /// `topic ROOM [TEXT|-]`
    pub(super) async fn topic(&mut self, run: &Run) -> Result<(), End> {
        let room = room(run)?;
        let Some(words) = run.arg(1) else {
            return self.show_topic(&room).await;
        };
        let topic = match words {
            "-" => None,
            words => Some(Text::line(words, MAX_TOPIC).map_err(End::usage)?),
        };
        must_exist(self.context, &room).await?;
        let (mut part, lobby) = Part::begin(self.context).await?;
        part.enter(&room, lobby).await?;
        let words = match &topic {
            Some(topic) => format!("The topic of {room} is: {topic}"),
            None => format!("{room} has no topic any more."),
        };
        part.carry_out(Intent::Topic { room, topic }).await?;
        self.out.show(Item::Done(&words)).await
    }

    async fn show_topic(&mut self, room: &RoomName) -> Result<(), End> {
        must_exist(self.context, room).await?;
        if let Answer::Rooms(rooms) = self.context.hub.ask(Query::Rooms).await?
            && let Some(room) = rooms.iter().find(|info| info.name == *room)
        {
            self.out.show(Item::Room(room)).await?;
        }
        Ok(())
    }

    /// `nick NAME`
    pub(super) async fn nick(&mut self, run: &Run) -> Result<(), End> {
        let name = command::new_name(run.arg(0).unwrap_or_default()).map_err(End::usage)?;
        let (mut part, _) = Part::begin(self.context).await?;
        part.carry_out(Intent::Nick(name.clone())).await?;
        let words = format!("You are now known as {name}.");
        self.out.show(Item::Done(&words)).await
    }
}

/// The room that a command names first.
pub(super) fn room(run: &Run) -> Result<RoomName, End> {
    command::room(run.arg(0).unwrap_or_default()).map_err(End::usage)
}

/// What is to be said: the text of the command line, or standard input.
struct Words {
    cutter: Cutter,
    stdin: Stdin,
}

impl Words {
    fn new(text: Option<&str>, stdin: Stdin) -> Words {
        let mut cutter = Cutter::default();
        if let Some(text) = text {
            cutter.feed(text.as_bytes());
            cutter.end();
        }
        Words { cutter, stdin }
    }

    /// The first message. That there is none is a mistake.
    async fn first(&mut self) -> Result<Text, End> {
        let first = self.next().await;
        first.ok_or_else(|| End::usage("There is nothing to send."))
    }

    /// The next message; `None` at the end. Safe to cancel.
    async fn next(&mut self) -> Option<Text> {
        loop {
            match self.cutter.next() {
                Next::Message(text) => return Some(text),
                Next::End => return None,
                Next::More => {}
            }
            let more = match timeout(PAUSE, self.stdin.recv()).await {
                Ok(more) => more,
                Err(_) => match self.cutter.flush() {
                    Some(text) => return Some(text),
                    None => self.stdin.recv().await,
                },
            };
            match more {
                Some(bytes) => self.cutter.feed(&bytes),
                None => self.cutter.end(),
            }
        }
    }
}

/// Why sending ended, with how far it came, and the message that was not sent if there is one.
fn interrupted(end: End, count: u64, lines: usize, to: &Target, text: Option<&Text>) -> End {
    let End::Told(status, why) = end else {
        return end;
    };
    let to = match to {
        Target::Room(room) => room.as_str(),
        Target::Person(name) => name.as_str(),
    };
    let mut report = format!("{why}\n{}", sent(count, to));
    if u64::try_from(lines).unwrap_or(u64::MAX) > count {
        report = format!("{report} ({lines} lines)");
    }
    if let Some(text) = text {
        let line = text.as_str().lines().next().unwrap_or_default();
        report.push_str("; not sent, from here on: ");
        report.push_str(clip(line, SHOWN));
    }
    End::Told(status, report)
}
