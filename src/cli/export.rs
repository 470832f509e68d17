//! `ssh-chat export`: everything that the store holds, as an archive.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Exit;
use super::console::{Console, Failure};
use super::tally::Tally;
use crate::chat::ids::Time;
use crate::store::archive::Archive;
use crate::store::archive::format::{ArchiveFrame, ArchiveLine, VERSION};

#[cfg(test)]
mod tests;

/// Where to write the archive.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {
    /// A file, which must not be there yet; - or nothing is standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes the archive, some records at a time.
pub async fn run(args: &Export, store: &dyn Archive, now: Time, mut console: Console<'_>) -> Exit {
    let result = match args.file.as_deref() {
        Some(path) if path != Path::new("-") => to_file(path, store, now, &mut console).await,
        _ => write(store, now, &mut BufWriter::new(&mut *console.out))
            .await
            .map(|_| ()),
    };
    console.finish(result)
}

async fn to_file(
    path: &Path,
    store: &dyn Archive,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let file = create(path)?;
    let written = async {
        let mut out = BufWriter::new(&file);
        let tally = write(store, now, &mut out).await?;
        drop(out);
        file.sync_all()?;
        Ok(tally)
    };
    match written.await {
        Ok(tally) => Ok(console.say(&format!("{} has {tally}", path.display()))?),
        Err(failure) => {
            // Half an archive is none. If it can't be removed, its end is missing.
            let _ = fs::remove_file(path);
            Err(failure)
        }
    }
}

/// Makes a file that only its owner can read: all that was ever said is in it.
fn create(path: &Path) -> Result<File, Failure> {
    let made = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    made.map_err(|error| {
        let path = path.display();
        Failure::Refused(if error.kind() == ErrorKind::AlreadyExists {
            format!("{path} is there already: name another file, or move it away")
        } else {
            format!("can't make {path}: {error}")
        })
    })
}

async fn write(store: &dyn Archive, now: Time, out: &mut dyn Write) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let begin = ArchiveFrame::Header {
        v: VERSION,
        at: now,
        program: concat!("ssh-chat ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    put(out, &ArchiveLine::Frame(begin))?;
    let mut pages = store.export().await?;
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            tally.add(&record);
            put(out, &ArchiveLine::Record(record))?;
        }
    }
    let records = tally.records();
    put(out, &ArchiveLine::Frame(ArchiveFrame::Trailer { records }))?;
    out.flush()?;
    Ok(tally)
}

fn put(out: &mut dyn Write, line: &ArchiveLine) -> Result<(), Failure> {
    let text = line.write().map_err(|error| {
        let title = match line {
            ArchiveLine::Record(record) => record.title(),
            ArchiveLine::Frame(_) => "the archive".to_owned(),
        };
        Failure::Refused(format!("{title} can't be written: {error}"))
    })?;
    Ok(out.write_all(text.as_bytes())?)
}
