//! `ssh-chat import`: takes an archive into the store.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::console::{Console, Failure};
use super::tally::Tally;
use crate::store::archive::format::{ArchiveFrame, ArchiveLine, LineError, MAX_LINE};
use crate::store::archive::{Archive, ArchiveRecord, BATCH, ImportError};

#[cfg(test)]
mod tests;

/// What to take in.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Import {
    /// The archive, as `ssh-chat export` writes it; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check that the archive is whole and that every line of it is good
    #[arg(long)]
    pub dry_run: bool,
}

/// Takes an archive into a store that is empty or has a part of it already. A file is checked as a
/// whole before anything is changed; standard input can be read once only.
pub async fn run(
    args: &Import,
    store: &dyn Archive,
    input: &mut dyn Read,
    mut console: Console<'_>,
) -> Exit {
    let result = import(args, store, input, &mut console).await;
    console.finish(result)
}

/// Checks an archive without a store.
pub fn check(args: &Import, input: &mut dyn Read, mut console: Console<'_>) -> Exit {
    let checked = match open(&args.file) {
        Ok(Some(mut file)) => look_through(&mut file),
        Ok(None) => look_through(input),
        Err(failure) => Err(failure),
    };
    let result = checked.and_then(|tally| {
        Ok(console.say(&format!(
            "the archive is good: {tally}; nothing was changed"
        ))?)
    });
    console.finish(result)
}

async fn import(
    args: &Import,
    store: &dyn Archive,
    input: &mut dyn Read,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let (tally, new) = match open(&args.file)? {
        Some(mut file) => {
            look_through(&mut file)?;
            file.rewind().map_err(unreadable)?;
            take(&mut file, store).await?
        }
        None => take(input, store).await?,
    };
    let known = tally.records() - new;
    let more = match (new, known) {
        (_, 0) => String::new(),
        (0, _) => "; all of it was there already".to_owned(),
        (_, known) => format!("; {known} of these records were there already"),
    };
    Ok(console.say(&format!("imported {tally}{more}"))?)
}

/// The file, unless it is standard input that was named.
fn open(path: &Path) -> Result<Option<File>, Failure> {
    if path == Path::new("-") {
        return Ok(None);
    }
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) => Err(Failure::Missing(format!(
            "can't read {}: {error}",
            path.display()
        ))),
    }
}

/// Reads an archive to its end. Returns what is in it.
fn look_through(input: &mut dyn Read) -> Result<Tally, Failure> {
    let mut lines = Lines::new(input);
    while lines.next()?.is_some() {}
    Ok(lines.tally)
}

/// Gives an archive to the store. Returns what is in it, and how many of its records are new.
async fn take(input: &mut dyn Read, store: &dyn Archive) -> Result<(Tally, u64), Failure> {
    let mut lines = Lines::new(input);
    let mut new = 0;
    loop {
        let before = lines.tally.records();
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH
            && let Some(record) = lines.next()?
        {
            batch.push(record);
        }
        if batch.is_empty() {
            return Ok((lines.tally, new));
        }
        let titles = batch.iter().map(ArchiveRecord::title).collect::<Vec<_>>();
        match store.import(batch).await {
            Ok(taken) => new += u64::try_from(taken).unwrap_or(u64::MAX),
            Err(ImportError::Store(error)) => return Err(error.into()),
            Err(ImportError::Conflict { index, why }) => {
                let title = titles.get(index).map(String::as_str).unwrap_or_default();
                // Line 1 is no record.
                let from = before + 2;
                let line = from + u64::try_from(index).unwrap_or(u64::MAX);
                return Err(Failure::Refused(format!(
                    "line {line}, {title}: {why}. Nothing from line {from} on was taken; import \
                     into an empty store, or into one that has a part of the same archive"
                )));
            }
        }
    }
}

/// The lines of an archive, one after the other, each of bounded length.
struct Lines<'a> {
    input: BufReader<&'a mut dyn Read>,
    line: Vec<u8>,
    /// How many lines have been read.
    number: u64,
    /// What they have in them.
    tally: Tally,
    /// Whether the last was found good.
    ended: bool,
}

impl Lines<'_> {
    fn new(input: &mut dyn Read) -> Lines<'_> {
        Lines {
            input: BufReader::new(input),
            line: Vec::new(),
            number: 0,
            tally: Tally::default(),
            ended: false,
        }
    }

    /// The next record; `None` after the last, once the end has been found good.
    fn next(&mut self) -> Result<Option<ArchiveRecord>, Failure> {
        if self.ended {
            return Ok(None);
        }
        if self.number == 0 {
            self.advance()?;
            ArchiveLine::first(&self.line).map_err(|error| self.wrong(&error.to_string()))?;
        }
        if !self.advance()? {
            return Err(self.wrong("the archive breaks off here; get the whole of it"));
        }
        let line = ArchiveLine::read(&self.line);
        match line.map_err(|error: LineError| self.wrong(&error.to_string()))? {
            ArchiveLine::Record(record) => {
                self.tally.add(&record);
                Ok(Some(record))
            }
            ArchiveLine::Frame(ArchiveFrame::Trailer { records })
                if records == self.tally.records() =>
            {
                if self.advance()? {
                    return Err(self.wrong("there is something behind the end of the archive"));
                }
                self.ended = true;
                Ok(None)
            }
            ArchiveLine::Frame(ArchiveFrame::Trailer { records }) => Err(self.wrong(&format!(
                "the archive had {records} records, and {} are here",
                self.tally.records()
            ))),
            ArchiveLine::Frame(ArchiveFrame::Header { .. }) => {
                Err(self.wrong("another archive begins here; import one at a time"))
            }
        }
    }

    /// Reads the next line, and says whether there was one.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.number += 1;
        self.line.clear();
        let bound = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut bounded = (&mut self.input).take(bound + 1);
        bounded
            .read_until(b'\n', &mut self.line)
            .map_err(unreadable)?;
        if self.line.len() > MAX_LINE {
            return Err(self.wrong(&format!("the line is longer than {MAX_LINE} bytes")));
        }
        Ok(!self.line.is_empty())
    }

    /// That the line that was read last is wrong.
    fn wrong(&self, why: &str) -> Failure {
        let line = self.number;
        Failure::Refused(format!("line {line}: {why}"))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: std::io::Error) -> Failure {
    Failure::Refused(format!("can't read the archive: {error}"))
}
