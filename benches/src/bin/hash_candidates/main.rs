//! Compares hash functions for keys, rows and fields of a sync's state.
//!
//! `hash_candidates [REPEATS]`: nanoseconds of CPU per hash for inputs of several sizes that lie behind one another in
//! one buffer, and per row for the whole way from Arrow columns to hashes. Medians of REPEATS (default 9).
#![allow(clippy::print_stdout, reason = "printing results is what a benchmark is for")]

mod candidates;
mod encode;

use std::hint::black_box;

use arrow::array::RecordBatch;
use candidates::{AesMac, Blake3, Candidate, Highway, HighwayWide, Sip13, Sip13Wide, Sip24, Sip24Wide, Xxh3, Xxh3Wide};
use encode::RowEncoder;
use rsync_benches::meter::ns_per_op;
use rsync_benches::report::{Line, table};
use rsync_benches::sample::{contacts, mix};

/// Input sizes: an integer key, longer keys, a mapped row, a row with long texts.
const SIZES: [usize; 6] = [8, 16, 24, 64, 165, 512];
/// Bytes hashed in one repeat of one size.
const VOLUME: usize = 8 << 20;
/// Rows that are encoded before they are hashed, so that the bytes are still in the cache.
const CHUNK: usize = 1024;
/// Rows of the pipeline measurement.
const ROWS: usize = 200 * CHUNK;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repeats = std::env::args().nth(1).map_or(Ok(9), |arg| arg.parse())?;
    sizes(repeats);
    pipeline(repeats)
}

fn sizes(repeats: usize) {
    let bytes: Vec<u8> = (0..VOLUME as u64 + 512).map(|i| mix(i) as u8).collect();
    let rows = [
        all_sizes::<Sip13>(repeats, &bytes),
        all_sizes::<Sip24>(repeats, &bytes),
        all_sizes::<Highway>(repeats, &bytes),
        all_sizes::<Xxh3>(repeats, &bytes),
        all_sizes::<Sip13Wide>(repeats, &bytes),
        all_sizes::<Sip24Wide>(repeats, &bytes),
        all_sizes::<HighwayWide>(repeats, &bytes),
        all_sizes::<AesMac>(repeats, &bytes),
        all_sizes::<Blake3>(repeats, &bytes),
        all_sizes::<Xxh3Wide>(repeats, &bytes),
    ];
    let head: Vec<String> = SIZES.iter().map(|size| format!("{size} B")).collect();
    let head: Vec<&str> = ["function, bits", "keyed"].into_iter().chain(head.iter().map(String::as_str)).collect();
    table("ns of CPU per hash", &head, &rows);
}

fn all_sizes<C: Candidate>(repeats: usize, bytes: &[u8]) -> Vec<String> {
    let candidate = C::new();
    let mut row = vec![C::NAME.to_owned(), if C::KEYED { "yes" } else { "no" }.to_owned()];
    for size in SIZES {
        let offsets: Vec<u32> = (0..=VOLUME / size).map(|i| (i * size) as u32).collect();
        let mut out = Vec::with_capacity(offsets.len());
        let ns = ns_per_op(repeats, offsets.len() - 1, || {
            out.clear();
            let inputs = offsets.windows(2).map(|pair| &bytes[pair[0] as usize..pair[1] as usize]);
            out.extend(inputs.map(|input| candidate.hash(input)));
            black_box(&out);
        });
        Line::new("hash").text("function", C::NAME).int("bytes", size as u64).num("ns", ns).print();
        row.push(format!("{ns:.1}"));
    }
    row
}

/// Batches of the columns the three measurements need: the whole row, and keys of two types.
struct Inputs {
    rows: Vec<RecordBatch>,
    integer_keys: Vec<RecordBatch>,
    text_keys: Vec<RecordBatch>,
}

fn pipeline(repeats: usize) -> Result<(), Box<dyn std::error::Error>> {
    let all = contacts(1, ROWS)?;
    let chunks = |columns: &[usize]| -> Result<Vec<RecordBatch>, Box<dyn std::error::Error>> {
        let part = all.project(columns)?;
        Ok((0..ROWS).step_by(CHUNK).map(|at| part.slice(at, CHUNK)).collect())
    };
    let inputs =
        Inputs { rows: chunks(&(0..12).collect::<Vec<_>>())?, integer_keys: chunks(&[0])?, text_keys: chunks(&[1])? };
    let mut encoder = RowEncoder::default();
    let mut bytes = 0;
    for chunk in &inputs.rows {
        encoder.encode(chunk)?;
        bytes += encoder.rows().map(<[u8]>::len).sum::<usize>();
    }
    println!("\nencoded rows have {:.1} bytes on average", bytes as f64 / ROWS as f64);

    let encode = |chunks: &[RecordBatch]| {
        let mut encoder = RowEncoder::default();
        ns_per_op(repeats, ROWS, || {
            for chunk in chunks {
                encoder.encode(chunk).unwrap_or_default();
                black_box(&encoder);
            }
        })
    };
    let alone = [&inputs.rows, &inputs.integer_keys, &inputs.text_keys].map(|chunks| encode(chunks));
    let rows = [
        row("(encoding alone)", alone),
        whole::<Sip13, Sip13Wide>(repeats, &inputs),
        whole::<Sip24, Sip24Wide>(repeats, &inputs),
        whole::<Highway, HighwayWide>(repeats, &inputs),
        whole::<Xxh3, Xxh3Wide>(repeats, &inputs),
    ];
    let head =
        ["function", "row of 12 columns, 64 bits", "int64 key, 128 bits", "text key, 128 bits", "row + text key"];
    table("ns of CPU per row, Arrow columns to hashes", &head, &rows);
    Ok(())
}

fn whole<Narrow: Candidate, Wide: Candidate>(repeats: usize, inputs: &Inputs) -> Vec<String> {
    let ns = [
        encode_and_hash::<Narrow>(repeats, &inputs.rows),
        encode_and_hash::<Wide>(repeats, &inputs.integer_keys),
        encode_and_hash::<Wide>(repeats, &inputs.text_keys),
    ];
    row(Narrow::NAME.split(',').next().unwrap_or_default(), ns)
}

fn row(name: &str, [whole, integer, text]: [f64; 3]) -> Vec<String> {
    let line = Line::new("encode_and_hash").text("function", name);
    line.num("row_ns", whole).num("int_key_ns", integer).num("text_key_ns", text).print();
    let cells = [whole, integer, text, whole + text].map(|ns| format!("{ns:.1}"));
    std::iter::once(name.to_owned()).chain(cells).collect()
}

fn encode_and_hash<C: Candidate>(repeats: usize, chunks: &[RecordBatch]) -> f64 {
    let candidate = C::new();
    let mut encoder = RowEncoder::default();
    let mut out = Vec::with_capacity(ROWS);
    ns_per_op(repeats, ROWS, || {
        out.clear();
        for chunk in chunks {
            encoder.encode(chunk).unwrap_or_default();
            out.extend(encoder.rows().map(|row| candidate.hash(row)));
        }
        black_box(&out);
    })
}
