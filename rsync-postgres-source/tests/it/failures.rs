//! What goes wrong, and what the user is told.

use std::time::Duration;

use rsync_core::{Error, Kind, Retry, Secret, Source};
use rsync_postgres_source::{Builder, Timeouts};
use rsync_testkit::postgres::Database;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::*;

/// The password of the tests' server, and a mark in cells and literals.
const SECRETS: [&str; 2] = ["canary", "CELL"];

fn check(what: &str, error: &Error, kind: Kind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{what}: {error:?}");
    for word in words {
        assert!(text.contains(word), "{what}: {word:?} is missing in: {text}");
    }
    assert!(error.remedy().is_some() || !error.problems().is_empty(), "{what} names no fix: {text}");
    for secret in SECRETS {
        assert!(!format!("{error:?}").contains(secret), "{what} tells a secret: {error:?}");
    }
}

#[tokio::test]
async fn queries_that_do_not_compile_or_run() {
    let database = database_with("CREATE TABLE t (id int, email text); INSERT INTO t VALUES (1, 'CELL'), (2, 'CELL')");
    let planned = &["plan the model", "server: ", "database: "];
    for (query, kind, words) in [
        ("SELECT 1\nFRM t WHERE", Kind::InvalidConfig, &["42601", "message: syntax error", "line: 2"][..]),
        (
            "SELECT id,\n  emial FROM t",
            Kind::SchemaMismatch,
            &["42703", "\"emial\" does not exist", "line: 2, column: 3"],
        ),
        ("SELECT * FROM nowhere", Kind::NotFound, &["42P01", "\"nowhere\" does not exist", "line: 1, column: 15"]),
        ("SELECT * FROM nowhere.t", Kind::NotFound, &["42P01", "nowhere"]),
        ("SELECT sine(1)", Kind::InvalidConfig, &["42883", "sine"]),
        ("SELECT 'CELL'::int", Kind::InvalidConfig, &["22P02", "line: 1, column: 8"]),
        ("SELECT 1 + 'CELL'", Kind::InvalidConfig, &["22P02"]),
        ("DELETE FROM t RETURNING id", Kind::InvalidConfig, &["42601"]),
        ("WITH d AS (DELETE FROM t RETURNING id) SELECT * FROM d", Kind::InvalidConfig, &["0A000"]),
        ("SELECT FROM t", Kind::SchemaMismatch, &["query: it gives no column"]),
    ] {
        let error = failure(model(&database, query)).await;
        check(query, &error, kind, words);
        if kind != Kind::SchemaMismatch || error.problems().is_empty() {
            check(query, &error, kind, planned);
        }
        assert_eq!(error.retry(), Retry::Never);
    }
    let read = &["read the model", "server: ", "database: "];
    for (query, words) in [
        ("SELECT email::int FROM t", &["22P02"][..]),
        ("SELECT 1 / (id - 2) AS x FROM t", &["22012"]),
        ("SELECT (SELECT id FROM t) AS x FROM t", &["21000"]),
    ] {
        let error = failure(model(&database, query)).await;
        check(query, &error, Kind::SourceIncomplete, words);
        check(query, &error, Kind::SourceIncomplete, read);
    }
    database.run("CREATE FUNCTION take() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING id'").unwrap();
    let error = failure(model(&database, "SELECT take() AS x")).await;
    check("a function that writes", &error, Kind::InvalidConfig, &["25006", "the query writes"]);
    assert_eq!(database.run("SELECT count(*) FROM t").unwrap(), "2\n");
}

#[tokio::test]
async fn permissions() {
    let database = database_with("CREATE TABLE t (id int); CREATE SCHEMA hidden CREATE TABLE t (id int)");
    let role = format!("{}_reader", database.name());
    database.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'canary-reader'")).unwrap();
    let as_reader = |query: &str| {
        let at = database.url().find('@').unwrap();
        let url = format!("postgres://{role}{}?sslmode=disable", &database.url()[at..]);
        model(&database, query).connection(Secret::new(url)).password(Secret::new("canary-reader"))
    };
    // Found by the schema already, before anything is planned with it.
    for (query, name) in [("SELECT * FROM t", "table t"), ("SELECT * FROM hidden.t", "schema hidden")] {
        let error = as_reader(query).build().unwrap().schema().await.unwrap_err();
        check(query, &error, Kind::Forbidden, &["42501", name, "GRANT SELECT", &role]);
    }
    let error = read(&as_reader("SELECT * FROM t").build().unwrap(), &[]).await.unwrap_err();
    check("read without SELECT", &error, Kind::Forbidden, &["42501"]);
    database.run(&format!("GRANT SELECT ON t TO {role}; INSERT INTO t VALUES (1)")).unwrap();
    assert_eq!(read(&as_reader("SELECT * FROM t").build().unwrap(), &[]).await.unwrap().0.num_rows(), 1);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

/// A model whose server is elsewhere.
fn at(database: &Database, port: u16, parameters: &str) -> Builder {
    let credentials = &database.url()[..database.url().find('@').unwrap()];
    model(database, "SELECT 1 AS id")
        .connection(Secret::new(format!("{credentials}@127.0.0.1:{port}/{}?{parameters}", database.name())))
}

#[tokio::test]
async fn servers_that_do_not_let_us_in() {
    let database = database();
    let plain = plain_url(&database);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let wrong_user = plain.replacen("postgres://", "postgres://no", 1);
    let missing = plain.replace(database.name(), "no_such_database");
    let without = format!("postgres://nobody@{}", &plain[plain.find('@').unwrap() + 1..]);
    let base = || model(&database, "SELECT 1 AS id");
    for (what, builder, kind, retry, words) in [
        (
            "a wrong password",
            base().connection(Secret::new(&plain)).password(Secret::new("canary-2")),
            Kind::Unauthenticated,
            Retry::Never,
            &["28P01", "user: "][..],
        ),
        (
            "a wrong user",
            base().connection(Secret::new(wrong_user)),
            Kind::Unauthenticated,
            Retry::Never,
            &["28P01", "user: no"],
        ),
        (
            "no password",
            base().connection(Secret::new(without)),
            Kind::Unauthenticated,
            Retry::Never,
            &["asks for a password", "nobody"],
        ),
        (
            "no database",
            base().connection(Secret::new(missing)),
            Kind::NotFound,
            Retry::Never,
            &["3D000", "database: no_such_database"],
        ),
        (
            "a dead port",
            at(&database, free, "sslmode=disable"),
            Kind::Unavailable,
            Retry::Backoff,
            &["no connection", &free.to_string()],
        ),
    ] {
        let error = failure(builder).await;
        check(what, &error, kind, words);
        check(what, &error, kind, &["connect to PostgreSQL", "server: 127.0.0.1:", "database: "]);
        assert_eq!(error.retry(), retry, "{what}");
    }
}

/// A server that answers the first bytes with `answer`, and keeps still.
async fn pretender(answer: &'static [u8]) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).await.unwrap();
            socket.write_all(answer).await.unwrap();
            held.push(socket);
        }
    });
    (port, task)
}

#[tokio::test]
async fn servers_that_are_none() {
    let database = database();
    let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let mut patience = Timeouts::default();
    patience.connect_ms = 200;
    for (what, answer, parameters, kind, words) in [
        ("no TLS", &b"N"[..], "", Kind::InvalidConfig, &["the server does not offer TLS", "sslmode=disable"][..]),
        ("something else", b"HTTP/1.1 400 Bad Request\r\n\r\n", "", Kind::InvalidConfig, &["does not offer TLS"]),
        (
            "broken TLS",
            b"SHTTP/1.1 400 Bad Request\r\n\r\n",
            "",
            Kind::InvalidConfig,
            &["no encryption", "check the port"],
        ),
        ("silence", b"", "sslmode=disable", Kind::Unavailable, &["no connection in time", "timeouts.connect_ms"]),
        ("garbage", b"CELL CELL CELL", "sslmode=disable", Kind::Unavailable, &["connect"]),
    ] {
        let (port, task) = pretender(answer).await;
        let error = failure(at(&database, port, parameters).root_ca_pem(&ca).timeouts(patience)).await;
        check(what, &error, kind, words);
        check(what, &error, kind, &["connect to PostgreSQL", &port.to_string()]);
        task.abort();
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
async fn certificates_are_verified() {
    let database = database();
    let Some(ca) = database.cluster().ca_pem().map(str::to_owned) else {
        eprintln!("skipped: the certificate of RSYNC_TEST_POSTGRES_URL's server is not known");
        return;
    };
    let by_name = database.url().replace("127.0.0.1", "localhost");
    let query = "SELECT version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for mode in ["", "?sslmode=verify-full", "?sslmode=verify-ca", "?sslmode=require", "?channel_binding=require"] {
        let url = Secret::new(format!("{by_name}{mode}"));
        let source = model(&database, query).connection(url).root_ca_pem(&ca).build().unwrap();
        let (batch, _) = read(&source, &[]).await.unwrap();
        let version = arrow::array::AsArray::as_string::<i32>(batch.column(0)).value(0).to_owned();
        assert!(version.starts_with("TLSv1."), "{mode}: {version}");
    }
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let connect = |url: &str| model(&database, query).connection(Secret::new(url));
    for (what, builder, words) in [
        (
            "a wrong authority",
            connect(&by_name).root_ca_pem(other),
            &["authority that is not trusted", "root_ca_pem"][..],
        ),
        ("a wrong name", connect(database.url()).root_ca_pem(&ca), &["for another host", "host name"]),
    ] {
        let error = failure(builder).await;
        check(what, &error, Kind::InvalidConfig, words);
        check(what, &error, Kind::InvalidConfig, &["connect to PostgreSQL", "server: ", "database: "]);
        assert_eq!(error.retry(), Retry::Never);
    }
    // A read over TLS that is dropped ends too, which takes a second TLS connection.
    let source =
        connect(&by_name).query("SELECT 1 AS a FROM (SELECT pg_sleep(600)) s").root_ca_pem(&ca).build().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), read(&source, &[])).await.is_err());
    for _ in 0..250 {
        if backends(&database) == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the query goes on");
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
async fn a_socket_needs_no_certificates() {
    let database = database();
    let Some(folder) = database.cluster().socket_folder() else {
        eprintln!("skipped: the socket of RSYNC_TEST_POSTGRES_URL's server is not known");
        return;
    };
    let (credentials, rest) = database.url().split_once('@').unwrap();
    let port = rest.split(['/', ':']).nth(1).unwrap();
    let socket = folder.to_str().unwrap().replace('/', "%2F");
    let url = format!("{credentials}@{socket}:{port}/{}", database.name());
    let source =
        model(&database, "SELECT inet_client_addr() IS NULL AS local").connection(Secret::new(url)).build().unwrap();
    let (batch, _) = read(&source, &[]).await.unwrap();
    assert!(arrow::array::AsArray::as_boolean(batch.column(0)).value(0));
}

/// Hands everything on, and hangs up when the server has sent `bytes`.
async fn cutter(server: String, bytes: u64) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(server).await.unwrap();
        let ((mut from_client, mut to_client), (from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let up = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
        // The client may have gone before us.
        let _ = copy(&mut from_server.take(bytes), &mut to_client).await;
        up.abort();
    });
    (port, task)
}

#[tokio::test]
async fn a_stream_that_is_cut_is_never_a_short_model() {
    const ROWS: usize = 3_000;
    let mut random = Random::new();
    let database = database();
    let (_, rest) = database.url().split_once('@').unwrap();
    let server = rest.split('/').next().unwrap().to_owned();
    let query = format!("SELECT i, repeat('x', 20) AS pad FROM generate_series(1, {ROWS}) i");
    let (mut whole, mut failed) = (0, 0);
    for round in 0..40 {
        // About 120,000 bytes in all; the first connections break while they are made.
        let bytes = if round < 10 { random.below(1_000) } else { random.below(160_000) };
        let (port, task) = cutter(server.clone(), bytes).await;
        let source = at(&database, port, "sslmode=disable").query(&query).batch_rows(500).build().unwrap();
        match read(&source, &[]).await {
            Ok((batch, _)) => {
                assert_eq!(batch.num_rows(), ROWS, "a short model after {bytes} bytes");
                whole += 1;
            }
            Err(e) => {
                let kind = if e.operation() == "read the model" { Kind::SourceIncomplete } else { Kind::Unavailable };
                check(&format!("cut after {bytes} bytes"), &e, kind, &["server: ", "database: "]);
                assert_eq!(e.retry(), Retry::Backoff);
                failed += 1;
            }
        }
        task.abort();
    }
    assert!(whole > 0 && failed > 10, "{whole} whole, {failed} failed");
}
