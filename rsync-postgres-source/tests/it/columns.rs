//! Every type, and every value at its edge.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use rsync_core::{Kind, Secret, Source};
use rsync_testkit::postgres::Database;

use crate::compare::is_same;
use crate::support::*;

/// Types, domains and enums of the table below.
const SCRIPT: &str = "
CREATE TYPE tier AS ENUM ('free', 'plus, \"gold\"', 'é');
CREATE DOMAIN money2 AS numeric(12,2);
CREATE DOMAIN price AS money2 CHECK (value >= 0);
CREATE DOMAIN mail AS varchar(40);
CREATE DOMAIN tags AS text[];
CREATE DOMAIN level AS tier;
";

fn timestamp(utc: bool) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into()))
}

fn list(item: DataType) -> DataType {
    DataType::List(Field::new_list_field(item, true).into())
}

/// Type, what it becomes, and values as SQL writes them.
#[allow(clippy::too_many_lines, reason = "a table")]
pub(crate) fn table() -> Vec<(&'static str, DataType, Vec<&'static str>)> {
    let text = DataType::Utf8;
    let decimal = DataType::Decimal128;
    vec![
        ("bool", DataType::Boolean, vec!["true", "false"]),
        ("int2", DataType::Int16, vec!["0", "-32768", "32767"]),
        ("int4", DataType::Int32, vec!["0", "-2147483648", "2147483647"]),
        ("int8", DataType::Int64, vec!["0", "-9223372036854775808", "9223372036854775807"]),
        ("float4", DataType::Float32, vec!["0", "-0", "1.1", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity"]),
        ("float8", DataType::Float64, vec!["0.1", "-0", "1.7976931348623157e308", "5e-324", "NaN", "Infinity"]),
        (
            "numeric(12,2)",
            decimal(12, 2),
            vec!["0", "0.00", "-0.01", "9999999999.99", "-9999999999.99", "10000", "12000.5"],
        ),
        ("numeric(38,0)", decimal(38, 0), vec!["99999999999999999999999999999999999999", "-1", "10000000000"]),
        ("numeric(38,38)", decimal(38, 38), vec!["0.00000000000000000000000000000000000001", "-0.5"]),
        ("numeric(5)", decimal(5, 0), vec!["99999", "7"]),
        ("text", text.clone(), vec!["", " a ", "\\N", "a\tb\nc\\d", "naïve 中文 😀", "'; DROP TABLE t; --"]),
        ("varchar(20)", text.clone(), vec!["", "abc  ", "NULL"]),
        // The blanks belong to the value, as PostgreSQL sends and prints it.
        ("char(5)", text.clone(), vec!["ab", "", "abcde"]),
        ("name", text.clone(), vec!["pg_class"]),
        ("bytea", DataType::Binary, vec!["", "\\x00ff10", "abc"]),
        ("date", DataType::Date32, vec!["0001-01-01", "1969-12-31", "1970-01-01", "2000-02-29", "9999-12-31"]),
        ("time", DataType::Time64(TimeUnit::Microsecond), vec!["00:00:00", "23:59:59.999999", "12:00:00.5"]),
        (
            "timestamp",
            timestamp(false),
            vec!["0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"],
        ),
        (
            "timestamptz",
            timestamp(true),
            vec!["2024-03-31 02:30:00+02", "1970-01-01 00:00:00Z", "1900-01-01 00:00:00.000001+00"],
        ),
        ("uuid", text.clone(), vec!["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
        ("json", text.clone(), vec!["{\"a\": [1,  2.50, \"é\"]}", "null"]),
        ("jsonb", text.clone(), vec!["{\"b\": 1, \"a\": [1, 2.50, \"é\\n\"]}", "\"\"", "null"]),
        ("tier", text.clone(), vec!["free", "plus, \"gold\"", "é"]),
        ("price", decimal(12, 2), vec!["0", "12.5"]),
        ("mail", text.clone(), vec!["a@example.com", ""]),
        ("tags", list(text.clone()), vec!["{}", "{a,NULL}"]),
        ("level", text.clone(), vec!["free", "é"]),
        ("text[]", list(text.clone()), vec!["{}", "{a,NULL,\"\",\"NULL\",\"b, \\\"c\\\"\",é}", "[5:6]={x,y}"]),
        ("bool[]", list(DataType::Boolean), vec!["{t,f,NULL}"]),
        ("int2[]", list(DataType::Int16), vec!["{1,-32768}"]),
        ("int4[]", list(DataType::Int32), vec!["{1,NULL,2147483647}"]),
        ("int8[]", list(DataType::Int64), vec!["{}", "{-9223372036854775808}"]),
        ("float4[]", list(DataType::Float32), vec!["{1.5,NaN}"]),
        ("float8[]", list(DataType::Float64), vec!["{0.1,-0}"]),
        ("numeric(6,3)[]", list(decimal(6, 3)), vec!["{1.5,-999.999,NULL}"]),
        ("price[]", list(decimal(12, 2)), vec!["{1.5,NULL}"]),
        ("date[]", list(DataType::Date32), vec!["{2024-02-29,NULL}"]),
        ("timestamptz[]", list(timestamp(true)), vec!["{\"2024-02-29 12:00:00+00\"}"]),
        ("uuid[]", list(text.clone()), vec!["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
        ("jsonb[]", list(text.clone()), vec!["{\"{\\\"a\\\": 1}\",NULL}"]),
        ("bytea[]", list(DataType::Binary), vec!["{\"\\\\x00ff\",NULL}"]),
        ("tier[]", list(text.clone()), vec!["{free,\"plus, \\\"gold\\\"\"}"]),
        ("mail[]", list(text), vec!["{a@example.com}"]),
    ]
}

/// A table `t` with a column `c0`, `c1` and so on for every type; then comes a row in which all are null.
pub(crate) fn database_of_all_types() -> Database {
    let table = table();
    let columns: Vec<String> = table.iter().enumerate().map(|(i, (type_, ..))| format!("c{i} {type_}")).collect();
    let mut script = format!("{SCRIPT} CREATE TABLE t (id int, {});", columns.join(", "));
    for row in 0..rows() {
        let cell = |values: &Vec<&str>| {
            values.get(row).map_or("NULL".into(), |value| format!("'{}'", value.replace('\'', "''")))
        };
        let cells: Vec<String> = table.iter().map(|(_, _, values)| cell(values)).collect();
        script.push_str(&format!("INSERT INTO t VALUES ({row}, {});", cells.join(", ")));
    }
    database_with(&script)
}

fn rows() -> usize {
    table().iter().map(|(_, _, values)| values.len()).max().unwrap() + 1
}

#[tokio::test]
async fn every_type_has_its_value() {
    let (table, rows) = (table(), rows());
    let database = database_of_all_types();
    let source = model(&database, "SELECT * FROM t ORDER BY id").build().unwrap();

    let schema = source.schema().await.unwrap();
    for (i, (type_, expected, _)) in table.iter().enumerate() {
        assert_eq!(schema.field(i + 1).data_type(), expected, "{type_}");
        assert!(schema.field(i + 1).is_nullable());
    }
    let (batch, faults) = read(&source, &[]).await.unwrap();
    assert_eq!((batch.schema(), faults.len(), batch.num_rows()), (schema, 0, rows));
    for (row, expected) in database.rows("SELECT * FROM t ORDER BY id").unwrap().enumerate() {
        let expected = expected.unwrap();
        for (i, (type_, _, values)) in table.iter().enumerate() {
            let (array, text) = (batch.column(i + 1), expected[i + 1].as_deref());
            assert!(
                is_same(array, row, text),
                "{type_} {:?}: {text:?} is read as {:?}",
                values.get(row),
                array.slice(row, 1)
            );
            assert_eq!(array.is_null(row), row >= values.len(), "{type_}");
        }
    }
    // Not only the same as the server says, but what is known without it.
    let column = |type_: &str| batch.column(1 + table.iter().position(|(other, ..)| *other == type_).unwrap());
    assert_eq!(column("char(5)").as_string::<i32>().value(0), "ab   ");
    assert_eq!(column("uuid").as_string::<i32>().value(1), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    assert_eq!(column("text").as_string::<i32>().value(3), "a\tb\nc\\d");
    assert_eq!(column("json").as_string::<i32>().value(0), "{\"a\": [1,  2.50, \"é\"]}");
    assert_eq!(column("jsonb").as_string::<i32>().value(0), "{\"a\": [1, 2.50, \"é\\n\"], \"b\": 1}");
}

#[tokio::test]
async fn cells_that_arrow_cannot_hold_are_faults() {
    let cases = [
        ("'infinity'::date", Some("infinite_date")),
        ("'-infinity'::date", Some("infinite_date")),
        ("'0044-03-15 BC'::date", Some("out_of_range")),
        ("'5874897-12-31'::date", Some("out_of_range")),
        ("'infinity'::timestamp", Some("infinite_timestamp")),
        ("'-infinity'::timestamptz", Some("infinite_timestamp")),
        ("'294276-12-31 23:59:59.999999'::timestamp", Some("out_of_range")),
        ("'4713-01-01 00:00:00 BC'::timestamptz", Some("out_of_range")),
        ("'24:00:00'::time", Some("out_of_range")),
        ("'NaN'::numeric(5,2)", Some("not_a_number")),
        ("n.inf", Some("infinite_number")),
        ("n.neginf", Some("infinite_number")),
        ("n.long", Some("out_of_range")),
        ("n.fine", Some("inexact")),
        ("n.zeros", None),
        ("'{{1,2},{3,4}}'::int[]", Some("multi_dimensional")),
        ("'{2024-01-01,infinity}'::date[]", Some("infinite_date")),
        ("n.list", Some("inexact")),
        ("'NaN'::float8", None),
    ];
    let columns: Vec<String> = cases.iter().enumerate().map(|(i, (sql, _))| format!("{sql} AS c{i}")).collect();
    let query = format!(
        "SELECT 7 AS id, {} FROM (SELECT 'Infinity'::numeric AS inf, '-Infinity'::numeric AS neginf, 1000.00 AS long, \
         1.234 AS fine, 1.2300 AS zeros, '{{1.5,1.234}}'::numeric[] AS list) n",
        columns.join(", ")
    );
    let database = database();
    let mut builder = model(&database, &query);
    for (i, _) in cases.iter().enumerate().filter(|(_, (sql, _))| sql.starts_with("n.")) {
        builder = builder.numeric(format!("c{i}"), 5, 2);
    }
    let (batch, faults) = read(&builder.build().unwrap(), &[]).await.unwrap();
    assert!(is_same(batch.column(0), 0, Some("7")), "the row is delivered");
    for (i, (sql, code)) in cases.iter().enumerate() {
        let name = format!("c{i}");
        let found = faults.iter().find(|fault| fault.column.as_str() == name);
        assert_eq!(found.map(|fault| (fault.row, fault.code)), code.map(|code| (0, code)), "{sql}");
        assert_eq!(batch.column(i + 1).is_null(0), code.is_some(), "{sql}");
    }
    assert!(faults.is_sorted_by_key(|fault| fault.row));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_an_error() {
    let database = database();
    let name = format!("{}_ascii", database.name());
    database.run(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII'")).unwrap();
    let url = Secret::new(plain_url(&database).replace(database.name(), &name));
    let error = failure(model(&database, r"SELECT 1 AS id, E'canary\351' AS latin").connection(url.clone())).await;
    assert_eq!((error.kind(), error.context("sqlstate")), (Kind::SourceIncomplete, Some("22021")));
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let query = r"SELECT convert_from(E'caf\\351'::bytea, 'LATIN1') AS latin, 'café' AS fine";
    let (batch, _) = read(&model(&database, query).build().unwrap(), &[]).await.unwrap();
    assert!(is_same(batch.column(0), 0, Some("café")) && is_same(batch.column(1), 0, Some("café")));
    database.run(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
}

#[tokio::test]
async fn all_columns_that_cannot_be_read_are_named_at_once() {
    let database = database_with("CREATE TYPE pair AS (a int, b int); CREATE TABLE wide (n numeric(60,2));");
    let columns = [
        ("'1 day'::interval", "interval", "::text"),
        ("'12:00+02'::timetz", "timetz", "::text"),
        ("'1.50'::money", "money", "::text"),
        ("'127.0.0.1'::inet", "inet", "::text"),
        ("'101'::bit(3)", "bit", "::text"),
        ("'[1,2]'::int4range", "int4range", "::text"),
        ("row(1,2)::pair", "pair", "::text"),
        ("'<a/>'::xml", "xml", "::text"),
        ("'pg_class'::regclass::oid", "oid", "::text"),
        ("'a'::\"char\"", "char", "::text"),
        ("'{1 day}'::interval[]", "interval", "::text[]"),
        ("1.5", "any number of digits", ".numeric(\"c11\", 18, 2)"),
        ("(SELECT sum(n) FROM wide)", "any number of digits", "c12::numeric(18,2)"),
        ("(SELECT n FROM wide)", "more than 38 digits", ".numeric(\"c13\", 38, 10)"),
        ("1::int", "the type is int4", "remove the declaration"),
    ];
    let list: Vec<String> = columns.iter().enumerate().map(|(i, (sql, ..))| format!("{sql} AS c{i}")).collect();
    let query = format!("SELECT 1 AS id, 'canary' AS secret, {}, 1 AS id", list.join(", "));
    let error = failure(model(&database, &query).numeric("c14", 5, 2).numeric("absent", 5, 2)).await;
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    assert_eq!(error.problems().len(), columns.len() + 2, "{error}");
    for (i, (sql, cause, fix)) in columns.iter().enumerate() {
        let at = format!("model.columns.c{i}");
        let problem =
            error.problems().iter().find(|problem| problem.at == at).unwrap_or_else(|| panic!("{sql}: {error}"));
        assert!(problem.cause.contains(cause), "{sql}: {problem}");
        assert!(problem.fix.replace('"', "").contains(&fix.replace('"', "")), "{sql}: {problem}");
    }
    let rest: Vec<_> = error.problems().iter().map(|problem| (problem.at.as_str(), problem.cause.as_str())).collect();
    assert!(rest.contains(&("model.columns.id", "the query gives two columns of this name")));
    assert!(rest.contains(&("numeric.absent", "the query has no such column")));
    assert!(!format!("{error:?}").contains("canary"));
}
