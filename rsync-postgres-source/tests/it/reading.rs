//! How a model is read: which columns, in which state, with how many connections, and what ends it.

use std::time::Duration;
use std::{iter, thread};

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use futures::{FutureExt, TryStreamExt};
use rsync_core::source::ReadRequest;
use rsync_core::{Kind, Retry, Secret, Source};
use rsync_postgres_source::{PostgresSource, Timeouts};
use rsync_testkit::postgres::Database;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::support::*;

fn names(source: &arrow::array::RecordBatch) -> Vec<String> {
    source.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn everything() -> ReadRequest {
    ReadRequest::default()
}

#[tokio::test]
async fn columns_are_those_of_the_request() {
    let database = database();
    let query = "SELECT 1 AS id, 'a' AS \"E mail\", 2 AS \"say \"\"hi\"\"\", 3 AS \"$1\", 4 AS \"Id\" -- and so on";
    let source = model(&database, query).build().unwrap();
    for (request, expected) in [
        (&[][..], &["id", "E mail", "say \"hi\"", "$1", "Id"][..]),
        (&["Id", "id"], &["Id", "id"]),
        (&["say \"hi\"", "$1", "E mail"], &["say \"hi\"", "$1", "E mail"]),
        (&["id", "id"], &["id"]),
    ] {
        let (batch, _) = read(&source, request).await.unwrap();
        assert_eq!(names(&batch), expected);
    }
    let (batch, _) = read(&source, &["Id", "say \"hi\""]).await.unwrap();
    let value = |column: usize| batch.column(column).as_primitive::<Int32Type>().value(0);
    assert_eq!((value(0), value(1)), (4, 2));

    let error = read(&source, &["ID", "e mail", "id", "no"]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    let fixes: Vec<&str> = error.problems().iter().map(|problem| problem.fix.as_str()).collect();
    assert_eq!(fixes[..2], ["write 'id': upper and lower case count", "write 'E mail': upper and lower case count"]);
    assert!(fixes[2].ends_with("use one of: id, E mail, say \"hi\", $1, Id"), "{fixes:?}");
}

#[tokio::test]
async fn queries_are_taken_as_they_are() {
    let database = database_with("CREATE TABLE t AS SELECT i FROM generate_series(1, 10) i");
    for (query, rows) in [
        ("SELECT * FROM t;", 10),
        ("  SELECT * FROM t ; -- all of it;", 10),
        ("TABLE t", 10),
        ("VALUES (1, 'a'), (2, 'b')", 2),
        ("WITH a AS (SELECT i FROM t WHERE i > 5) SELECT * FROM a -- the rest", 5),
        ("SELECT * FROM t /* ; */ ORDER BY i LIMIT 3", 3),
        ("SELECT ';' AS a, $$;$$ AS b", 1),
        ("(SELECT i FROM t) UNION ALL (SELECT i FROM t)", 20),
    ] {
        let (batch, _) = read(&model(&database, query).build().unwrap(), &[]).await.unwrap();
        assert_eq!(batch.num_rows(), rows, "{query}");
    }
    let empty = model(&database, "SELECT * FROM t WHERE i > 10").build().unwrap();
    let batches: Vec<_> = empty.read(everything()).await.unwrap().try_collect().await.unwrap();
    assert!(batches.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_sees_one_state_through_one_connection() {
    let database =
        database_with("CREATE TABLE t AS SELECT i, repeat('x', 500) AS pad FROM generate_series(1, 20000) i");
    let source = model(&database, "SELECT * FROM t").batch_rows(100).build().unwrap();
    source.schema().await.unwrap();
    let mut stream = source.read(everything()).await.unwrap();
    let mut rows = stream.try_next().await.unwrap().unwrap().batch.num_rows();
    assert_eq!(rows, 100);
    assert_eq!(backends(&database), 1);
    database.run("DELETE FROM t WHERE i > 10000; INSERT INTO t SELECT -i, '' FROM generate_series(1, 5000) i").unwrap();
    while let Some(extracted) = stream.try_next().await.unwrap() {
        assert!(extracted.batch.num_rows() <= 100);
        rows += extracted.batch.num_rows();
    }
    assert_eq!(rows, 20_000);
    gone(&database);
    assert_eq!(read(&source, &["i"]).await.unwrap().0.num_rows(), 15_000);

    // What was planned must still be what is read.
    source.schema().await.unwrap();
    database.run("ALTER TABLE t ALTER i TYPE bigint").unwrap();
    let error = read(&source, &["pad", "i"]).await.unwrap_err();
    assert_eq!((error.kind(), error.problems()[0].at.as_str()), (Kind::SchemaMismatch, "model.columns.i"));
    assert_eq!(read(&source, &["pad"]).await.unwrap().0.num_rows(), 15_000);
    source.schema().await.unwrap();
    read(&source, &["i"]).await.unwrap();
}

/// Waits until no connection of ours is left.
fn gone(database: &Database) {
    let tries = 100;
    if !iter::repeat_with(|| backends(database)).take(tries).any(|count| {
        thread::sleep(Duration::from_millis(20));
        count == 0
    }) {
        panic!("{}", database.run("SELECT pid, state, query FROM pg_stat_activity").unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_read_ends_at_the_server() {
    let database = database();
    // In the middle of rows that never end, at a place where the server waits for us.
    let endless = model(&database, "SELECT generate_series(1, 1000000000) AS i, repeat('x', 1000) AS pad");
    let mut stream = endless.clone().build().unwrap().read(everything()).await.unwrap();
    stream.try_next().await.unwrap().unwrap();
    drop(stream);
    gone(&database);
    // While the first row is waited for.
    let slow = model(&database, "SELECT 1 AS a FROM (SELECT pg_sleep(600)) s");
    let source = slow.clone().build().unwrap();
    assert!(timeout(Duration::from_millis(300), source.read(everything())).await.is_err());
    gone(&database);
    // From a thread that knows nothing of the runtime.
    let stream = endless.build().unwrap().read(everything()).await.unwrap();
    thread::spawn(move || drop(stream)).join().unwrap();
    gone(&database);

    // Times that are up do the same, and say what to change.
    let limits = |idle_ms, statement_ms| {
        let mut timeouts = Timeouts::default();
        (timeouts.idle_ms, timeouts.statement_ms) = (idle_ms, statement_ms);
        timeouts
    };
    for (timeouts, retry, sqlstate, fix) in [
        (limits(200, None), Retry::Backoff, None, "timeouts.idle_ms"),
        (limits(60_000, Some(200)), Retry::Never, Some("57014"), "timeouts.statement_ms"),
    ] {
        let error = failure(slow.clone().timeouts(timeouts)).await;
        assert_eq!((error.kind(), error.retry()), (Kind::SourceIncomplete, retry), "{error}");
        assert_eq!(error.context("sqlstate"), sqlstate);
        assert!(error.remedy().unwrap().contains(fix), "{error}");
        gone(&database);
    }
    let tasks = Handle::current().metrics();
    for _ in 0..100 {
        if tasks.num_alive_tasks() == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{} tasks live on", tasks.num_alive_tasks());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_never_a_short_model() {
    const ROWS: usize = 100_000;
    let mut random = Random::new();
    let database =
        database_with(&format!("CREATE TABLE t AS SELECT i, repeat('x', 60) AS pad FROM generate_series(1, {ROWS}) i"));
    let source = model(&database, "SELECT * FROM t").batch_rows(1_000).build().unwrap();
    let (admin, connection) = tokio_postgres::connect(&plain_url(&database), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'rsync'";
    let (mut whole, mut failed) = (0, 0);
    for _ in 0..50 {
        // After so many rows; more than there are means: already while the read begins.
        let after = random.below(ROWS as u64 * 11 / 10) as usize;
        let outcome = async {
            let opened = if after > ROWS {
                let (opened, _) = tokio::join!(source.read(everything()), admin.simple_query(kill));
                opened
            } else {
                source.read(everything()).await
            };
            let mut stream = opened?;
            let (mut rows, mut killed) = (0, after > ROWS);
            while let Some(extracted) = stream.try_next().await? {
                rows += extracted.batch.num_rows();
                if rows >= after && !killed {
                    admin.simple_query(kill).await.unwrap();
                    killed = true;
                }
            }
            Ok::<_, rsync_core::Error>(rows)
        };
        match outcome.await {
            Ok(rows) => {
                assert_eq!(rows, ROWS, "a short model");
                whole += 1;
            }
            Err(e) => {
                let expected = if after > ROWS {
                    &[Kind::SourceIncomplete, Kind::Unavailable][..]
                } else {
                    &[Kind::SourceIncomplete]
                };
                assert!(expected.contains(&e.kind()), "{e}");
                assert_eq!(e.retry(), Retry::Backoff, "{e}");
                assert!(
                    e.remedy().is_some() && e.context("server").is_some() && e.context("database").is_some(),
                    "{e}"
                );
                failed += 1;
            }
        }
    }
    assert!(failed > 10, "{whole} reads were whole and only {failed} failed, so nothing was tried");
    drop(admin);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_source_without_a_runtime_says_so() {
    let source = PostgresSource::builder()
        .connection(Secret::new("postgres://reader@localhost/shop?sslmode=disable"))
        .query("SELECT 1")
        .build()
        .unwrap();
    let outside = thread::spawn(move || source.schema().now_or_never().unwrap());
    let error = outside.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}
