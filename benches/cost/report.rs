//! The figures, as a table or as JSON.

use std::io::Write as _;

use anyhow::Result;
use serde_json::{Map, Value, json};

use ssh_chat_load::process::load_average;

use super::server::Kind;
use super::{Mode, Options};

/// The figures of one round of one server.
#[derive(Debug, Clone, Copy)]
pub struct KeyMetrics {
    /// Server CPU time per login, in microseconds, including the announcement to the others.
    pub login_us: f64,
    /// Memory per idle session, in KiB.
    pub session_kib: f64,
    /// Server CPU time per delivery, in microseconds.
    pub delivery_us: f64,
    /// Deliveries per second.
    pub per_second: f64,
    /// Average number of CPUs that the server used.
    pub busy: f64,
    /// Average number of deliveries per SSH packet.
    pub joined: f64,
    /// Bytes sent to a client per delivery, before encryption.
    pub bytes: f64,
    /// Median latency from sending to receipt, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the latency, in milliseconds.
    pub p99_ms: f64,
    /// Messages sent.
    pub messages: u64,
    /// Distinct messages received, summed over all clients.
    pub deliveries: u64,
    /// Expected deliveries that didn't arrive.
    pub lost: u64,
    /// Messages received more than once.
    pub duplicated: u64,
    /// Clients that saw a different order.
    pub disordered: u64,
}

/// One row of the table: name, unit, decimal places, accessor.
type Row = (&'static str, &'static str, usize, fn(&KeyMetrics) -> f64);

const ROWS: &[Row] = &[
    ("cpu_per_delivery", "µs", 2, |f| f.delivery_us),
    ("deliveries_per_second", "/s", 0, |f| f.per_second),
    ("server_cpus_busy", "", 2, |f| f.busy),
    ("deliveries_per_packet", "", 2, |f| f.joined),
    ("bytes_per_delivery", "B", 0, |f| f.bytes),
    ("latency_p50", "ms", 2, |f| f.p50_ms),
    ("latency_p99", "ms", 2, |f| f.p99_ms),
    ("cpu_per_login", "µs", 0, |f| f.login_us),
    ("memory_per_session", "KiB", 1, |f| f.session_kib),
    ("messages", "", 0, |f| f.messages as f64),
    ("lost", "", 0, |f| f.lost as f64),
    ("duplicated", "", 0, |f| f.duplicated as f64),
    ("clients_out_of_order", "", 0, |f| f.disordered as f64),
];

impl KeyMetrics {
    /// The most important figures in one line.
    pub fn brief(&self) -> String {
        format!(
            "{:.2} µs per delivery, {} deliveries, p99 {:.1} ms, {:.0} µs per login, {:.1} KiB per session",
            self.delivery_us, self.deliveries, self.p99_ms, self.login_us, self.session_kib
        )
    }
}

/// All rounds.
pub struct Report {
    what: Value,
    rounds: Vec<(Kind, KeyMetrics)>,
}

/// Median, minimum and maximum of a figure over all rounds.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Report {
    /// An empty report.
    pub fn new(options: &Options) -> Report {
        let load = load_average();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if load.is_some_and(|load| load > 0.5) {
            progress("note: other processes are running; latencies and rates will look worse");
        }
        let how = match options.mode {
            Mode::Flat => json!({ "mode": "flat", "window": options.window }),
            Mode::Light => json!({ "mode": "light", "rate": options.rate }),
        };
        Report {
            what: json!({
                "clients": options.clients,
                "senders": options.senders,
                "load": how,
                "seconds": options.seconds,
                "rounds": options.rounds,
                "cores": cores,
                "load_average_before": load,
            }),
            rounds: Vec::new(),
        }
    }

    /// Adds a round.
    pub fn add(&mut self, kind: Kind, figures: KeyMetrics) {
        self.rounds.push((kind, figures));
    }

    /// Whether every message reached every client, in the same order.
    pub fn all_arrived(&self) -> bool {
        self.rounds
            .iter()
            .all(|(_, f)| f.lost == 0 && f.disordered == 0)
    }

    fn spread(&self, kind: Kind, figure: fn(&KeyMetrics) -> f64) -> Option<Spread> {
        let of_kind = self.rounds.iter().filter(|(k, _)| *k == kind);
        let mut all: Vec<f64> = of_kind.map(|(_, figures)| figure(figures)).collect();
        all.sort_by(f64::total_cmp);
        Some(Spread {
            median: *all.get(all.len() / 2)?,
            least: *all.first()?,
            most: *all.last()?,
        })
    }

    /// Prints the report to standard output.
    pub fn print(&self, as_json: bool) -> Result<()> {
        let text = if as_json {
            serde_json::to_string_pretty(&self.json())?
        } else {
            self.table()
        };
        Ok(writeln!(std::io::stdout(), "{text}")?)
    }

    fn json(&self) -> Value {
        let mut figures = Map::new();
        for (name, unit, _, figure) in ROWS {
            let mut row = json!({ "unit": unit });
            for kind in [Kind::Floor, Kind::Product] {
                if let (Some(row), Some(spread)) = (row.as_object_mut(), self.spread(kind, *figure))
                {
                    let Spread {
                        median,
                        least,
                        most,
                    } = spread;
                    let spread = json!({ "median": median, "min": least, "max": most });
                    row.insert(kind.name().to_owned(), spread);
                }
            }
            figures.insert((*name).to_owned(), row);
        }
        json!({ "what": self.what, "figures": figures })
    }

    fn table(&self) -> String {
        let mut lines = vec![
            self.what.to_string(),
            format!(
                "{:<28}{:>32}{:>32}{:>8}",
                "median (min to max)", "floor", "product", "ratio"
            ),
        ];
        for (name, unit, digits, figure) in ROWS {
            let (floor, product) = (
                self.spread(Kind::Floor, *figure),
                self.spread(Kind::Product, *figure),
            );
            let cell = |spread: Option<Spread>| match spread {
                Some(s) if s.least < s.most => format!(
                    "{:.*} ({:.*} to {:.*})",
                    digits, s.median, digits, s.least, digits, s.most
                ),
                Some(s) => format!("{:.*}", digits, s.median),
                None => "-".to_owned(),
            };
            let ratio = match (floor, product) {
                (Some(f), Some(p)) if f.median > 0.0 => format!("{:.2}", p.median / f.median),
                _ => String::new(),
            };
            let name = format!("{} {unit}", name.replace('_', " "));
            lines.push(format!(
                "{name:<28}{:>32}{:>32}{ratio:>8}",
                cell(floor),
                cell(product)
            ));
        }
        lines.join("\n")
    }
}

/// Prints a progress line to standard error.
pub fn progress(words: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{words}");
}
