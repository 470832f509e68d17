//! How commands speak: data on standard output, as a table or as one JSON object a line, and
//! what is to be said about it on standard error.

use std::io::{self, ErrorKind, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::Exit;
use crate::chat::ids::Time;
use crate::store::StoreError;
use crate::text::{pad, width};

/// Where a command writes to.
pub struct Console<'a> {
    /// Standard output: data only.
    pub out: &'a mut dyn Write,
    /// Standard error: everything else.
    pub err: &'a mut dyn Write,
}

/// Why a command did not do what it was asked. The words are shown to whoever asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// What was named is not there.
    #[error("{0}")]
    Missing(String),
    /// It can't be done.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was to be said could not be written.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
}

impl Console<'_> {
    /// The same once more, for a command after which something is left to say.
    pub fn again(&mut self) -> Console<'_> {
        Console {
            out: &mut *self.out,
            err: &mut *self.err,
        }
    }

    /// Says on standard error what is no data.
    pub fn say(&mut self, words: &str) -> io::Result<()> {
        writeln!(self.err, "{words}")
    }

    /// Writes one object, on one line.
    pub(super) fn json(&mut self, object: &impl Serialize) -> io::Result<()> {
        json(self.out, object)
    }

    /// Writes rows as a table under a head line, each column as wide as it has to be. Nothing if
    /// there are no rows.
    pub(super) fn table<const N: usize>(
        &mut self,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let head = [head.map(str::to_owned)];
        let lines = || head.iter().chain(rows);
        let mut widths = [0; N];
        for line in lines() {
            for (widest, cell) in widths.iter_mut().zip(line) {
                *widest = width(cell).max(*widest);
            }
        }
        for line in lines() {
            let cells: Vec<String> = line
                .iter()
                .zip(widths)
                .map(|(cell, widest)| pad(cell, widest, false))
                .collect();
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// Says what was done, where that is all.
    pub fn told(mut self, words: &str) -> Exit {
        let said = self.say(words).map_err(Failure::from);
        self.finish(said)
    }

    /// Says why nothing was done.
    pub fn failed(self, words: &str) -> Exit {
        let _nobody_listens = writeln!(self.err, "ssh-chat: {words}");
        Exit::Failed
    }

    /// How the program ends after this, once standard error has the reason.
    pub(super) fn finish(self, result: Result<(), Failure>) -> Exit {
        let result = result.and_then(|()| Ok(self.out.flush()?));
        let exit = match &result {
            Ok(()) => return Exit::Good,
            // Who closed the pipe, as `head` does, has seen enough and knows.
            Err(Failure::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
                return Exit::Failed;
            }
            Err(Failure::Missing(_)) => Exit::NotFound,
            Err(_) => Exit::Failed,
        };
        if let Err(failure) = result {
            let _nobody_listens = writeln!(self.err, "ssh-chat: {failure}");
        }
        exit
    }
}

/// Writes one object, on one line.
pub(super) fn json(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

fn utc(time: Time) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.0).unwrap_or_default()
}

/// A moment for people: `2026-11-22 14:02 UTC`.
pub fn shown(time: Time) -> String {
    utc(time).format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A moment for programs (RFC 3339): `2026-11-22T14:02:00.000Z`.
pub(super) fn stamp(time: Time) -> String {
    utc(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
        };
        let rows = [["語", "b", "x"], ["alice", "", ""]].map(|row| row.map(str::to_owned));
        console.table(["A", "BB", "C"], &rows).unwrap();
        console.table(["A"], &[]).unwrap();
        let expected = "A      BB  C\n語     b   x\nalice\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
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
                (shown(time).as_str(), stamp(time).as_str()),
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
        let broken = Failure::Write(ErrorKind::BrokenPipe.into());
        for (result, exit, said) in [
            (Ok(()), Exit::Good, ""),
            (
                Err(Failure::Missing(words())),
                Exit::NotFound,
                "ssh-chat: no such thing\n",
            ),
            (
                Err(Failure::Refused(words())),
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
