//! Reads a model of twelve columns, and prints rows, seconds and memory as one line of JSON.
//!
//! `cargo run --release -p rsync-postgres-source --example read_rate -- 1000000`
//!
//! The server is one of the test kit's. `psql` discards the same bytes for comparison: that is what the server needs.

use std::env;
use std::error::Error;
use std::fs;
use std::process::{Command, Stdio};

use futures::TryStreamExt;
use rsync_core::clock::{Clock, SystemClock};
use rsync_core::source::ReadRequest;
use rsync_core::{Secret, Source};
use rsync_postgres_source::PostgresSource;
use rsync_testkit::postgres::Cluster;
use serde_json::json;

/// Rows unless an argument says otherwise.
const ROWS: u64 = 100_000;
/// The first round also warms the server's cache.
const ROUNDS: usize = 3;

#[allow(clippy::print_stdout, reason = "it prints what it measured")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let rows = env::args().nth(1).map_or(Ok(ROWS), |rows| rows.parse())?;
    let database = Cluster::shared()?.database()?;
    database.run(&format!(
        "CREATE TABLE customer AS SELECT
            i::bigint AS id, 'key-' || i AS key, 'user' || i || '@example.com' AS email, (i % 1000)::int AS visits,
            i::bigint * 7919 AS points, i::float8 / 7 AS score, (i * 1.2345)::numeric(18,4) AS spent, i % 3 = 0 AS active,
            date '2020-01-01' + (i % 2000)::int AS since, timestamptz '2024-01-01Z' + i * interval '1 s' AS seen,
            (ARRAY['free', 'plus', 'pro'])[i % 3 + 1] AS tier, jsonb_build_object('n', i, 'tag', 'a') AS extra
         FROM generate_series(1, {rows}) i;
         VACUUM ANALYZE customer;"
    ))?;
    let clock = SystemClock::new();
    for round in 0..ROUNDS {
        let started = clock.monotonic();
        let discarded = Command::new("psql")
            .args(["-X", "-q", "-d", database.url(), "-c", "COPY (SELECT * FROM customer) TO STDOUT (FORMAT binary)"])
            .stdout(Stdio::null())
            .status()?;
        let psql = (clock.monotonic() - started).as_secs_f64();
        assert!(discarded.success(), "psql failed");

        let source = PostgresSource::builder()
            .connection(Secret::new(format!("{}?sslmode=disable", database.url())))
            .query("SELECT * FROM customer")
            .build()?;
        let (started, cpu) = (clock.monotonic(), cpu_seconds());
        let mut stream = source.read(ReadRequest::default()).await?;
        let (mut read, mut bytes) = (0, 0);
        while let Some(extracted) = stream.try_next().await? {
            read += extracted.batch.num_rows() as u64;
            bytes += extracted.batch.get_array_memory_size();
        }
        let seconds = (clock.monotonic() - started).as_secs_f64();
        assert_eq!(read, rows, "the model is not complete");
        let line = json!({
            "round": round, "rows": read, "seconds": seconds, "cpu_seconds": cpu_seconds() - cpu, "psql_seconds": psql,
            "rows_per_second": (read as f64 / seconds).round(), "arrow_mib": bytes >> 20, "peak_rss_mib": peak_rss_mib(),
        });
        println!("{line}");
    }
    Ok(())
}

/// User and system time of this process, in steps of 10 ms; 0 where there is no `/proc`.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses, which may hold blanks: fields 14 and 15 of the whole.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The largest resident size so far; none where there is no `/proc`.
fn peak_rss_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? >> 10)
}
