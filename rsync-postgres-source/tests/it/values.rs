//! A model of a usual kind, value by value against what `psql` reads.
//!
//! `RSYNC_TEST_ROWS=1000000` makes it larger than the default of 20,000 rows.

use std::env;

use arrow::datatypes::DataType;
use futures::TryStreamExt;
use rsync_core::Source;
use rsync_core::source::ReadRequest;

use crate::compare::is_same;
use crate::support::*;

#[tokio::test]
async fn twelve_columns_are_what_psql_reads() {
    let rows: usize = env::var("RSYNC_TEST_ROWS").map_or(20_000, |rows| rows.parse().unwrap());
    let database = database_with(&format!(
        "CREATE TABLE customer AS SELECT
            i::bigint AS id,
            'key-' || i AS key,
            CASE WHEN i % 11 <> 0 THEN 'user' || i || '@example.com' END AS email,
            (i % 1000)::int AS visits,
            i::bigint * 7919 - 1000000 AS points,
            i::float8 / 7 AS score,
            (i * 1.2345)::numeric(18,4) AS spent,
            i % 3 = 0 AS active,
            CASE WHEN i % 13 <> 0 THEN date '2020-01-01' + (i % 2000)::int END AS since,
            timestamptz '2024-01-01 00:00:00Z' + i * interval '1.000001 s' AS seen,
            (ARRAY['free', 'plus', 'Größe XL'])[i % 3 + 1] AS tier,
            jsonb_build_object('n', i, 'tags', ARRAY['a', 'b']) AS extra
         FROM generate_series(1, {rows}) i"
    ));
    // Two scans of a large table need not begin at the same row.
    let query = "SELECT * FROM customer ORDER BY id";
    let source = model(&database, query).build().unwrap();
    let mut expected = database.rows(query).unwrap();
    let mut stream = source.read(ReadRequest::default()).await.unwrap();
    let (mut count, mut nulls) = (0, 0);
    while let Some(extracted) = stream.try_next().await.unwrap() {
        let batch = extracted.batch;
        assert!(extracted.faults.is_empty());
        assert_eq!(batch.schema().field(6).data_type(), &DataType::Decimal128(18, 4));
        for row in 0..batch.num_rows() {
            let cells = expected.next().expect("psql has fewer rows").unwrap();
            assert_eq!(cells.len(), batch.num_columns());
            for (i, text) in cells.iter().enumerate() {
                let name = batch.schema_ref().field(i).name();
                assert!(is_same(batch.column(i), row, text.as_deref()), "{name} of row {}: {text:?}", count + row);
                nulls += usize::from(text.is_none());
            }
        }
        count += batch.num_rows();
    }
    assert!(expected.next().is_none(), "psql has more rows");
    assert_eq!((count, nulls), (rows, rows / 11 + rows / 13));
}
