//! Random values against the text that the server makes of them.

use arrow::array::Array;

use crate::compare::{self, is_same};
use crate::support::*;

const ROWS: usize = 600;

fn numeric(random: &mut Random) -> String {
    match random.below(20) {
        0 => "NaN".into(),
        1 => "Infinity".into(),
        2 => "0".into(),
        _ => {
            let digits = |random: &mut Random, most: u64| -> String {
                let zeros = random.below(3) == 0;
                (0..random.below(most))
                    .map(
                        |_| if zeros && random.below(2) == 0 { '0' } else { char::from(b'0' + random.below(10) as u8) },
                    )
                    .collect()
            };
            let sign = if random.below(2) == 0 { "-" } else { "" };
            let (whole, fraction) = (digits(random, 34), digits(random, 13));
            let zeros = "0".repeat(random.below(8) as usize);
            format!("{sign}0{whole}{zeros}.{fraction}0")
        }
    }
}

fn text(random: &mut Random) -> String {
    const PIECES: &[&str] = &[
        "a", "Z", " ", "\t", "\n", "\r", "\\", "\\N", "'", "\"", "{", ",", "é", "中", "😀", "\u{7f}", "\u{1}", "NULL",
        "",
    ];
    (0..random.below(12)).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect()
}

/// A date, far away at times.
fn date(random: &mut Random) -> String {
    match random.below(15) {
        0 => "'infinity'::date".into(),
        1 => "'-infinity'::date".into(),
        2 => format!("('2000-01-01'::date + {})", random.below(2_000_000_000)),
        3 => format!("('0001-01-10'::date - {})", random.below(20)),
        4 => format!("('9999-12-20'::date + {})", random.below(20)),
        _ => format!("('0001-01-01'::date + {})", random.below(3_652_059)),
    }
}

fn moment(random: &mut Random) -> String {
    match random.below(15) {
        0 => "'infinity'".into(),
        1 => "'294276-12-31 23:59:59.999999'".into(),
        2 => "'0044-03-15 12:00:00 BC'".into(),
        _ => format!(
            "'{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}'",
            1 + random.below(9999),
            1 + random.below(12),
            1 + random.below(28),
            random.below(24),
            random.below(60),
            random.below(60),
            if random.below(2) == 0 { 0 } else { random.below(1_000_000) },
        ),
    }
}

/// The codes that a cell which is printed as `text` may have, none if it can be read.
fn faults_of(column: &str, text: &str) -> &'static [&'static str] {
    match column {
        "n" if text == "NaN" => &["not_a_number"],
        "n" if text.ends_with("Infinity") => &["infinite_number"],
        "n" => {
            let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
            let fits = compare::unscaled(text, 10).is_some_and(|value| value.unsigned_abs() < 10_u128.pow(38));
            match (fits, fraction.len() > 10) {
                (true, _) => &[],
                (false, false) => &["out_of_range"],
                (false, true) => &["inexact", "out_of_range"],
            }
        }
        "d" if text.ends_with("infinity") => &["infinite_date"],
        "s" | "z" if text.ends_with("infinity") => &["infinite_timestamp"],
        // Years of five digits and more, and before Christ.
        "d" | "s" | "z" if text.ends_with("BC") || text.find('-') > Some(4) => &["out_of_range"],
        _ => &[],
    }
}

#[tokio::test]
async fn values_are_what_the_server_prints() {
    let mut random = Random::new();
    let rows: Vec<String> = (0..ROWS)
        .map(|id| {
            format!(
                "({id}, '{}'::numeric, {}, {}::timestamp, {}::timestamptz, '{}'::text, {}::float8)",
                numeric(&mut random),
                date(&mut random),
                moment(&mut random),
                moment(&mut random),
                text(&mut random).replace('\'', "''"),
                // Every pattern of bits that is a number.
                Some(f64::from_bits(random.next()))
                    .filter(|f| f.is_finite())
                    .map_or("'NaN'".into(), |f| format!("'{f:e}'")),
            )
        })
        .collect();
    let database = database_with(&format!(
        "CREATE TABLE t (id int, n numeric, d date, s timestamp, z timestamptz, x text, f float8);
         INSERT INTO t VALUES {};",
        rows.join(", ")
    ));
    let query = "SELECT * FROM t ORDER BY id";
    let source = model(&database, query).numeric("n", 38, 10).batch_rows(97).build().unwrap();
    let (batch, faults) = read(&source, &[]).await.unwrap();
    assert_eq!(batch.num_rows(), ROWS);
    let schema = batch.schema();
    let mut seen = 0;
    for (row, cells) in database.rows(query).unwrap().enumerate() {
        for (i, text) in cells.unwrap().iter().enumerate() {
            let (name, text) = (schema.field(i).name(), text.as_deref().unwrap());
            let fault = faults.iter().find(|fault| fault.row == row && fault.column.as_str() == name);
            match (faults_of(name, text), fault) {
                ([], None) => assert!(
                    is_same(batch.column(i), row, Some(text)),
                    "{name} {text:?}: {:?}",
                    batch.column(i).slice(row, 1)
                ),
                (codes, Some(fault)) => {
                    assert!(codes.contains(&fault.code) && batch.column(i).is_null(row), "{name} {text:?}: {fault:?}");
                    seen += 1;
                }
                (codes, None) => {
                    panic!("{name} {text:?} should be {codes:?}, and is {:?}", batch.column(i).slice(row, 1))
                }
            }
        }
    }
    assert_eq!(seen, faults.len());
    assert!(seen > ROWS / 20, "too few odd values to mean anything: {seen}");
}
