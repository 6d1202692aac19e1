//! The measurements.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use rsync_benches::meter::{Cost, measure, peak_rss_mib, reset_peak_rss, rss_mib};
use rsync_benches::report::Line;
use rsync_core::event::Owner;
use rsync_core::ids::SyncId;
use rsync_core::memory::MemorySource;
use rsync_core::{
    EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Mapping, Model, NullRule, Pipeline, Source, Target,
};
use tokio::runtime::Runtime;

use crate::data::{Truth, Version};
use crate::null::NullDestination;
use crate::{Options, Result};

const SYNC: &str = "contacts";

const FIELDS: &[(&str, FieldType)] = &[
    ("id", FieldType::Integer),
    ("email", FieldType::Text),
    ("name", FieldType::Text),
    ("is_active", FieldType::Boolean),
    ("visits", FieldType::Integer),
    ("score", FieldType::Float),
    ("ltv", FieldType::Decimal { precision: 12, scale: 2 }),
    ("birth", FieldType::Date),
    ("updated_at", FieldType::Timestamp),
    ("tier", FieldType::Text),
    ("phone", FieldType::Text),
    ("attrs", FieldType::Text),
];
const NAMES: &[&str] =
    &["id", "email", "name", "is_active", "visits", "score", "ltv", "birth", "updated_at", "tier", "phone", "attrs"];

fn mapping() -> FieldMap {
    FIELDS.iter().fold(FieldMap::new(), |map, (name, ty)| {
        map.field(FieldRule::column(*name, *name, *ty).on_null(NullRule::Clear))
    })
}

fn pipeline(source: impl Source, store: &Path, window: usize, options: &Options) -> Result<Pipeline> {
    Ok(Pipeline::builder(SYNC)
        .owner(Owner::new("benches", "nobody@example.com"))
        .source(source)
        .model(Model::new("contacts").key(["id"]))
        .mapping(mapping())
        .destination(NullDestination::new(NAMES, window), Target::new("contacts", options.match_on.as_str()))
        .state(EmbeddedStore::new(store)?, HashKey::from_bytes(*b"key for benches!"))
        .build()?)
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().build()?)
}

fn memory(batches: Vec<RecordBatch>) -> Result<MemorySource> {
    Ok(MemorySource::new(batches.first().ok_or("no rows")?.schema(), batches))
}

fn file_mib(store: &Path) -> Result<f64> {
    let bytes = fs::metadata(EmbeddedStore::new(store)?.path(&SyncId::new(SYNC)?))?.len();
    Ok(bytes as f64 / f64::from(1 << 20))
}

fn store_of(rows: u64, options: &Options) -> PathBuf {
    let origin = if options.data.is_some() { "files" } else { "seeded" };
    options.dir.join(format!("{origin}-{rows}-{}", options.match_on))
}

/// Makes the state of version 1 by a first run.
pub(crate) fn prepare(rows: u64, options: &Options) -> Result<()> {
    let (store, making) = (store_of(rows, options), options.dir.join(format!("making-{}", std::process::id())));
    if store.exists() {
        return Ok(());
    }
    fs::create_dir_all(&options.dir)?;
    let source = memory(options.data(rows).load(Version::First)?)?;
    let report = runtime()?.block_on(pipeline(source, &making, 64, options)?.run())?;
    if report.totals.written != rows {
        return Err(format!("{} rows of {rows} were written", report.totals.written).into());
    }
    Ok(fs::rename(making, store)?)
}

/// Compares version 2 with the state of version 1, then writes what differs into a copy of the state.
pub(crate) fn diff(rows: u64, options: &Options, passed_on: &[String]) -> Result<()> {
    // In a process of its own, so that its memory is not counted here.
    let made = Command::new(std::env::current_exe()?).args(["prepare", &rows.to_string()]).args(passed_on).status()?;
    if !made.success() {
        return Err("the state could not be made".into());
    }
    let prepared = store_of(rows, options);
    let scratch = tempfile::tempdir_in(&options.dir)?;
    let store = if options.plan_only { prepared } else { scratch.path().to_owned() };
    if !options.plan_only {
        let from = EmbeddedStore::new(store_of(rows, options))?.path(&SyncId::new(SYNC)?);
        fs::copy(from, EmbeddedStore::new(&store)?.path(&SyncId::new(SYNC)?))?;
    }
    let runtime = runtime()?;
    let data = options.data(rows);

    let mut empty = Cost::default();
    let mut mapped = Cost::default();
    let pipeline = if options.stream {
        pipeline(data.file_source(Version::Second)?, &store, 8, options)?
    } else {
        let batches = data.load(Version::Second)?;
        let schema = batches.first().ok_or("no rows")?.schema();
        let loading = self::pipeline(MemorySource::new(schema, Vec::new()), &store, 8, options)?;
        let (plan, cost) = measure(|| runtime.block_on(loading.plan()));
        empty = cost;
        if plan?.counts().gone != rows {
            return Err("the state does not hold all rows".into());
        }
        let map = mapping();
        let (rejects, cost) = measure(|| -> Result<usize> {
            batches.iter().try_fold(0, |sum, batch| Ok(sum + map.apply(batch)?.rejects.len()))
        });
        mapped = cost;
        if rejects? > 0 {
            return Err("rows could not be mapped".into());
        }
        self::pipeline(memory(batches)?, &store, 8, options)?
    };

    reset_peak_rss();
    let before = rss_mib();
    let (plan, cost) = measure(|| runtime.block_on(pipeline.plan()));
    let (plan, peak) = (plan?, peak_rss_mib());
    let (counts, truth) = (*plan.counts(), Truth::of(rows));
    let ok = (counts.new, counts.changed, counts.gone) == (truth.added, truth.changed, truth.removed)
        && counts.unchanged == rows - truth.changed - truth.removed;
    let mut line = Line::new("diff")
        .int("rows", rows)
        .text("source", if options.stream { "parquet" } else { "memory" })
        .text("match_on", &options.match_on)
        .num("plan_cpu_s", cost.cpu_s)
        .num("plan_wall_s", cost.wall_s)
        .num("load_cpu_s", empty.cpu_s)
        .num("map_cpu_s", mapped.cpu_s)
        .num("peak_rss_mib", peak)
        .num("growth_mib", peak - before)
        .num("file_mib", file_mib(&store)?);
    let mut written = truth.changed + truth.added;
    if options.plan_only {
        drop(plan);
    } else {
        let (report, cost) = measure(|| runtime.block_on(pipeline.apply(plan)));
        written = report?.totals.written;
        line = line.num("apply_cpu_s", cost.cpu_s).num("apply_wall_s", cost.wall_s);
    }
    let ok = ok && written == truth.changed + truth.added;
    line.flag("ok", ok).print();
    if !ok {
        return Err(format!("expected {truth:?}, found {counts:?}, {written} written").into());
    }
    Ok(())
}

/// A first run, and a second one that finds nothing to do.
pub(crate) fn ack(rows: u64, window: usize, options: &Options) -> Result<()> {
    fs::create_dir_all(&options.dir)?;
    let store = tempfile::tempdir_in(&options.dir)?;
    let runtime = runtime()?;
    let source = memory(options.data(rows).load(Version::First)?)?;
    let pipeline = pipeline(source, store.path(), window, options)?;

    let (plan, planned) = measure(|| runtime.block_on(pipeline.plan()));
    let plan = plan?;
    reset_peak_rss();
    let before = rss_mib();
    let (report, applied) = measure(|| runtime.block_on(pipeline.apply(plan)));
    let (report, peak) = (report?, peak_rss_mib());
    let ok = report.totals.written == rows;
    Line::new("ack")
        .int("rows", rows)
        .int("window", window as u64)
        .num("plan_cpu_s", planned.cpu_s)
        .num("apply_cpu_s", applied.cpu_s)
        .num("apply_wall_s", applied.wall_s)
        .num("peak_rss_mib", peak)
        .num("growth_mib", peak - before)
        .num("file_mib", file_mib(store.path())?)
        .flag("ok", ok)
        .print();

    let (again, cost) = measure(|| runtime.block_on(pipeline.run()));
    let again = again?;
    let quiet = again.totals.unchanged == rows && again.totals.written == 0;
    Line::new("noop")
        .int("rows", rows)
        .num("run_cpu_s", cost.cpu_s)
        .num("run_wall_s", cost.wall_s)
        .flag("ok", quiet)
        .print();
    if ok && quiet { Ok(()) } else { Err(format!("{:?}, then {:?}", report.totals, again.totals).into()) }
}
