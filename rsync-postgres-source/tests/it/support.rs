//! What all tests here need.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use rsync_core::source::{CellFault, ReadRequest};
use rsync_core::{Error, Result, Secret, Source};
use rsync_postgres_source::{Builder, PostgresSource};
use rsync_testkit::postgres::{Cluster, Database};

pub(crate) fn database() -> Database {
    Cluster::shared().and_then(|cluster| cluster.database()).unwrap_or_else(|e| panic!("{e}"))
}

/// A database with the tables of `script`.
pub(crate) fn database_with(script: &str) -> Database {
    let database = database();
    database.run(script).unwrap_or_else(|e| panic!("{e}"));
    database
}

/// A model over loopback, in clear.
pub(crate) fn model(database: &Database, query: &str) -> Builder {
    PostgresSource::builder().connection(Secret::new(plain_url(database))).query(query)
}

pub(crate) fn plain_url(database: &Database) -> String {
    format!("{}?sslmode=disable", database.url())
}

/// All rows of a model in one batch, with faults counted from its first row.
pub(crate) async fn read(source: &PostgresSource, columns: &[&str]) -> Result<(RecordBatch, Vec<CellFault>)> {
    let request = ReadRequest::new(columns.iter().map(|column| (*column).into()).collect());
    let mut batches = Vec::new();
    let mut faults = Vec::new();
    let mut rows = 0;
    let mut stream = source.read(request).await?;
    while let Some(extracted) = stream.try_next().await? {
        faults.extend(extracted.faults.into_iter().map(|fault| CellFault { row: fault.row + rows, ..fault }));
        rows += extracted.batch.num_rows();
        batches.push(extracted.batch);
    }
    let schema = batches.first().map(RecordBatch::schema).expect("the model has rows");
    Ok((concat_batches(&schema, &batches).unwrap(), faults))
}

/// The error of a model, of its schema or else of its rows.
pub(crate) async fn failure(builder: Builder) -> Error {
    let source = builder.build().unwrap();
    match source.schema().await {
        Err(e) => e,
        Ok(_) => read(&source, &[]).await.err().unwrap_or_else(|| panic!("{source:?} can be read")),
    }
}

/// How many of our connections the server has.
pub(crate) fn backends(database: &Database) -> usize {
    let count =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rsync'";
    database.run(count).unwrap().trim().parse().unwrap()
}

/// Numbers that look random; SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    /// Of `RSYNC_SEED`, or of a new seed, which is printed.
    #[allow(clippy::print_stderr, reason = "a failure is repeated with the seed")]
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let seed = std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        eprintln!("RSYNC_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
