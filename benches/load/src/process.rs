//! What Linux reports about the measured process.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// File descriptors needed in addition to one per session.
const SPARE: u64 = 100;

/// A process on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    fn proc(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }

    /// The CPU time that each of its threads has used so far.
    ///
    /// # Errors
    /// Fails if there is no such process, or the kernel has no schedstat.
    pub fn cpu(self) -> Result<Cpu> {
        let mut threads = HashMap::new();
        let tasks = fs::read_dir(self.proc("task"));
        for thread in tasks.with_context(|| format!("there is no process {}", self.0))? {
            let thread = thread?;
            // A thread may end at any moment.
            let Ok(stat) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
            let nanos = nanos.context("the kernel has no schedstat")?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), nanos);
        }
        Ok(Cpu(threads))
    }

    /// Resident memory (`VmRSS`), in KiB.
    ///
    /// # Errors
    /// Fails if there is no such process.
    pub fn rss_kib(self) -> Result<f64> {
        let status = fs::read_to_string(self.proc("status"));
        let status = status.with_context(|| format!("there is no process {}", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context("the kernel doesn't report VmRSS")?.parse()?)
    }
}

/// CPU time by thread, in nanoseconds.
#[derive(Debug)]
pub struct Cpu(HashMap<String, u64>);

impl Cpu {
    /// CPU time since an earlier reading, in microseconds, without threads that have ended.
    pub fn since(&self, earlier: &Cpu) -> f64 {
        let threads = self.0.iter();
        let nanos: u64 = threads
            .map(|(thread, nanos)| nanos.saturating_sub(*earlier.0.get(thread).unwrap_or(&0)))
            .sum();
        nanos as f64 / 1e3
    }
}

/// Checks that this process may open enough file descriptors for this many sessions.
///
/// # Errors
/// Fails if it may not, and tells how to raise the limit.
pub fn check_descriptors(sessions: u32) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits").context("this needs Linux")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let needed = u64::from(sessions) + SPARE;
    if let Some(most) = soft.and_then(|soft| soft.parse::<u64>().ok()) {
        ensure!(
            most >= needed,
            "{sessions} sessions need {needed} open files and {most} are allowed: \
             `ulimit -n {needed}` first, or use fewer --clients"
        );
    }
    Ok(())
}

/// The load average of the last minute.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
