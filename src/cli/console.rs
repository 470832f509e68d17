//! Output of commands: data on standard output, as a table or one JSON object per line, and notes and
//! errors on standard error.

use std::io::{self, ErrorKind, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::Exit;
use crate::chat::ids::Time;
use crate::store::{ChangeError, StoreError};
use crate::text::{pad, width};

/// Where a command writes to.
pub struct Console<'a> {
    /// Standard output: data only.
    pub out: &'a mut dyn Write,
    /// Standard error: everything else.
    pub err: &'a mut dyn Write,
}

/// Why a command failed. The message is shown to the user.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// What the command names doesn't exist.
    #[error("{0}")]
    NotFound(String),
    /// The command can't be carried out.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output couldn't be written.
    #[error("can't write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<ChangeError> for CommandError {
    fn from(error: ChangeError) -> CommandError {
        match error {
            ChangeError::Store(error) => error.into(),
            error => CommandError::Refused(error.to_string()),
        }
    }
}

/// A row of a table, which is also a JSON object.
pub(super) trait Row<const N: usize>: Serialize {
    /// The column headings.
    const HEADER: [&str; N];

    /// The cells of the table.
    fn cells(&self) -> [String; N];
}

impl Console<'_> {
    /// Borrows the console for a command that isn't the last to write to it.
    pub fn reborrow(&mut self) -> Console<'_> {
        Console {
            out: &mut *self.out,
            err: &mut *self.err,
        }
    }

    /// Writes a note to standard error.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "{text}")
    }

    /// Writes an object as one line of JSON.
    pub(super) fn json(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, object)?;
        self.out.write_all(b"\n")
    }

    /// Writes rows as JSON, or as a table with columns as wide as needed. Instead of an empty table, writes
    /// a note.
    pub(super) fn rows<const N: usize, R: Row<N>>(
        &mut self,
        json: bool,
        rows: &[R],
        if_empty: &str,
    ) -> io::Result<()> {
        if json {
            return rows.iter().try_for_each(|row| self.json(row));
        }
        if rows.is_empty() {
            return self.note(if_empty);
        }
        let header = R::HEADER.map(str::to_owned);
        let lines: Vec<[String; N]> = std::iter::once(header)
            .chain(rows.iter().map(Row::cells))
            .collect();
        let mut widths = [0; N];
        for line in &lines {
            for (widest, cell) in widths.iter_mut().zip(line) {
                *widest = width(cell).max(*widest);
            }
        }
        for line in &lines {
            let cells = line.iter().zip(widths);
            let cells: Vec<String> = cells.map(|(cell, width)| pad(cell, width, false)).collect();
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Ends a command whose only output is this note.
    pub fn finish_with(mut self, note: &str) -> Exit {
        let written = self.note(note).map_err(CommandError::from);
        self.finish(written)
    }

    /// Ends a command that failed, with the reason.
    pub fn fail(self, reason: &str) -> Exit {
        let _nobody_listens = writeln!(self.err, "ssh-chat: {reason}");
        Exit::Failed
    }

    /// Ends a command: writes the error, if any, and returns the exit code.
    pub(super) fn finish(self, result: Result<(), CommandError>) -> Exit {
        let (exit, error) = match result.and_then(|()| Ok(self.out.flush()?)) {
            Ok(()) => return Exit::Success,
            // The reader closed the pipe, as `head` does: there is nothing to report.
            Err(CommandError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
                return Exit::Failed;
            }
            Err(error @ CommandError::NotFound(_)) => (Exit::NotFound, error),
            Err(error) => (Exit::Failed, error),
        };
        let _nobody_listens = writeln!(self.err, "ssh-chat: {error}");
        exit
    }
}

fn utc(time: Time) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.0).unwrap_or_default()
}

/// A time for people: `2026-11-22 14:02 UTC`.
pub fn format_time(time: Time) -> String {
    utc(time).format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A time for programs (RFC 3339): `2026-11-22T14:02:00.000Z`.
fn rfc3339(time: Time) -> String {
    utc(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A [`Time`] in JSON, in RFC 3339.
pub(super) struct JsonTime(pub Time);

impl Serialize for JsonTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Cells([&'static str; 3]);

    impl Row<3> for Cells {
        const HEADER: [&str; 3] = ["A", "BB", "C"];

        fn cells(&self) -> [String; 3] {
            self.0.map(str::to_owned)
        }
    }

    #[test]
    fn tables_line_up() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
        };
        let rows = [Cells(["語", "b", "x"]), Cells(["alice", "", ""])];
        console.rows(false, &rows, "nothing").unwrap();
        console.rows(true, &rows, "nothing").unwrap();
        console.rows::<3, Cells>(false, &[], "nothing").unwrap();
        let expected = "A      BB  C\n語     b   x\nalice\n\
                        [\"語\",\"b\",\"x\"]\n[\"alice\",\"\",\"\"]\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(String::from_utf8(err).unwrap(), "nothing\n");
    }

    #[test]
    fn moments_are_in_utc() {
        for (millis, people, programs) in [
            (0, "1970-01-01 00:00 UTC", "1970-01-01T00:00:00.000Z"),
            (
                1_795_356_120_123,
                "2026-11-22 14:02 UTC",
                "2026-11-22T14:02:00.123Z",
            ),
            (i64::MAX, "1970-01-01 00:00 UTC", "1970-01-01T00:00:00.000Z"),
        ] {
            let time = Time(millis);
            assert_eq!(
                (format_time(time).as_str(), rfc3339(time).as_str()),
                (people, programs)
            );
        }
    }

    #[test]
    fn endings_have_their_codes() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(ErrorKind::BrokenPipe.into())
            }
        }
        let words = || "no such thing".to_owned();
        let broken = CommandError::Output(ErrorKind::BrokenPipe.into());
        for (result, exit, said) in [
            (Ok(()), Exit::Success, ""),
            (
                Err(CommandError::NotFound(words())),
                Exit::NotFound,
                "ssh-chat: no such thing\n",
            ),
            (
                Err(CommandError::Refused(words())),
                Exit::Failed,
                "ssh-chat: no such thing\n",
            ),
            (
                Err(StoreError::Full.into()),
                Exit::Failed,
                "ssh-chat: the disk is full\n",
            ),
            (Err(broken), Exit::Failed, ""),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let console = Console {
                out: &mut out,
                err: &mut err,
            };
            assert_eq!(console.finish(result), exit);
            assert_eq!(String::from_utf8(err).unwrap(), said);
        }
        let console = Console {
            out: &mut Closed,
            err: &mut Closed,
        };
        assert_eq!(
            console.finish(Ok(())),
            Exit::Failed,
            "nothing of it was read"
        );
    }
}
