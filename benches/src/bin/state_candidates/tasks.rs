//! The measurements, one a process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rsync_benches::meter::{Cost, measure, peak_rss_mib, reset_peak_rss, rss_mib};
use rsync_benches::report::{Line, table};
use rsync_benches::sample::{key_hash, row_hash};

use crate::Options;
use crate::blobs::{Name, Redb};
use crate::diff::{Counts, Index};
use crate::packed::{Packed, Place};
use crate::per_row::PerRow;
use crate::segment::{IMAGE_BYTES, KEY_BYTES};
use crate::workload::{BATCH, Batch, Result, Row, Store, Workload};

fn packed(options: &Options, place: Place) -> Result<Packed<Redb>> {
    let blobs = Redb::open(&options.dir.join("state.redb"), options.redb)?;
    Ok(Packed::new(blobs, place, options.block_rows))
}

fn open(store: &str, options: &Options) -> Result<Box<dyn Store>> {
    let flat = || Place::Files(options.dir.clone());
    Ok(match store {
        "packed" => Box::new(packed(options, Place::Store)?.reopened()?),
        "flat" => Box::new(packed(options, flat())?.reopened()?),
        "rows" | "rows-sorted" => Box::new(PerRow::open(&options.dir.join("state.redb"), options.redb)?),
        #[cfg(feature = "sqlite")]
        "sqlite-packed" => {
            let blobs = crate::sqlite::Sqlite::open(&options.dir.join("state.sqlite"), options.redb.cache_mib)?;
            Box::new(Packed::new(blobs, Place::Store, options.block_rows).reopened()?)
        }
        #[cfg(feature = "sqlite")]
        "sqlite-rows" => {
            let path = options.dir.join("state.sqlite");
            Box::new(crate::sqlite::SqliteRows::open(&path, options.redb.cache_mib)?)
        }
        other => return Err(format!("no store {other}").into()),
    })
}

fn fresh(options: &Options) -> Result<()> {
    let _ = fs::remove_dir_all(&options.dir);
    Ok(fs::create_dir_all(&options.dir)?)
}

fn bytes_on_disk(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn workload(store: &str, rows: u64) -> Workload {
    if store == "rows-sorted" { Workload::sorted(rows) } else { Workload::random(rows) }
}

/// Sends and acknowledges everything: transaction k holds the results of group k-1 and the intents of group k.
fn run(store: &mut dyn Store, workload: &Workload, window: usize) -> Result<()> {
    let mut sent = Vec::new();
    let mut batches = workload.batches();
    loop {
        let next: Vec<_> = batches.by_ref().take(window).collect();
        store.commit(&sent, &next)?;
        if next.is_empty() {
            break;
        }
        sent = next;
    }
    Ok(())
}

/// Whether every row is there once, in order, with the right content.
fn correct(store: &dyn Store, rows: u64) -> Result<bool> {
    let (mut count, mut sum, mut last, mut good) = (0, 0u128, None, true);
    store.rows(&mut |row| {
        let id = row.remote.iter().rev().fold(0, |id, &digit| id * 10 + u64::from(digit - b'0'));
        good &= *row == Row::new(id) && last < Some(row.key);
        last = Some(row.key);
        sum += u128::from(id);
        count += 1;
    })?;
    Ok(good && count == rows && sum == (0..u128::from(rows)).sum())
}

pub(crate) fn load(name: &str, rows: u64, window: usize, options: &Options) -> Result<()> {
    fresh(options)?;
    let workload = workload(name, rows);
    let (generated, generator) = measure(|| workload.batches().map(|batch| batch.rows.len()).sum::<usize>());
    reset_peak_rss();
    let (outcome, commits) = measure(|| -> Result<_> {
        let mut store = open(name, options)?;
        run(&mut *store, &workload, window)?;
        Ok(store)
    });
    let mut store = outcome?;
    let (finished, finish) = measure(|| store.finish());
    finished?;
    let peak = peak_rss_mib();
    let count = store.commits();
    let ok = correct(&*store, rows)? && generated as u64 == rows;
    drop(store);
    let file = bytes_on_disk(&options.dir)?;
    let (_, compact) = measure(|| -> Result<()> {
        if let ("packed" | "flat", true) = (name, ok) {
            let mut blobs = packed(options, Place::Store)?.into_blobs();
            while blobs.compact()? {}
        }
        Ok(())
    });
    let compacted = bytes_on_disk(&options.dir)?;
    fs::remove_dir_all(&options.dir)?;
    Line::new("load")
        .text("store", name)
        .int("rows", rows)
        .int("window", window as u64)
        .int("block_rows", options.block_rows as u64)
        .int("cache_mib", options.redb.cache_mib as u64)
        .flag("two_phase", options.redb.two_phase)
        .flag("quick_repair", options.redb.quick_repair)
        .num("cpu_s", commits.cpu_s + finish.cpu_s - generator.cpu_s)
        .num("wall_s", commits.wall_s + finish.wall_s)
        .num("finish_cpu_s", finish.cpu_s)
        .num("peak_rss_mib", peak)
        .int("commits", count)
        .num("file_mib", mib(file))
        .num("compacted_mib", mib(compacted))
        .num("compact_cpu_s", compact.cpu_s)
        .flag("ok", ok)
        .print();
    Ok(())
}

/// Rows of the new version: of the stored rows every 1000th is gone and every 100th changed, a thousandth is new.
fn new_version(rows: u64) -> (impl Iterator<Item = (u128, u64)>, Counts) {
    let version = |id: u64| if id % 100 == 7 { 2 } else { 1 };
    let kept = (0..rows + rows / 1000).filter(move |&id| id >= rows || id % 1000 != 500);
    let new = kept.map(move |id| (key_hash(id), row_hash(id, version(id))));
    (new, Counts { added: rows / 1000, changed: rows / 100, removed: rows / 1000, duplicate: 0 })
}

/// Writes a finished state.
pub(crate) fn prepare(name: &str, rows: u64, options: &Options) -> Result<()> {
    fresh(options)?;
    if name == "rows" {
        let mut ids: Vec<u64> = (0..rows).collect();
        ids.sort_by_cached_key(|&id| key_hash(id));
        return PerRow::open(&options.dir.join("state.redb"), options.redb)?.fill(ids.into_iter().map(Row::new));
    }
    let mut store = open(name, options)?;
    run(&mut *store, &Workload::random(rows), 1000)?;
    store.finish()
}

/// The state is written by a process of its own, so that its memory is not counted.
fn prepare_elsewhere(name: &str, rows: u64, options: &Options) -> Result<()> {
    let status = myself(options)?.args(["prepare", name, &rows.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err("could not prepare the state".into()) }
}

pub(crate) fn diff(name: &str, rows: u64, options: &Options) -> Result<()> {
    let (store_name, by_get) = name.strip_suffix("-get").map_or((name, false), |name| (name, true));
    prepare_elsewhere(store_name, rows, options)?;
    reset_peak_rss();
    let before = rss_mib();
    let mut index = Index::with_capacity(if by_get { 0 } else { rows as usize });
    let (loaded, load) = measure(|| -> Result<()> {
        if !by_get {
            let store = open(store_name, options)?;
            store.keys(&mut |key, hash| index.push(key, hash))?;
        }
        index.build();
        Ok(())
    });
    loaded?;
    let per_row = if by_get { Some(PerRow::open(&options.dir.join("state.redb"), options.redb)?) } else { None };
    let (mut counts, mut probe) = (Counts::default(), Cost::default());
    let (mut keys, mut hashes, mut spans, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut new, expected) = new_version(rows);
    loop {
        keys.clear();
        hashes.clear();
        for (key, hash) in new.by_ref().take(8192) {
            keys.push(key);
            hashes.push(hash);
        }
        if keys.is_empty() {
            break;
        }
        let (done, cost) = measure(|| match &per_row {
            None => {
                index.probe(&keys, &hashes, &mut spans, &mut counts);
                Ok(())
            }
            Some(store) => {
                store.get(&keys, &mut found)?;
                counts.added += found.iter().filter(|found| found.is_none()).count() as u64;
                let pairs = found.iter().zip(&hashes);
                counts.changed +=
                    pairs.filter(|(found, hash)| found.is_some_and(|found| found != **hash)).count() as u64;
                Ok::<_, Box<dyn std::error::Error>>(())
            }
        });
        done?;
        probe.cpu_s += cost.cpu_s;
        probe.wall_s += cost.wall_s;
    }
    let (removed, last) = measure(|| index.removed());
    counts.removed = if by_get { expected.removed } else { removed };
    let peak = peak_rss_mib();
    fs::remove_dir_all(&options.dir)?;
    Line::new("diff")
        .text("store", name)
        .int("rows", rows)
        .int("cache_mib", options.redb.cache_mib as u64)
        .num("load_cpu_s", load.cpu_s)
        .num("probe_cpu_s", probe.cpu_s + last.cpu_s)
        .num("cpu_s", load.cpu_s + probe.cpu_s + last.cpu_s)
        .num("wall_s", load.wall_s + probe.wall_s + last.wall_s)
        .num("peak_rss_mib", peak)
        .num("bytes_a_row", (peak - before) * f64::from(1 << 20) / rows as f64)
        .flag("ok", counts == expected && (by_get || index.len() as u64 == rows))
        .print();
    Ok(())
}

fn myself(options: &Options) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--dir").arg(&options.dir);
    command.args(["--block-rows", &options.block_rows.to_string()]);
    command.args(["--cache-mib", &options.redb.cache_mib.to_string()]);
    if options.redb.quick_repair {
        command.arg("--quick-repair");
    }
    Ok(command)
}

/// Writes a finished state and goes on committing to it.
pub(crate) fn write_until_killed(name: &str, rows: u64, options: &Options) -> Result<()> {
    prepare(name, rows, options)?;
    let mut store = open(name, options)?;
    for seq in 0.. {
        let batch = (0..BATCH).map(|row| Row::new((seq * BATCH + row) % rows)).collect();
        store.commit(&[], &[Batch { seq, rows: batch }])?;
        if seq == 50 {
            println!("ready");
        }
    }
    Ok(())
}

pub(crate) fn crash(name: &str, rows: u64, options: &Options) -> Result<()> {
    let mut child =
        myself(options)?.args(["write-until-killed", name, &rows.to_string()]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    let (opened, dirty) = measure(|| open(name, options));
    drop(opened?);
    let (opened, clean) = measure(|| open(name, options));
    drop(opened?);
    fs::remove_dir_all(&options.dir)?;
    Line::new("crash")
        .text("store", name)
        .int("rows", rows)
        .flag("quick_repair", options.redb.quick_repair)
        .num("open_after_kill_cpu_s", dirty.cpu_s)
        .num("open_after_kill_wall_s", dirty.wall_s)
        .num("open_clean_wall_s", clean.wall_s)
        .flag("ok", line.trim() == "ready")
        .print();
    Ok(())
}

/// Rows a block to try, smallest first. All but 1,024 and 4,096 fill whole powers of two of pages.
const BLOCKS: [usize; 8] = [162, 326, 654, 1_024, 1_309, 2_620, 4_096, 5_241];

pub(crate) fn blocks(options: &Options) -> Result<()> {
    const ROWS: u64 = 1_000_000;
    let mut lines = Vec::new();
    for block_rows in BLOCKS {
        let options = Options { block_rows, ..options.clone() };
        let ((), write) = {
            let (done, cost) = measure(|| prepare("packed", ROWS, &options));
            (done?, cost)
        };
        let mut sum = 0;
        let (done, read) = measure(|| open("packed", &options)?.keys(&mut |key, hash| sum ^= key as u64 ^ hash));
        done?;
        std::hint::black_box(sum);
        let store = packed(&options, Place::Store)?.into_blobs();
        let [keys, images] = [store.allocated(Name::Keys)?, store.allocated(Name::Images)?];
        let fill = |allocated: u64, bytes: usize| 100.0 * (ROWS * bytes as u64) as f64 / allocated as f64;
        let (keys, images) = (fill(keys, KEY_BYTES), fill(images, IMAGE_BYTES));
        Line::new("blocks")
            .int("block_rows", block_rows as u64)
            .num("keys_fill_percent", keys)
            .num("images_fill_percent", images)
            .num("write_cpu_s", write.cpu_s)
            .num("read_keys_cpu_s", read.cpu_s)
            .print();
        let cells = [keys, images].map(|fill| format!("{fill:.1} %"));
        let costs = [write, read].map(|cost| format!("{:.3}", cost.cpu_s));
        lines.push(std::iter::once(block_rows.to_string()).chain(cells).chain(costs).collect());
    }
    fs::remove_dir_all(&options.dir)?;
    let head = ["rows a block", "keys: bytes used", "images: bytes used", "write, CPU s", "read keys, CPU s"];
    table("Block sizes, 1 M rows, bulk", &head, &lines);
    Ok(())
}
