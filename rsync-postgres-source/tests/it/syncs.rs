//! Whole syncs from a database that changes between the runs, and during them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rsync_core::memory::MemoryDestination;
use rsync_core::record::FieldType;
use rsync_core::{
    FieldMap, FieldRule, HashKey, Kind, MemoryStore, Model, NullRule, Owner, Pipeline, PlanOptions, Report, Secret,
    Target,
};
use rsync_postgres_source::Builder;
use rsync_testkit::postgres::Database;

use crate::support::*;

/// A sync of a query whose column `id` is the key, with its destination and state.
#[derive(Clone)]
struct Sync {
    source: Builder,
    fields: Vec<(&'static str, FieldType)>,
    target: Target,
    destination: MemoryDestination,
    store: MemoryStore,
}

impl Sync {
    fn new(source: Builder, fields: &[(&'static str, FieldType)]) -> Self {
        let target = Target::new("people", "id");
        let destination = MemoryDestination::new().with_fields(&target, fields.iter().copied());
        Self { source, fields: fields.to_vec(), target, destination, store: MemoryStore::new() }
    }

    fn pipeline(&self) -> Pipeline {
        let mut mapping = FieldMap::new().field(FieldRule::column("id", "id", FieldType::Text));
        for (name, ty) in &self.fields {
            mapping = mapping.field(FieldRule::column(*name, *name, *ty).on_null(NullRule::Clear));
        }
        Pipeline::builder("people")
            .owner(Owner::new("growth", "growth@example.com"))
            .source(self.source.clone().build().unwrap())
            .model(Model::new("people").key(["id"]))
            .mapping(mapping)
            .destination(self.destination.clone(), self.target.clone())
            .state(self.store.clone(), HashKey::from_bytes([3; 16]))
            .build()
            .unwrap()
    }

    async fn run(&self) -> Report {
        let report = self.pipeline().run().await.unwrap();
        assert!(report.totals.balance(), "{report}");
        report
    }

    fn calls(&self) -> usize {
        self.destination.writes().len()
    }

    fn field(&self, key: &str, field: &str) -> Option<String> {
        self.destination.record(&self.target, key)?.get(field).cloned()
    }
}

#[tokio::test]
async fn f18_columns_are_found_by_name_whatever_becomes_of_the_table() {
    let database =
        database_with("CREATE TABLE t (id int, name text, tier text); INSERT INTO t VALUES (1, 'Ada', 'pro')");
    let text = FieldType::Text;
    let sync = Sync::new(model(&database, "SELECT * FROM t"), &[("name", text), ("tier", text)]);
    assert_eq!(sync.run().await.totals.written, 1);
    // Others come, and stand elsewhere: nothing has changed.
    for script in [
        "ALTER TABLE t ADD COLUMN extra text DEFAULT 'x'",
        "CREATE TABLE u AS SELECT extra, tier, 'Eve' AS other, name, id FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t",
        "ALTER TABLE t DROP COLUMN extra",
    ] {
        database.run(script).unwrap();
        let report = sync.run().await;
        assert_eq!((report.totals.unchanged, report.calls.writes), (1, 0), "{script}: {report}");
    }
    // Names that change places are other values.
    database
        .run("ALTER TABLE t RENAME name TO n; ALTER TABLE t RENAME tier TO name; ALTER TABLE t RENAME n TO tier")
        .unwrap();
    assert_eq!(sync.run().await.totals.written, 1);
    assert_eq!((sync.field("1", "name").as_deref(), sync.field("1", "tier").as_deref()), (Some("pro"), Some("Ada")));
    // One that is used is missing: nothing is sent, although other values have changed.
    let calls = sync.calls();
    for (script, at) in [
        ("ALTER TABLE t RENAME tier TO level; UPDATE t SET name = 'new'", "mapping.tier"),
        ("ALTER TABLE t DROP COLUMN level", "mapping.tier"),
        ("ALTER TABLE t ADD COLUMN tier text; ALTER TABLE t RENAME id TO number", "mapping.id"),
    ] {
        database.run(script).unwrap();
        let error = sync.pipeline().run().await.unwrap_err().error;
        assert_eq!(error.kind(), Kind::SchemaMismatch, "{script}: {error}");
        assert!(error.problems().iter().any(|problem| problem.at == at), "{script}: {error}");
        assert_eq!(sync.calls(), calls, "{script}");
    }
}

/// What a sync does after the type of a column was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Every value is the same as before: nothing is written.
    Same,
    /// The column is narrower or something else now, so somebody has to say that it is meant: nothing is written, neither
    /// before nor after.
    IfMeant,
    /// Values have no exact equal in the field's type: nothing is written, and it is said.
    Refused,
}

#[tokio::test]
async fn f19_a_type_that_changes_means_the_same_values_or_nothing_is_sent() {
    use FieldType::{Boolean, Date, Decimal, Float, Integer, Text, TextList, Timestamp};
    use Then::{IfMeant, Refused, Same};
    let money = Decimal { precision: 10, scale: 2 };
    let cases: &[(FieldType, &str, &str, &str, Then)] = &[
        (Integer, "smallint", "42", "integer", Same),
        (Integer, "integer", "42", "bigint", Same),
        (Integer, "bigint", "42", "integer", IfMeant),
        (Integer, "bigint", "9007199254740993", "numeric(20,0)", IfMeant),
        (Integer, "integer", "42", "numeric(10,2)", IfMeant),
        (Integer, "integer", "42", "double precision", IfMeant),
        (Integer, "integer", "42", "text", IfMeant),
        (Integer, "numeric(5,0)", "42", "smallint", IfMeant),
        (Integer, "integer", "42", "numeric(10,2) USING v + 0.5", Refused),
        (Integer, "integer", "42", "text USING v || ' items'", Refused),
        (Integer, "integer", "42", "integer[] USING ARRAY[v]", Refused),
        (Integer, "integer", "42", "bytea USING v::text::bytea", Refused),
        (Integer, "integer", "42", "interval USING v * interval '1 day'", Refused),
        (Text, "text", "'Zoë'", "varchar(20)", Same),
        (Text, "varchar(20)", "'Zoë'", "text", Same),
        (Text, "integer", "42", "text", IfMeant),
        (Text, "text", "'42'", "bigint USING v::bigint", IfMeant),
        (Text, "text", "'pro'", "tier USING v::tier", Same),
        (Text, "tier", "'pro'", "text", Same),
        (Text, "text", "'0b8a7c32-5c0a-4f3e-9c53-0a4f5b7a1e11'", "uuid USING v::uuid", Same),
        (Text, "text", "'pro'", "text[] USING ARRAY[v]", Refused),
        (Text, "text", "'pro'", "bytea USING v::bytea", Refused),
        (Float, "real", "1.5", "double precision", Same),
        (Float, "double precision", "1.5", "real", IfMeant),
        (Float, "double precision", "1.5", "numeric(6,3)", IfMeant),
        (Float, "integer", "7", "double precision", IfMeant),
        (Float, "double precision", "1.5", "text", IfMeant),
        (Float, "double precision", "1.5", "double precision USING 'NaN'", Refused),
        (money, "numeric(10,2)", "12.50", "numeric(12,4)", Same),
        // Without a scale the source asks for one.
        (money, "numeric(10,2)", "12.50", "numeric", Refused),
        (money, "numeric(10,2)", "12.50", "text", IfMeant),
        (money, "numeric(10,2)", "12.50", "numeric(12,4) USING v + 0.001", Refused),
        (money, "numeric(10,2)", "12.50", "numeric(20,2) USING v + 1e12", Refused),
        (Timestamp, "timestamptz", "'2024-02-03 04:05:06+00'", "timestamptz(0)", Same),
        (Timestamp, "timestamptz", "'2024-02-03 04:05:06+00'", "timestamp", Refused),
        (Timestamp, "timestamptz", "'2024-02-03 04:05:06+00'", "date", Refused),
        (Timestamp, "timestamptz", "'2024-02-03 04:05:06+00'", "time", Refused),
        (Date, "date", "'2024-02-03'", "text", IfMeant),
        (Date, "date", "'2024-02-03'", "timestamp", IfMeant),
        (Date, "date", "'2024-02-03'", "timestamp USING v + time '10:00'", Refused),
        (Boolean, "boolean", "true", "text", IfMeant),
        (Boolean, "boolean", "true", "text USING 'maybe'", Refused),
        (TextList, "text[]", "'{a,b}'", "varchar(5)[]", Same),
        (TextList, "text[]", "'{a,b}'", "text USING v[1]", Refused),
        (TextList, "text[]", "'{1,2}'", "integer[] USING v::integer[]", Refused),
    ];
    assert!(cases.len() >= 30);
    let database = database_with("CREATE TYPE tier AS ENUM ('free', 'pro')");
    let (admin, connection) = tokio_postgres::connect(&plain_url(&database), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut wrong = Vec::new();
    for (field, before, value, after, then) in cases {
        let case = format!("{field}: {before} {value} to {after}");
        let script = format!(
            "DROP TABLE IF EXISTS t;
             CREATE TABLE t (id int, v {before}); INSERT INTO t VALUES (1, {value}), (2, {value}), (3, NULL)"
        );
        admin.batch_execute(&script).await.unwrap_or_else(|e| panic!("{case}: {e:?}"));
        let sync = Sync::new(model(&database, "SELECT * FROM t"), &[("v", *field)]);
        let report = sync.run().await;
        assert_eq!(report.totals.written, 3, "{case}: {report}");
        let (calls, held) = (sync.calls(), sync.field("1", "v"));
        let alter = format!("ALTER TABLE t ALTER v TYPE {after}");
        admin.batch_execute(&alter).await.unwrap_or_else(|e| panic!("{case}: {e:?}"));
        let found = match sync.pipeline().run().await {
            Ok(report) if report.totals.unchanged == 3 => Ok(Then::Same),
            Ok(report) if report.totals.invalid >= 2 && report.totals.invalid + report.totals.unchanged == 3 => {
                Ok(Then::Refused)
            }
            Ok(report) => Err(format!("{report}")),
            Err(failure) if failure.error.kind() == Kind::SchemaMismatch => {
                let meant = PlanOptions::new().accept_column_types();
                match sync.pipeline().run_with(meant).await {
                    Ok(report) if report.totals.unchanged == 3 => Ok(Then::IfMeant),
                    _ => Ok(Then::Refused),
                }
            }
            Err(failure) => Err(failure.to_string()),
        };
        if found.as_ref() != Ok(then) {
            wrong.push(format!("{case}: {found:?}"));
        }
        assert_eq!((sync.calls(), sync.field("1", "v")), (calls, held), "{case}: something was sent");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Moves amounts between rows, adds rows, and leaves some uncommitted for a while: the sum stays, the ids do not come in
/// their order.
async fn write(url: String, number: u64, stop: Arc<AtomicBool>, commits: Arc<AtomicU64>) {
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut random = Random::seeded(number);
    while !stop.load(Ordering::Relaxed) {
        let (a, b) = (random.below(ROWS), random.below(ROWS));
        // Always in one order, so that writers wait for each other and do not block each other.
        let (a, b, amount) = (a.min(b), a.max(b), random.below(100));
        let script = format!(
            "BEGIN;
             UPDATE t SET v = v - {amount} WHERE id = {a}; UPDATE t SET v = v + {amount} WHERE id = {b};
             INSERT INTO t SELECT nextval('ids'), 0 WHERE {number} < 4;
             SELECT pg_sleep({});
             COMMIT",
            random.below(8) as f64 / 1_000.0
        );
        client.batch_execute(&script).await.unwrap();
        commits.fetch_add(1, Ordering::Relaxed);
    }
    drop(client);
    connection.await.unwrap().unwrap();
}

const ROWS: u64 = 3_000;
const WRITERS: u64 = 8;

fn table(database: &Database) -> BTreeMap<String, String> {
    let rows = database.run("SELECT id || '=' || v FROM t").unwrap();
    rows.lines().filter_map(|line| line.split_once('=')).map(|(id, v)| (id.to_owned(), v.to_owned())).collect()
}

fn delivered(sync: &Sync) -> BTreeMap<String, String> {
    sync.destination.records("people").into_iter().map(|(id, mut fields)| (id, fields.remove("v").unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_every_run_delivers_one_state_of_a_table_that_is_written_to() {
    let runs: u64 = std::env::var("RSYNC_RUNS").map_or(8, |runs| runs.parse().expect("a number of runs"));
    let database = database_with(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v bigint); CREATE SEQUENCE ids START {ROWS};
         INSERT INTO t SELECT i, 1000 FROM generate_series(0, {ROWS} - 1) i"
    ));
    let source = model(&database, "SELECT * FROM t").batch_rows(100);
    let sync = Sync::new(source, &[("v", FieldType::Integer)]);
    let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let url = plain_url(&database);
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(url.clone(), n, Arc::clone(&stop), Arc::clone(&commits)))).collect();
    let (mut during, mut rows) = (0, 0);
    for run in 0..runs {
        let before = commits.load(Ordering::Relaxed);
        let report = sync.run().await;
        during += u64::from(commits.load(Ordering::Relaxed) > before);
        rows = rows.max(report.totals.source_rows);
        // A mix of two states would have taken from one row and not yet given to the other.
        let sum: i64 = delivered(&sync).values().map(|v| v.parse::<i64>().unwrap()).sum();
        assert_eq!(sum, ROWS as i64 * 1_000, "run {run}: the destination holds no state of the table: {report}");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(during >= runs / 2 && rows > ROWS, "nobody wrote during the reads: {during} of {runs} runs, {rows} rows");
    // What came late, with an id below others, is not missed.
    assert!(sync.run().await.is_complete());
    assert_eq!(delivered(&sync), table(&database));
    assert_eq!(sync.run().await.calls.writes, 0);
}

#[tokio::test]
async fn s17_a_role_that_may_only_select_is_enough() {
    let database = database_with(
        "CREATE TABLE t (id int, name text, secret text); INSERT INTO t VALUES (1, 'Ada', 's'), (2, 'Bob', 's');
         REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let role = format!("{}_selects", database.name());
    database
        .run(&format!(
            "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC;
             CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD 'canary-reader';
             GRANT SELECT (id, name) ON t TO {role}",
            database.name()
        ))
        .unwrap();
    let at = database.url().find('@').unwrap();
    let url = format!("postgres://{role}:canary-reader{}?sslmode=disable", &database.url()[at..]);
    // It may do nothing else.
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for forbidden in [
        "INSERT INTO t VALUES (3)",
        "UPDATE t SET name = 'x'",
        "SELECT secret FROM t",
        "CREATE TABLE u (id int)",
        "CREATE TEMPORARY TABLE u (id int)",
    ] {
        let error = client.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{forbidden}: {error}");
    }
    drop(client);
    let source = model(&database, "SELECT id, name FROM t").connection(Secret::new(url));
    let sync = Sync::new(source, &[("name", FieldType::Text)]);
    assert_eq!(sync.run().await.totals.written, 2);
    database.run("UPDATE t SET name = 'Eve' WHERE id = 2").unwrap();
    assert_eq!(sync.run().await.totals.written, 1);
    assert_eq!(sync.field("2", "name").as_deref(), Some("Eve"));
    assert_eq!(sync.run().await.calls.writes, 0);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}
