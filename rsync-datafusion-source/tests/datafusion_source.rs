//! What the source promises, over real files.

use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ArrowWriter;
use rsync_core::error::{Error, Kind};
use rsync_core::source::{ReadRequest, Source};
use rsync_datafusion_source::datafusion;
use rsync_datafusion_source::{Builder, Csv, DataFusionSource};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn write_parquet(path: &Path, batch: &RecordBatch) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn people(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: StringArray = ids.clone().map(|id| (id % 3 != 0).then(|| format!("name {id}"))).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(Int64Array::from_iter_values(ids))), ("name", Arc::new(names))];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn csv(path: impl Into<Csv>, sql: &str) -> DataFusionSource {
    DataFusionSource::builder().with_csv("t", path).with_sql(sql).build().unwrap()
}

fn request(columns: &[&str]) -> ReadRequest {
    ReadRequest::new(columns.iter().map(|c| (*c).into()).collect())
}

async fn read(source: &DataFusionSource, columns: &[&str]) -> Result<RecordBatch, Error> {
    let batches: Vec<_> = source.read(request(columns)).await?.map_ok(|e| e.batch).try_collect().await?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    Ok(concat_batches(&schema, &batches).unwrap())
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<String>> {
    batch.column(column).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|t| Some((*t).to_owned())).collect()
}

#[tokio::test]
async fn parquet_folder_pattern_and_file() {
    let dir = dir();
    write_parquet(&dir.path().join("p/a.parquet"), &people(0..10));
    write_parquet(&dir.path().join("p/b [1] 100%.parquet"), &people(10..15));
    write(&dir, "p/_SUCCESS", "");
    write(&dir, "p/.half.parquet", "no parquet");
    write_parquet(&dir.path().join("p/year=2024/c.parquet"), &people(15..16));
    for (path, rows) in [("p", 15), ("p/*.parquet", 15), ("p/**/*.parquet", 16), ("p/b [1] 100%.parquet", 5)] {
        let source = DataFusionSource::builder()
            .with_parquet("people", dir.path().join(path))
            .with_sql("SELECT * FROM people WHERE name IS NULL OR name <> 'x'")
            .build()
            .unwrap();
        assert_eq!(read(&source, &[]).await.unwrap().num_rows(), rows, "{path}");
    }
}

#[tokio::test]
async fn schema_and_projection_are_by_name() {
    let dir = dir();
    let path = dir.path().join("people.parquet");
    write_parquet(&path, &people(0..4));
    let source = DataFusionSource::builder()
        .with_parquet("people", &path)
        .with_sql("SELECT id, name, id * 2 AS twice FROM people ORDER BY id DESC")
        .build()
        .unwrap();
    assert_eq!(source.kind(), "datafusion");
    let schema = source.schema().await.unwrap();
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["id", "name", "twice"]);
    let batch = read(&source, &["twice", "id", "twice"]).await.unwrap();
    assert_eq!(batch.num_columns(), 2);
    assert_eq!(batch.schema().field(0).name(), "twice");
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[6, 4, 2, 0]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[3, 2, 1, 0]);
}

#[tokio::test]
async fn csv_text_comes_through_as_it_is() {
    let dir = dir();
    let path = write(
        &dir,
        "c.csv",
        "\u{feff}customerID, zip,TotalCharges,since,note\r\n7590-VHVEG,01234, ,2024-05-01,\"a \"\"b\"\"\r\nc\"\r\nx, 5 ,1e3,,\"\"\r\n",
    );
    let source = csv(path.as_path(), "SELECT * FROM t");
    for field in source.schema().await.unwrap().fields() {
        assert_eq!(field.data_type(), &DataType::Utf8, "{}", field.name());
    }
    let batch = read(&source, &["customerID", " zip", "TotalCharges", "since", "note"]).await.unwrap();
    assert_eq!(texts(&batch, 0), some(&["7590-VHVEG", "x"]));
    assert_eq!(texts(&batch, 1), some(&["01234", " 5 "]));
    assert_eq!(texts(&batch, 2), some(&[" ", "1e3"]));
    assert_eq!(texts(&batch, 3), [Some("2024-05-01".to_owned()), None]);
    assert_eq!(texts(&batch, 4), [Some("a \"b\"\r\nc".to_owned()), None]);
}

#[tokio::test]
async fn csv_options() {
    let dir = dir();
    let path = write(&dir, "c.txt", "1;'a;b';NULL;\n-2;'';\\N;0.5\n");
    let table = Csv::new(path)
        .without_header()
        .with_delimiter(b';')
        .with_quote(b'\'')
        .with_null_text("NULL")
        .with_null_text(r"\N")
        .with_column("column_1", DataType::Int64);
    let batch = read(&csv(table.clone(), "SELECT * FROM t"), &[]).await.unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, -2]);
    assert_eq!(texts(&batch, 1), some(&["a;b", ""]));
    assert_eq!(batch.column(2).null_count(), 2);
    assert_eq!(texts(&batch, 3), some(&["", "0.5"]));

    let table = table.with_null_text("").with_column("column_4", DataType::Float64);
    let batch = read(&csv(table, "SELECT * FROM t"), &["column_4"]).await.unwrap();
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [None, Some(0.5)]);
}

#[tokio::test]
async fn csv_types_are_given_or_guessed_from_all_rows() {
    let dir = dir();
    let mut text = String::from("n,d,x,at\n");
    for i in 0..3000 {
        writeln!(text, "{i},2024-05-01,{i},2024-05-01T10:00:00").unwrap();
    }
    text.push_str("1,2024-05-02,n/a,2024-05-01T10:00:00\n");
    let path = write(&dir, "c.csv", text);
    let types = |source: DataFusionSource| async move {
        source.schema().await.unwrap().fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>()
    };
    let guessed = Csv::new(&path).with_inferred_types();
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    assert_eq!(
        types(csv(guessed.clone(), "SELECT * FROM t")).await,
        [DataType::Int64, DataType::Date32, DataType::Utf8, seconds]
    );
    assert_eq!(types(csv(guessed.clone().all_text(), "SELECT * FROM t")).await, vec![DataType::Utf8; 4]);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let given = guessed.with_column("at", micros.clone());
    assert_eq!(types(csv(given.clone(), "SELECT * FROM t")).await[3], micros);
    assert_eq!(read(&csv(given, "SELECT * FROM t"), &["at"]).await.unwrap().num_rows(), 3001);
}

#[tokio::test]
async fn json_lines() {
    let dir = dir();
    let mut text = String::new();
    for i in 0..1500 {
        writeln!(text, r#"{{"id":"{i}","n":{i}}}"#).unwrap();
    }
    text.push_str(r#"{"id":"last","n":1.5,"seen_late":true}"#);
    write(&dir, "j/a.ndjson", text);
    write(&dir, "j/b.json", "");
    let source =
        DataFusionSource::builder().with_json("j", dir.path().join("j")).with_sql("SELECT * FROM j").build().unwrap();
    let schema = source.schema().await.unwrap();
    let columns: Vec<_> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type().clone())).collect();
    assert_eq!(columns, [("id", DataType::Utf8), ("n", DataType::Float64), ("seen_late", DataType::Boolean)]);
    let batch = read(&source, &["n", "seen_late"]).await.unwrap();
    assert_eq!(batch.num_rows(), 1501);
    assert_eq!(batch.column(1).null_count(), 1500);
}

#[tokio::test]
async fn tables_of_all_kinds_are_joined() {
    let dir = dir();
    write_parquet(&dir.path().join("p.parquet"), &people(0..6));
    let c = write(&dir, "c.csv", "id,score\n1,0.5\n2,0.25\n4,oops\n");
    let j = write(&dir, "j.json", "{\"id\":1,\"plan\":\"pro\"}\n{\"id\":4,\"plan\":\"free\"}\n");
    let source = DataFusionSource::builder()
        .with_parquet("people", dir.path().join("p.parquet"))
        .with_csv("scores", Csv::new(c).with_column("id", DataType::Int64))
        .with_json("plans", j)
        .with_target_partitions(NonZeroUsize::new(3).unwrap())
        .with_sql(
            "WITH s AS (SELECT id, TRY_CAST(score AS DOUBLE) AS score FROM scores)
             SELECT p.id, max(p.name) AS name, COUNT(*) AS n, avg(s.score) AS score, max(j.plan) AS plan,
                    CASE WHEN avg(s.score) > 0.3 THEN 'good' WHEN avg(s.score) IS NULL THEN NULL ELSE 'bad' END AS band,
                    row_number() OVER (ORDER BY p.id DESC) AS rank
             FROM people p LEFT JOIN s ON s.id = p.id LEFT JOIN plans j ON j.id = p.id
             GROUP BY p.id HAVING p.id > 0 ORDER BY p.id LIMIT 4",
        )
        .build()
        .unwrap();
    let batch = read(&source, &["id", "band", "plan", "rank"]).await.unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
    assert_eq!(texts(&batch, 1), [Some("good".to_owned()), Some("bad".to_owned()), None, None]);
    assert_eq!(texts(&batch, 2), [Some("pro".to_owned()), None, None, Some("free".to_owned())]);
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let dir = dir();
    for (table, kind) in [("gone.csv", Kind::NotFound), ("none*.csv", Kind::NotFound), ("empty", Kind::NotFound)] {
        fs::create_dir_all(dir.path().join("empty")).unwrap();
        let source = csv(dir.path().join(table), "SELECT * FROM t");
        for error in [source.schema().await.unwrap_err(), source.read(request(&[])).await.err().unwrap()] {
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.context("table"), Some("t"));
            assert!(error.context("path").unwrap().ends_with(table), "{error}");
            assert!(error.remedy().is_some());
        }
    }
}

#[tokio::test]
async fn sql_errors_say_what_to_mend() {
    let dir = dir();
    let path = write(&dir, "c.csv", "customerID,plan\n1,pro\n");
    for (sql, kind, hint) in [
        ("SELEC 1", Kind::InvalidConfig, "SELEC"),
        ("SELECT * FROM customers", Kind::InvalidConfig, "customers"),
        ("SELECT customerid FROM t", Kind::SchemaMismatch, "customerID"),
        ("SELECT t.price FROM t", Kind::SchemaMismatch, "plan"),
        ("SELECT nosuch(plan) FROM t", Kind::InvalidConfig, "nosuch"),
        ("SELECT plan, plan AS plan FROM t a", Kind::InvalidConfig, "plan"),
        ("SELECT a.plan, b.plan FROM t a JOIN t b ON a.plan = b.plan", Kind::SchemaMismatch, "AS"),
        ("SELECT 1; SELECT 2", Kind::Unsupported, ""),
        ("CREATE TABLE x AS SELECT 1", Kind::InvalidConfig, ""),
        ("COPY t TO '/tmp/never-written.csv'", Kind::InvalidConfig, ""),
        ("SET datafusion.execution.batch_size = 1", Kind::InvalidConfig, ""),
    ] {
        let error = csv(path.as_path(), sql).schema().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.to_string().contains(hint), "{sql}: {error}");
    }
    assert!(!Path::new("/tmp/never-written.csv").exists());
}

#[tokio::test]
async fn a_missing_column_lists_the_others() {
    let dir = dir();
    let path = write(&dir, "c.csv", "customerID,plan\n1,pro\n");
    let source = csv(path.as_path(), "SELECT * FROM t");
    let error = source.read(request(&["plan", "customerid", "price"])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    let [case, unknown] = error.problems() else { panic!("{error}") };
    assert_eq!(case.at, "model.columns.customerid");
    assert!(case.fix.contains("'customerID'"), "{case}");
    assert!(unknown.fix.contains("customerID, plan"), "{unknown}");

    let typed = csv(Csv::new(&path).with_column("Plan", DataType::Int64), "SELECT * FROM t");
    let error = typed.schema().await.unwrap_err();
    assert_eq!(error.problems()[0].at, "tables.t.columns.Plan");
    assert!(error.problems()[0].fix.contains("customerID, plan"));
}

#[tokio::test]
async fn bad_cells_fail_the_read_and_stay_unquoted() {
    let dir = dir();
    let secret = "ada@example.com";
    let int = |text: String| {
        let path = write(&dir, "c.csv", text);
        csv(Csv::new(path).with_column("n", DataType::Int64), "SELECT * FROM t")
    };
    for (what, source) in [
        ("cell", int(format!("id,n\na,1\n{secret},{secret}\n"))),
        (
            "blank",
            csv(Csv::new(write(&dir, "b.csv", "id,n\na, \n")).with_column("n", DataType::Float64), "SELECT * FROM t"),
        ),
        ("short row", csv(write(&dir, "s.csv", format!("id,n\na,1\n{secret}\n")), "SELECT * FROM t")),
        ("long row", csv(write(&dir, "l.csv", format!("id,n\na,1\nb,2,{secret}\n")), "SELECT * FROM t")),
        ("no UTF-8", csv(write(&dir, "u.csv", b"id,n\na,1\nb,\xff\xfe\n"), "SELECT * FROM t")),
        ("cast", csv(write(&dir, "k.csv", format!("n\n{secret}\n")), "SELECT CAST(n AS BIGINT) AS n FROM t")),
        (
            "division",
            csv(Csv::new(write(&dir, "d.csv", "n\n0\n")).with_column("n", DataType::Int64), "SELECT 1 / n AS q FROM t"),
        ),
        ("only a header missing", csv(write(&dir, "e.csv", ""), "SELECT * FROM t")),
    ] {
        let error = read(&source, &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceIncomplete, "{what}: {error}");
        assert!(!format!("{error:?}").contains("ada@"), "{what}: {error:?}");
    }
    let error = read(&int(format!("id,n\na,1\n{secret},{secret}\n")), &[]).await.unwrap_err();
    assert_eq!((error.context("table"), error.context("column")), (Some("t"), Some("n")), "{error}");
    assert_eq!(error.context("line"), Some("3"), "{error}");
}

#[tokio::test]
async fn bad_json_and_parquet_fail_the_read() {
    let dir = dir();
    let json = |text: &str| {
        let path = write(&dir, "j.json", text);
        DataFusionSource::builder().with_json("t", path).with_sql("SELECT * FROM t").build().unwrap()
    };
    for text in ["{\"a\":1}\n[\"ada@\"]\n", "{\"a\":1}\n{\"a\":\"ada@\n", "{\"a\":1}\n{\"a\":{\"ada@\":1}}\n"] {
        let error = read(&json(text), &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceIncomplete, "{text}: {error}");
        assert!(!format!("{error:?}").contains("ada@"), "{text}: {error:?}");
    }
    let path = dir.path().join("p.parquet");
    write_parquet(&path, &people(0..1000));
    let whole = fs::read(&path).unwrap();
    for text in [&whole[..whole.len() / 2], b"", b"PAR1"] {
        fs::write(&path, text).unwrap();
        let source = DataFusionSource::builder().with_parquet("t", &path).with_sql("SELECT * FROM t").build().unwrap();
        let error = read(&source, &[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceIncomplete, "{error}");
        assert!(error.context("path").is_some());
    }
}

#[tokio::test]
async fn files_of_one_table_must_be_alike() {
    let dir = dir();
    write(&dir, "c/1.csv", "id,name\n1,a\n");
    for other in ["name,id\na,1\n", "id\n1\n", "id,name,x\n1,a,b\n"] {
        write(&dir, "c/2.csv", other);
        let error = csv(dir.path().join("c"), "SELECT * FROM t").schema().await.unwrap_err();
        assert_eq!(error.kind(), Kind::SchemaMismatch, "{other}: {error}");
        assert!(error.context("path").unwrap().ends_with("2.csv"));
    }
    write_parquet(&dir.path().join("p/1.parquet"), &people(0..3));
    write_parquet(&dir.path().join("p/2.parquet"), &people(3..6).project(&[0]).unwrap());
    let source = DataFusionSource::builder()
        .with_parquet("t", dir.path().join("p"))
        .with_sql("SELECT * FROM t")
        .build()
        .unwrap();
    let error = source.schema().await.unwrap_err();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    assert_eq!(error.context("column"), Some("name"));
}

#[test]
fn configuration_problems_are_reported_together() {
    let builder: Builder = DataFusionSource::builder()
        .with_csv("t", Csv::new("").with_delimiter(b'"').with_column("d", DataType::Decimal128(10, 2)))
        .with_json("t", "x.json")
        .with_spill_dir("/tmp");
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    let at: Vec<_> = error.problems().iter().map(|p| p.at.as_str()).collect();
    assert_eq!(at, ["sql", "tables.t.path", "tables.t.columns.d", "tables.t.quote", "tables.t", "spill_dir"]);
}

#[test]
fn debug_hides_the_sql() {
    let source = csv("x.csv", "SELECT * FROM t WHERE mail = 'ada@example.com'");
    assert!(!format!("{source:?}").contains("ada@"));
    assert!(format!("{source:?}").contains("x.csv"));
}

fn many_rows(dir: &TempDir, last: &str) -> PathBuf {
    let mut text = String::from("id,n\n");
    for i in 0..60_000 {
        writeln!(text, "row {i},{i}").unwrap();
    }
    text.push_str(last);
    write(dir, "many.csv", text)
}

#[tokio::test]
async fn rows_stream_before_the_end_is_known() {
    let dir = dir();
    let path = many_rows(&dir, "last,not a number\n");
    let source = DataFusionSource::builder()
        .with_csv("t", Csv::new(&path).with_column("n", DataType::Int64))
        .with_batch_rows(NonZeroUsize::new(1000).unwrap())
        .with_sql("SELECT n FROM t WHERE n >= 0")
        .build()
        .unwrap();
    let mut stream = source.read(request(&["n"])).await.unwrap();
    let mut rows = 0;
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(piece) => {
                assert!(piece.batch.num_rows() <= 1000);
                rows += piece.batch.num_rows();
            }
            Err(error) => break error,
        }
    };
    assert!(rows >= 50_000, "only {rows} rows came before the error");
    assert_eq!(error.kind(), Kind::SourceIncomplete);
    assert!(stream.next().await.is_none(), "the stream ends after an error");
}

#[tokio::test]
async fn a_file_that_changes_during_the_read_fails_it() {
    let dir = dir();
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("replaced", |path| {
            fs::write(path.with_extension("new"), "id,n\nx,1\n").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("grown", |path| {
            let mut text = fs::read(path).unwrap();
            text.extend_from_slice(b"x,1\n");
            fs::write(path, text).unwrap();
        }),
    ];
    for (what, change) in changes {
        let path = many_rows(&dir, "");
        let source = csv(path.as_path(), "SELECT * FROM t");
        let mut stream = source.read(request(&[])).await.unwrap();
        stream.next().await.unwrap().unwrap();
        change(&path);
        let end = stream.try_for_each(|_| async { Ok(()) }).await;
        assert_eq!(end.unwrap_err().kind(), Kind::SourceIncomplete, "{what}");
    }
}

#[tokio::test]
async fn every_read_looks_at_the_files_anew() {
    let dir = dir();
    let path = write(&dir, "c.csv", "id\n1\n");
    let source = csv(path.as_path(), "SELECT * FROM t");
    assert_eq!(read(&source, &["id"]).await.unwrap().num_rows(), 1);
    write(&dir, "c.csv", "id,new\n1,a\n2,b\n");
    assert_eq!(texts(&read(&source, &["new"]).await.unwrap(), 0), some(&["a", "b"]));
    let (one, two) = tokio::join!(read(&source, &["id"]), read(&source, &["new"]));
    assert_eq!((one.unwrap().num_rows(), two.unwrap().num_rows()), (2, 2));
}

#[tokio::test]
async fn an_empty_result_is_an_empty_stream() {
    let dir = dir();
    let path = write(&dir, "c.csv", "id,n\n");
    let source = csv(path.as_path(), "SELECT * FROM t");
    assert_eq!(source.schema().await.unwrap().fields().len(), 2);
    assert!(source.read(request(&["id"])).await.unwrap().next().await.is_none());
}

#[tokio::test]
async fn the_memory_limit_is_kept() {
    let dir = dir();
    let path = many_rows(&dir, "");
    let limited = DataFusionSource::builder()
        .with_csv("t", path.as_path())
        .with_memory_limit_bytes(NonZeroUsize::new(1 << 20).unwrap())
        .with_sql("SELECT id, count(*) AS c FROM t GROUP BY id ORDER BY id");
    let error = read(&limited.clone().build().unwrap(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceIncomplete);
    assert!(error.to_string().contains("memory"), "{error}");
}

/// A table that never ends, and tells how far it got and whether it was let go.
#[derive(Debug)]
struct Endless {
    schema: SchemaRef,
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl PartitionStream for Endless {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (schema, made) = (Arc::clone(&self.schema), Arc::clone(&self.made));
        let guard = OnDrop(Arc::clone(&self.dropped));
        let rows = stream::repeat(()).map(move |()| {
            let _held = &guard;
            let first = i64::try_from(made.fetch_add(1, Ordering::SeqCst)).unwrap();
            let column: ArrayRef = Arc::new(Int64Array::from(vec![first; 8192]));
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap())
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

#[tokio::test]
async fn a_context_of_the_host_streams_and_stops_when_dropped() {
    let schema = Arc::new(Schema::new(vec![Field::new("N", DataType::Int64, false)]));
    let (made, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let endless = Endless { schema: Arc::clone(&schema), made: Arc::clone(&made), dropped: Arc::clone(&dropped) };
    let context = SessionContext::new();
    context
        .register_table("endless", Arc::new(StreamingTable::try_new(schema, vec![Arc::new(endless)]).unwrap()))
        .unwrap();
    let source = DataFusionSource::from_context(context, r#"SELECT "N" + 1 AS m, "N" AS n FROM endless"#);
    let mut stream = source.read(request(&["m"])).await.unwrap();
    for _ in 0..3 {
        let piece = stream.next().await.unwrap().unwrap();
        assert_eq!(piece.batch.num_columns(), 1);
        assert!(piece.faults.is_empty());
    }
    drop(stream);
    // Tasks that DataFusion has started end at their next step.
    for _ in 0..1000 {
        if dropped.load(Ordering::SeqCst) {
            break;
        }
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
    assert!(dropped.load(Ordering::SeqCst), "the read goes on after its stream was dropped");
    assert!(made.load(Ordering::SeqCst) < 100, "the source ran far ahead of its reader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_queries_plan_and_run_on_workers_of_usual_size() {
    let dir = dir();
    let path = write(&dir, "c.csv", "n\n1\n2\n");
    let mut case = String::from("CASE");
    for i in 0..300 {
        write!(case, " WHEN n = {i} THEN '{i}'").unwrap();
    }
    let sum = (0..200).map(|i| format!("n * {i}")).collect::<Vec<_>>().join(" + ");
    let nested = (0..12).fold("SELECT n FROM t".to_owned(), |inner, i| format!("SELECT n FROM ({inner}) AS q{i}"));
    let sql = format!("SELECT {case} ELSE 'many' END AS c, {sum} AS s FROM ({nested}) AS q ORDER BY s DESC");
    let source = csv(Csv::new(path).with_column("n", DataType::Int64), &sql);
    // On a worker's stack, not on the larger one of the test's own thread.
    let batch = tokio::spawn(async move { read(&source, &["c", "s"]).await }).await.unwrap().unwrap();
    assert_eq!(texts(&batch, 0), some(&["2", "1"]));
}

#[test]
fn outside_a_runtime_there_is_an_error() {
    let error = futures::executor::block_on(csv("x.csv", "SELECT 1").schema()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("Tokio runtime"));
}
