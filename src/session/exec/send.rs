//! The commands that change something in the chat: `send`, `msg`, `me`, `topic`, `nick`.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::timeout;

use super::Exec;
use super::command_line::Invocation;
use super::output::{OutputRecord, sent};
use super::participant::{Participant, require_room, room_exists};
use super::splitter::{MessageSplitter, SplitStep};
use super::stdio::{ExecError, Stdin};
use crate::chat::command;
use crate::chat::ids::RoomName;
use crate::chat::intent::{Answer, Intent, Query, Target};
use crate::session::peer::Outbound;
use crate::session::usage::MAX_TOPIC;
use crate::text::{Text, clip};

/// How long the input may pause before the whole lines received so far are sent.
const FLUSH_AFTER: Duration = Duration::from_millis(300);
/// How much of an unsent message is quoted, in terminal cells.
const QUOTED: usize = 60;

impl<O: Outbound> Exec<'_, O> {
    /// `send ROOM [TEXT]`, `me ROOM TEXT`
    pub(super) async fn send(
        &mut self,
        run: &Invocation,
        stdin: Stdin,
        action: bool,
    ) -> Result<(), ExecError> {
        let room = room(run)?;
        let text = if action { run.arg(1) } else { run.text(1) };
        let mut messages = Messages::new(text, stdin);
        // Empty input mustn't create the room.
        let first = messages.first().await?;
        let created = !room_exists(self.context, &room).await?;
        let (mut participant, lobby) = Participant::attach(self.context).await?;
        participant.join(&room, lobby).await?;
        if created {
            self.out
                .diagnostic(&format!("Created the room {room}."))
                .await?;
        }
        self.send_all(participant, &Target::Room(room), first, messages, action)
            .await
    }

    /// `msg NAME [TEXT]`
    pub(super) async fn message(
        &mut self,
        run: &Invocation,
        stdin: Stdin,
    ) -> Result<(), ExecError> {
        let name = command::person(run.arg(0).unwrap_or_default()).map_err(ExecError::usage)?;
        let mut messages = Messages::new(run.text(1), stdin);
        let first = messages.first().await?;
        let (participant, _) = Participant::attach(self.context).await?;
        self.send_all(participant, &Target::Person(name), first, messages, false)
            .await
    }

    /// Sends `first` and what follows, each message once the one before it is saved.
    async fn send_all(
        &mut self,
        mut participant: Participant,
        to: &Target,
        first: Text,
        mut messages: Messages,
        action: bool,
    ) -> Result<(), ExecError> {
        let (mut count, mut lines) = (0, 0);
        let mut next = Some(first);
        while let Some(text) = next {
            let intent = Intent::Say {
                to: to.clone(),
                text: text.clone(),
                action,
            };
            if let Err(error) = participant.carry_out(intent).await {
                return Err(interrupted(error, count, lines, to, Some(&text)));
            }
            count += 1;
            lines += text.as_str().lines().count();
            next = tokio::select! {
                next = messages.next() => next,
                error = participant.closed() => {
                    return Err(interrupted(error, count, lines, to, None));
                }
            };
        }
        self.out.write(OutputRecord::Sent(to, count)).await
    }

    /// `topic ROOM [TEXT|-]`
    pub(super) async fn topic(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let room = room(run)?;
        let Some(text) = run.arg(1) else {
            return self.show_topic(&room).await;
        };
        let topic = match text {
            "-" => None,
            text => Some(Text::line(text, MAX_TOPIC).map_err(ExecError::usage)?),
        };
        require_room(self.context, &room).await?;
        let (mut participant, lobby) = Participant::attach(self.context).await?;
        participant.join(&room, lobby).await?;
        let done = match &topic {
            Some(topic) => format!("The topic of {room} is now: {topic}"),
            None => format!("Removed the topic of {room}."),
        };
        participant.carry_out(Intent::Topic { room, topic }).await?;
        self.out.write(OutputRecord::Done(&done)).await
    }

    async fn show_topic(&mut self, room: &RoomName) -> Result<(), ExecError> {
        require_room(self.context, room).await?;
        if let Answer::Rooms(rooms) = self.context.hub.query(Query::Rooms).await?
            && let Some(room) = rooms.iter().find(|info| info.name == *room)
        {
            self.out.write(OutputRecord::Room(room)).await?;
        }
        Ok(())
    }

    /// `nick NAME`
    pub(super) async fn nick(&mut self, run: &Invocation) -> Result<(), ExecError> {
        let name = command::new_name(run.arg(0).unwrap_or_default()).map_err(ExecError::usage)?;
        let (mut participant, _) = Participant::attach(self.context).await?;
        participant.carry_out(Intent::Nick(name.clone())).await?;
        let done = format!("You are now known as {name}.");
        self.out.write(OutputRecord::Done(&done)).await
    }
}

/// The room in a command's first argument.
pub(super) fn room(run: &Invocation) -> Result<RoomName, ExecError> {
    command::room(run.arg(0).unwrap_or_default()).map_err(ExecError::usage)
}

/// The messages to send, from the command line or from standard input.
struct Messages {
    splitter: MessageSplitter,
    stdin: Stdin,
}

impl Messages {
    fn new(text: Option<&str>, stdin: Stdin) -> Messages {
        let mut splitter = MessageSplitter::default();
        if let Some(text) = text {
            splitter.feed(text.as_bytes());
            splitter.end();
        }
        Messages { splitter, stdin }
    }

    /// The first message. It's an error if there is none.
    async fn first(&mut self) -> Result<Text, ExecError> {
        let first = self.next().await;
        first.ok_or_else(|| ExecError::usage("Nothing to send: the input is empty."))
    }

    /// The next message; `None` at the end. Cancel-safe.
    async fn next(&mut self) -> Option<Text> {
        loop {
            match self.splitter.next() {
                SplitStep::Message(text) => return Some(text),
                SplitStep::Done => return None,
                SplitStep::NeedsInput => {}
            }
            let input = match timeout(FLUSH_AFTER, self.stdin.recv()).await {
                Ok(input) => input,
                Err(_) => match self.splitter.flush() {
                    Some(text) => return Some(text),
                    None => self.stdin.recv().await,
                },
            };
            match input {
                Some(bytes) => self.splitter.feed(&bytes),
                None => self.splitter.end(),
            }
        }
    }
}

/// Adds to an error how much was sent before it, and the beginning of the `unsent` message.
fn interrupted(
    error: ExecError,
    count: u64,
    lines: usize,
    to: &Target,
    unsent: Option<&Text>,
) -> ExecError {
    let ExecError::Failed {
        status,
        mut message,
    } = error
    else {
        return error;
    };
    message.push('\n');
    message.push_str(&sent(count, to));
    if u64::try_from(lines).unwrap_or(u64::MAX) > count {
        let _to_a_string = write!(message, " ({lines} lines)");
    }
    if let Some(text) = unsent {
        let line = text.as_str().lines().next().unwrap_or_default();
        message.push_str("; not sent from here on: ");
        message.push_str(clip(line, QUOTED));
    }
    ExecError::Failed { status, message }
}
