//! The figures, as a table or as JSON.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};
use ssh_chat_load::seen::AllSeen;

/// One figure: name, unit, decimal places, value.
type Row = (&'static str, &'static str, usize, f64);

/// All figures, in the order of measurement.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    missed: bool,
}

impl Report {
    fn add(&mut self, name: &'static str, unit: &'static str, digits: usize, value: f64) {
        self.rows.push((name, unit, digits, value));
    }

    /// Records that this many clients logged in within this time.
    pub fn joined(&mut self, clients: u32, took: Duration) {
        let clients = f64::from(clients);
        self.add("clients", "", 0, clients);
        self.add("logins_per_second", "/s", 0, clients / took.as_secs_f64());
    }

    /// Records the server's CPU time per login, in microseconds, including the announcement to the
    /// others.
    pub fn login(&mut self, micros: f64) {
        self.add("cpu_per_login", "µs", 0, micros);
    }

    /// Records the server's memory with all clients connected, and the increase per client, in KiB.
    pub fn memory(&mut self, whole: f64, each: f64) {
        self.add("memory", "KiB", 0, whole);
        self.add("memory_per_session", "KiB", 1, each);
    }

    /// Records the server's memory at the end.
    pub fn memory_after(&mut self, whole: f64) {
        self.add("memory_afterwards", "KiB", 0, whole);
    }

    /// Records that this many messages were sent, each to this many readers, and what was received.
    /// `used` is the server's CPU time, in microseconds.
    pub fn deliveries(
        &mut self,
        messages: u64,
        readers: u64,
        seen: &AllSeen,
        took: Duration,
        used: Option<f64>,
    ) {
        let expected = messages * readers;
        let lost = expected.saturating_sub(seen.deliveries);
        self.missed = lost > 0 || seen.disordered > 0;
        self.add("messages", "", 0, messages as f64);
        self.add("deliveries_expected", "", 0, expected as f64);
        self.add("deliveries", "", 0, seen.deliveries as f64);
        self.add("lost", "", 0, lost as f64);
        self.add("duplicated", "", 0, seen.duplicated as f64);
        self.add("clients_out_of_order", "", 0, seen.disordered as f64);
        let deliveries = seen.deliveries.max(1) as f64;
        let per_second = seen.deliveries as f64 / took.as_secs_f64();
        self.add("deliveries_per_second", "/s", 0, per_second);
        let packets = seen.packets.max(1) as f64;
        self.add("deliveries_per_packet", "", 2, deliveries / packets);
        let bytes = seen.bytes as f64 / deliveries;
        self.add("bytes_per_delivery", "B", 0, bytes);
        for (name, percent) in [
            ("latency_p50", 50),
            ("latency_p90", 90),
            ("latency_p99", 99),
            ("latency_max", 100),
        ] {
            self.add(name, "ms", 2, seen.latency_ms(percent));
        }
        if let Some(used) = used {
            self.add("cpu_per_delivery", "µs", 2, used / deliveries);
        }
    }

    /// Records the server's CPU time, in microseconds, within this time.
    pub fn busy(&mut self, used: f64, took: Duration) {
        let busy = used / 1e6 / took.as_secs_f64();
        self.add("server_cpus_busy", "", 3, busy);
    }

    /// Records the number of visitors.
    pub fn visits(&mut self, visits: usize) {
        self.add("visits", "", 0, visits as f64);
    }

    /// Records how many clients were frozen, and how many of them the server disconnected.
    pub fn frozen(&mut self, frozen: u32, cut: usize) {
        self.add("frozen", "", 0, f64::from(frozen));
        self.add("frozen_and_cut", "", 0, cut as f64);
    }

    /// Whether every message reached every client, in the same order.
    pub fn all_arrived(&self) -> bool {
        !self.missed
    }

    /// Prints the report to standard output.
    ///
    /// # Errors
    /// Fails if standard output is closed.
    pub fn print(&self, as_json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            let rows = self.rows.iter();
            let figures: Map<String, Value> = rows
                .map(|(name, unit, _, value)| {
                    ((*name).to_owned(), json!({ "value": value, "unit": unit }))
                })
                .collect();
            return Ok(writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&figures)?
            )?);
        }
        for (name, unit, digits, value) in &self.rows {
            let name = format!("{} {unit}", name.replace('_', " "));
            writeln!(out, "{name:<28}{value:>16.digits$}")?;
        }
        Ok(())
    }
}

/// Prints a progress line to standard error.
pub fn progress(words: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{words}");
}
