//! `ssh-chat export` and `ssh-chat import`: the whole store as an archive, and back.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::console::{CommandError, Console};
use crate::chat::ids::Time;
use crate::store::archive::format::{ArchiveFrame, ArchiveLine, LineError, MAX_LINE, VERSION};
use crate::store::archive::{Archive, ArchiveRecord, BATCH, ImportError};

#[cfg(test)]
mod tests;

/// Arguments of `export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExportArgs {
    /// File to create; must not exist. Omit it or use - for standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of `import`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImportArgs {
    /// Archive written by `ssh-chat export`; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check that the archive is complete and every line valid
    #[arg(long)]
    pub dry_run: bool,
}

/// Writes the store as an archive, in batches.
pub async fn export(
    args: &ExportArgs,
    store: &dyn Archive,
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let result = match args.file.as_deref() {
        Some(path) if path != Path::new("-") => {
            export_to_file(path, store, now, &mut console).await
        }
        _ => write_archive(store, now, &mut BufWriter::new(&mut *console.out))
            .await
            .map(|_| ()),
    };
    console.finish(result)
}

async fn export_to_file(
    path: &Path,
    store: &dyn Archive,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let file = create_private(path)?;
    let written = async {
        let mut out = BufWriter::new(&file);
        let counts = write_archive(store, now, &mut out).await?;
        drop(out);
        file.sync_all()?;
        Ok(counts)
    };
    match written.await {
        Ok(counts) => Ok(console.note(&format!("exported {counts} to {}", path.display()))?),
        Err(error) => {
            // An incomplete archive is useless. If it can't be removed, import detects that its end is
            // missing.
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Creates a file that only its owner can read: it'll contain every private message.
fn create_private(path: &Path) -> Result<File, CommandError> {
    let created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    created.map_err(|error| {
        let path = path.display();
        CommandError::Refused(if error.kind() == ErrorKind::AlreadyExists {
            format!("{path} already exists: name another file, or move it away")
        } else {
            format!("can't create {path}: {error}")
        })
    })
}

async fn write_archive(
    store: &dyn Archive,
    now: Time,
    out: &mut dyn Write,
) -> Result<RecordCounts, CommandError> {
    let mut counts = RecordCounts::default();
    let header = ArchiveFrame::Header {
        v: VERSION,
        at: now,
        program: concat!("ssh-chat ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    write_line(out, &ArchiveLine::Frame(header))?;
    let mut pages = store.export().await?;
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            counts.add(&record);
            write_line(out, &ArchiveLine::Record(record))?;
        }
    }
    let records = counts.total();
    write_line(out, &ArchiveLine::Frame(ArchiveFrame::Trailer { records }))?;
    out.flush()?;
    Ok(counts)
}

fn write_line(out: &mut dyn Write, line: &ArchiveLine) -> Result<(), CommandError> {
    let text = line.write().map_err(|error| {
        let title = match line {
            ArchiveLine::Record(record) => record.title(),
            ArchiveLine::Frame(_) => "the archive".to_owned(),
        };
        CommandError::Refused(format!("can't write {title}: {error}"))
    })?;
    Ok(out.write_all(text.as_bytes())?)
}

/// Imports an archive into a store that's empty or has a part of it already. A file is checked completely
/// before anything changes; standard input can be read only once.
pub async fn import(
    args: &ImportArgs,
    store: &dyn Archive,
    input: &mut dyn Read,
    mut console: Console<'_>,
) -> Exit {
    let result = check_and_import(args, store, input, &mut console).await;
    console.finish(result)
}

/// Checks an archive without a store.
pub fn check(args: &ImportArgs, input: &mut dyn Read, mut console: Console<'_>) -> Exit {
    let checked = match open(&args.file) {
        Ok(Some(mut file)) => check_archive(&mut file),
        Ok(None) => check_archive(input),
        Err(error) => Err(error),
    };
    let result = checked.and_then(|counts| {
        Ok(console.note(&format!(
            "the archive is valid: {counts}; nothing was changed"
        ))?)
    });
    console.finish(result)
}

async fn check_and_import(
    args: &ImportArgs,
    store: &dyn Archive,
    input: &mut dyn Read,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let (counts, new) = match open(&args.file)? {
        Some(mut file) => {
            check_archive(&mut file)?;
            file.rewind().map_err(unreadable)?;
            import_records(&mut file, store).await?
        }
        None => import_records(input, store).await?,
    };
    let more = match (new, counts.total() - new) {
        (_, 0) => String::new(),
        (0, _) => "; all of it was there already".to_owned(),
        (_, known) => format!("; {known} of these records were there already"),
    };
    Ok(console.note(&format!("imported {counts}{more}"))?)
}

/// Opens the file; `None` for standard input.
fn open(path: &Path) -> Result<Option<File>, CommandError> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let opened = File::open(path).map(Some);
    opened
        .map_err(|error| CommandError::NotFound(format!("can't read {}: {error}", path.display())))
}

/// Reads an archive to its end. Returns what it contains.
fn check_archive(input: &mut dyn Read) -> Result<RecordCounts, CommandError> {
    let mut records = ArchiveReader::new(input);
    while records.next()?.is_some() {}
    Ok(records.counts)
}

/// Imports an archive in batches. Returns what it contains, and how many of its records are new.
async fn import_records(
    input: &mut dyn Read,
    store: &dyn Archive,
) -> Result<(RecordCounts, u64), CommandError> {
    let mut records = ArchiveReader::new(input);
    let mut new = 0;
    loop {
        let before = records.counts.total();
        let mut batch = Vec::with_capacity(BATCH);
        while batch.len() < BATCH
            && let Some(record) = records.next()?
        {
            batch.push(record);
        }
        if batch.is_empty() {
            return Ok((records.counts, new));
        }
        let titles = batch.iter().map(ArchiveRecord::title).collect::<Vec<_>>();
        match store.import(batch).await {
            Ok(added) => new += u64::try_from(added).unwrap_or(u64::MAX),
            Err(ImportError::Store(error)) => return Err(error.into()),
            Err(ImportError::Conflict { index, why }) => {
                let title = titles.get(index).map(String::as_str).unwrap_or_default();
                // Line 1 is the header.
                let first = before + 2;
                let line = first + u64::try_from(index).unwrap_or(u64::MAX);
                return Err(CommandError::Refused(format!(
                    "line {line}, {title}: {why}. Nothing from line {first} on was imported. Import \
                     into an empty store, or into one that has a part of the same archive"
                )));
            }
        }
    }
}

/// Reads the records of an archive, line by line. Lines have a maximum length.
struct ArchiveReader<'a> {
    input: BufReader<&'a mut dyn Read>,
    line: Vec<u8>,
    /// The number of the last line read, from 1.
    number: u64,
    /// The records read so far.
    counts: RecordCounts,
    /// Whether the end was read and is valid.
    is_finished: bool,
}

impl ArchiveReader<'_> {
    fn new(input: &mut dyn Read) -> ArchiveReader<'_> {
        ArchiveReader {
            input: BufReader::new(input),
            line: Vec::new(),
            number: 0,
            counts: RecordCounts::default(),
            is_finished: false,
        }
    }

    /// Reads the next record; `None` after the last, once the end has been checked.
    fn next(&mut self) -> Result<Option<ArchiveRecord>, CommandError> {
        if self.is_finished {
            return Ok(None);
        }
        if self.number == 0 {
            self.read_line()?;
            ArchiveLine::first(&self.line).map_err(|error| self.invalid(&error.to_string()))?;
        }
        if !self.read_line()? {
            return Err(self.invalid("the archive is incomplete: it breaks off here"));
        }
        let line = ArchiveLine::read(&self.line);
        match line.map_err(|error: LineError| self.invalid(&error.to_string()))? {
            ArchiveLine::Record(record) => {
                self.counts.add(&record);
                Ok(Some(record))
            }
            ArchiveLine::Frame(ArchiveFrame::Trailer { records })
                if records == self.counts.total() =>
            {
                if self.read_line()? {
                    return Err(self.invalid("unexpected data after the end of the archive"));
                }
                self.is_finished = true;
                Ok(None)
            }
            ArchiveLine::Frame(ArchiveFrame::Trailer { records }) => Err(self.invalid(&format!(
                "the archive should have {records} records, but has {}",
                self.counts.total()
            ))),
            ArchiveLine::Frame(ArchiveFrame::Header { .. }) => {
                Err(self.invalid("another archive begins here; import one at a time"))
            }
        }
    }

    /// Reads the next line. Returns whether there was one.
    fn read_line(&mut self) -> Result<bool, CommandError> {
        self.number += 1;
        self.line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut limited = (&mut self.input).take(limit + 1);
        limited
            .read_until(b'\n', &mut self.line)
            .map_err(unreadable)?;
        if self.line.len() > MAX_LINE {
            return Err(self.invalid(&format!("the line is longer than {MAX_LINE} bytes")));
        }
        Ok(!self.line.is_empty())
    }

    /// An error in the last line read.
    fn invalid(&self, why: &str) -> CommandError {
        CommandError::Refused(format!("line {}: {why}", self.number))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: std::io::Error) -> CommandError {
    CommandError::Refused(format!("can't read the archive: {error}"))
}

/// The kinds of records in the order of an archive, with their names in singular and plural.
const NOUNS: [(&str, &str, &str); 10] = [
    ("account", "account", "accounts"),
    ("mark", "read marker", "read markers"),
    ("room", "room", "rooms"),
    ("invite", "invite", "invites"),
    ("pending", "pending key", "pending keys"),
    ("ban", "ban", "bans"),
    ("mute", "mute", "mutes"),
    ("lockdown", "lockdown", "lockdowns"),
    ("audit", "audit entry", "audit entries"),
    ("message", "message", "messages"),
];

/// The number of records of each kind. Displayed as `3 accounts, 1 room, 812 messages`.
#[derive(Debug, Default)]
struct RecordCounts(BTreeMap<&'static str, u64>);

impl RecordCounts {
    fn add(&mut self, record: &ArchiveRecord) {
        *self.0.entry(record.kind()).or_default() += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for RecordCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = NOUNS.iter().filter_map(|(kind, singular, plural)| {
            let count = self.0.get(kind)?;
            let noun = if *count == 1 { singular } else { plural };
            Some(format!("{count} {noun}"))
        });
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&counts.join(", "))
    }
}
