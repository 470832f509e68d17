//! Admitting a new connection, before any key exchange.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::Criterion;
use ssh_chat::rate_limit::TrustedNetworks;
use ssh_chat::ssh::eviction::Stage;
use ssh_chat::ssh::limits::{ConnectionLimits, ConnectionTable};

/// Time between two connections: five thousand a second.
const APART: Duration = Duration::from_micros(200);

fn table(unauthenticated: usize) -> ConnectionTable {
    ConnectionTable::new(ConnectionLimits {
        total: 4 * unauthenticated,
        per_address: 64,
        unauthenticated,
        login_grace: Duration::from_secs(20),
        trusted: TrustedNetworks::default(),
    })
}

/// The source address of the nth connection, out of this many.
fn source(nth: u32, sources: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + nth % sources).into()
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admission");
    let start = Instant::now();
    group.bench_function("empty", |b| {
        let (mut table, mut nth) = (table(1024), 0);
        b.iter(|| {
            nth += 1;
            let now = start + APART * nth;
            if let Ok(admitted) = table.admit(source(nth, 100_000), now) {
                table.remove(admitted.id, now);
            }
        });
    });
    // Each evicts another: from a few addresses with many connections, or from many with one each.
    for (name, sources, places) in [
        ("full_1000_sources", 1000, 1024),
        ("full_100000_sources", 100_000, 1024),
        ("full_16384_places", 100_000, 16_384),
    ] {
        group.bench_function(name, |b| {
            let (mut table, mut nth) = (table(places), 0);
            let mut arrive = || {
                nth += 1;
                let now = start + APART * nth;
                if let Ok(admitted) = table.admit(source(nth, sources), now) {
                    table.advance(admitted.id, Stage::VersionExchanged, now);
                }
            };
            for _ in 0..2 * places {
                arrive();
            }
            b.iter(&mut arrive);
        });
    }
    group.finish();
}
