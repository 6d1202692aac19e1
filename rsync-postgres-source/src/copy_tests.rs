use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Field, Int64Type, Schema, TimestampMicrosecondType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { rows: 3, bytes: 1 << 20 };
const DATE_OID: u32 = 1082;

fn forms() -> Vec<Form> {
    vec![
        Form::Int64,
        Form::Text,
        Form::Bool,
        Form::Decimal { precision: 5, scale: 2 },
        Form::Timestamp { utc: true },
        Form::List { items: Box::new(Form::Date), oid: DATE_OID },
    ]
}

fn decoder(forms: &[Form], limits: Limits) -> Decoder {
    let fields: Vec<_> =
        forms.iter().enumerate().map(|(i, form)| Field::new(format!("c{i}"), form.data_type(), true)).collect();
    Decoder::new(Arc::new(Schema::new(fields)), forms, limits)
}

fn array(items: &[Option<&[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    for n in [1, 1, DATE_OID, u32::try_from(items.len()).unwrap(), 1] {
        out.extend(n.to_be_bytes());
    }
    items.iter().for_each(|item| cell(&mut out, *item));
    out
}

fn cell(out: &mut Vec<u8>, cell: Option<&[u8]>) {
    match cell {
        Some(bytes) => {
            out.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
            out.extend(bytes);
        }
        None => out.extend((-1_i32).to_be_bytes()),
    }
}

fn header() -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([0; 8]);
    out
}

/// Ten rows: row 3 is all null, and rows 4 and 7 have cells that Arrow cannot hold.
fn stream() -> Vec<u8> {
    let mut out = header();
    for row in 0..10_i64 {
        out.extend(6_i16.to_be_bytes());
        let text = "\u{e9}\u{4e2d}".repeat(usize::try_from(row).unwrap());
        let numeric: Vec<u8> =
            [1, 0, if row == 4 { 0xC000 } else { 0 }, 2, 7_u16].iter().flat_map(|n| n.to_be_bytes()).collect();
        let day = if row == 7 { i32::MAX } else { 1 }.to_be_bytes();
        let list = array(&[Some(&[0; 4]), None, Some(&day)]);
        let id = row.to_be_bytes();
        let moment = if row == 7 { i64::MAX } else { row }.to_be_bytes();
        let cells: [&[u8]; 6] = [&id, text.as_bytes(), &[1], &numeric, &moment, &list];
        cells.iter().for_each(|bytes| cell(&mut out, (row != 3).then_some(bytes)));
    }
    out.extend((-1_i16).to_be_bytes());
    out
}

fn run(decoder: &mut Decoder, pieces: &[&[u8]]) -> Result<Vec<Extracted>, CopyError> {
    let mut batches = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(batch) = decoder.decode(&mut piece)? {
            batches.push(batch);
        }
        assert!(piece.is_empty());
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

#[test]
fn pieces_have_no_meaning() {
    let stream = stream();
    let whole = run(&mut decoder(&forms(), LIMITS), &[&stream]).unwrap();
    assert_eq!(whole.iter().map(|extracted| extracted.batch.num_rows()).collect::<Vec<_>>(), [3, 3, 3, 1]);
    for size in 1..stream.len() {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        let cut = run(&mut decoder(&forms(), LIMITS), &pieces).unwrap();
        assert_eq!(cut.len(), whole.len(), "pieces of {size}");
        for (a, b) in cut.iter().zip(&whole) {
            assert_eq!((&a.batch, &a.faults), (&b.batch, &b.faults), "pieces of {size}");
        }
    }
    for at in 0..stream.len() {
        let (head, tail) = stream.split_at(at);
        let cut = run(&mut decoder(&forms(), LIMITS), &[head, tail]).unwrap();
        assert!(
            cut.iter().map(|extracted| &extracted.batch).eq(whole.iter().map(|extracted| &extracted.batch)),
            "{at}"
        );
    }
}

#[test]
fn values_nulls_and_faults_are_in_their_place() {
    let batches = run(&mut decoder(&forms(), Limits { rows: 100, bytes: 1 << 20 }), &[&stream()]).unwrap();
    let [Extracted { batch, faults, .. }] = &batches[..] else { panic!("{batches:?}") };
    let ids = batch.column(0).as_primitive::<Int64Type>();
    assert_eq!(ids.iter().collect::<Vec<_>>()[..5], [Some(0), Some(1), Some(2), None, Some(4)]);
    assert_eq!(batch.column(1).as_string::<i32>().value(2), "\u{e9}\u{4e2d}\u{e9}\u{4e2d}");
    assert_eq!(batch.column(4).as_primitive::<TimestampMicrosecondType>().value(1), 946_684_800_000_001);
    let list = batch.column(5).as_list::<i32>();
    assert_eq!(
        list.value(8).as_primitive::<Date32Type>().iter().collect::<Vec<_>>(),
        [Some(10_957), None, Some(10_958)]
    );
    assert_eq!(list.value(7).len(), 0, "a refused list leaves no items behind");
    assert_eq!(list.values().len(), 8 * 3);
    assert!(batch.columns().iter().all(|column| column.is_null(3)));
    let found: Vec<_> = faults.iter().map(|fault| (fault.row, fault.column.as_str(), fault.code)).collect();
    assert_eq!(found, [(4, "c3", "not_a_number"), (7, "c4", "infinite_timestamp"), (7, "c5", "infinite_date")]);
    assert!(batch.column(3).is_null(4) && batch.column(4).is_null(7) && batch.column(5).is_null(7));
}

#[test]
fn bytes_close_a_batch() {
    let mut decoder = decoder(&forms(), Limits { rows: 100, bytes: 1 });
    let batches = run(&mut decoder, &[&stream()]).unwrap();
    assert_eq!(batches.len(), 10);
}

#[test]
fn a_stream_that_ends_early_is_an_error_at_every_byte() {
    let stream = stream();
    for end in 0..stream.len() {
        let error = run(&mut decoder(&forms(), LIMITS), &[&stream[..end]]).unwrap_err();
        assert!(matches!(error, CopyError::EndedEarly), "{end}: {error}");
    }
}

#[test]
fn what_is_no_copy_is_refused() {
    let good = stream();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        bad
    };
    let row = HEADER;
    for (bad, cause) in [
        (with(0, b"Q"), "signature"),
        (with(11, &[0, 1, 0, 0]), "flags"),
        (with(15, &[0xff; 4]), "out of range"),
        (with(row, &[0, 5]), "number of columns"),
        (with(row, &[0xff, 0xfe]), "number of columns"),
        (with(row + 2, &[0xff, 0xff, 0xff, 0xfe]), "out of range"),
        (with(row + 2, &[0x7f, 0xff, 0xff, 0xff]), "out of range"),
        ([&good[..], b"x"].concat(), "behind its trailer"),
    ] {
        let error = run(&mut decoder(&forms(), LIMITS), &[&bad]).unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
    }
    // A header with an extension is read.
    let extended = [&good[..15], &4_u32.to_be_bytes(), b"more", &good[HEADER..]].concat();
    assert_eq!(run(&mut decoder(&forms(), LIMITS), &[&extended]).unwrap().len(), 4);
}

/// One cell of one column.
fn one(form: &Form, value: &[u8]) -> Result<Extracted, CopyError> {
    let mut out = header();
    out.extend(1_i16.to_be_bytes());
    cell(&mut out, Some(value));
    out.extend((-1_i16).to_be_bytes());
    Ok(run(&mut decoder(std::slice::from_ref(form), LIMITS), &[&out])?.remove(0))
}

#[test]
fn cells_of_a_wrong_form_are_refused_by_column() {
    let list = |n: [i32; 5]| n.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let date = i32::try_from(DATE_OID).unwrap();
    for (form, value) in [
        (Form::Bool, vec![2]),
        (Form::Bool, vec![]),
        (Form::Int16, vec![0; 4]),
        (Form::Int32, vec![0; 8]),
        (Form::Int64, vec![0; 4]),
        (Form::Float32, vec![0; 8]),
        (Form::Float64, vec![0; 4]),
        (Form::Date, vec![0; 8]),
        (Form::Time, vec![0; 4]),
        (Form::Timestamp { utc: false }, vec![0; 4]),
        (Form::Uuid, vec![0; 15]),
        (Form::Text, vec![0xff]),
        (Form::Jsonb, vec![1, 0xff]),
        (Form::Jsonb, b"2{}".to_vec()),
        (Form::Jsonb, vec![]),
        (Form::Decimal { precision: 9, scale: 2 }, vec![0; 7]),
        (forms()[5].clone(), list([-1, 0, date, 0, 1])),
        (forms()[5].clone(), list([1, 0, 23, 0, 1])),
        (forms()[5].clone(), list([1, 0, date, 1, 1])),
        (forms()[5].clone(), list([0, 0, date, 0, 1])),
    ] {
        let error = one(&form, &value).unwrap_err();
        assert!(
            matches!(error, CopyError::Cell { .. }) && error.to_string().contains("[column: c0]"),
            "{form:?}: {error}"
        );
    }
}

#[test]
fn limits_of_time() {
    let day = 86_400_000_000_i64;
    for (form, value, expected) in [
        (Form::Date, i64::from(i32::MAX), Err("infinite_date")),
        (Form::Date, i64::from(i32::MIN), Err("infinite_date")),
        // 0001-01-01 and the day before, 9999-12-31 and the day after.
        (Form::Date, -730_119, Ok("0001-01-01")),
        (Form::Date, -730_120, Err("out_of_range")),
        (Form::Date, 2_921_939, Ok("9999-12-31")),
        (Form::Date, 2_921_940, Err("out_of_range")),
        (Form::Date, i64::from(i32::MAX) - 1, Err("out_of_range")),
        (Form::Time, 0, Ok("00:00:00")),
        (Form::Time, day - 1, Ok("23:59:59.999999")),
        (Form::Time, day, Err("out_of_range")),
        (Form::Time, -1, Err("out_of_range")),
        (Form::Timestamp { utc: true }, i64::MAX, Err("infinite_timestamp")),
        (Form::Timestamp { utc: true }, i64::MIN, Err("infinite_timestamp")),
        (Form::Timestamp { utc: true }, i64::MAX - 1, Err("out_of_range")),
        (Form::Timestamp { utc: false }, -730_119 * day, Ok("0001-01-01T00:00:00")),
        (Form::Timestamp { utc: false }, -730_119 * day - 1, Err("out_of_range")),
        (Form::Timestamp { utc: false }, 2_921_940 * day - 1, Ok("9999-12-31T23:59:59.999999")),
        (Form::Timestamp { utc: false }, 2_921_940 * day, Err("out_of_range")),
    ] {
        let bytes = match form {
            Form::Date => i32::try_from(value).unwrap().to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        };
        let extracted = one(&form, &bytes).unwrap();
        let column = extracted.batch.column(0);
        let found = match extracted.faults.first() {
            Some(fault) => Err(fault.code),
            None => Ok(arrow::util::display::array_value_to_string(column, 0).unwrap()),
        };
        assert_eq!(found, expected.map(str::to_owned), "{form:?} {value}");
        assert_eq!(column.is_null(0), expected.is_err());
    }
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let mut out = header();
    out.extend([0, 0, 0, 0, 0xff, 0xff]);
    let batches = run(&mut decoder(&[], LIMITS), &[&out]).unwrap();
    assert_eq!((batches.len(), batches[0].batch.num_rows()), (1, 2));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..300), cuts in 1..40_usize) {
        let pieces: Vec<&[u8]> = bytes.chunks(cuts).collect();
        let _ = run(&mut decoder(&forms(), LIMITS), &pieces);
        let headed = [header(), bytes].concat();
        let _ = run(&mut decoder(&forms(), LIMITS), &[&headed]);
    }

    #[test]
    fn no_damage_makes_it_panic(damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cuts in 1..100_usize) {
        let mut bytes = stream();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let pieces: Vec<&[u8]> = bytes.chunks(cuts).collect();
        if let Ok(batches) = run(&mut decoder(&forms(), LIMITS), &pieces) {
            for extracted in &batches {
                for fault in &extracted.faults {
                    prop_assert!(extracted.batch.column_by_name(fault.column.as_str()).is_some_and(|column| column.is_null(fault.row)));
                }
            }
        }
    }

    #[test]
    fn no_cell_makes_it_panic(value in vec(any::<u8>(), 0..40), form in 0..16_usize) {
        let forms = [
            Form::Bool, Form::Int16, Form::Int32, Form::Int64, Form::Float32, Form::Float64, Form::Text, Form::Jsonb,
            Form::Uuid, Form::Binary, Form::Date, Form::Time, Form::Timestamp { utc: true },
            Form::Decimal { precision: 38, scale: 10 }, Form::Decimal { precision: 1, scale: 0 },
            Form::List { items: Box::new(Form::Decimal { precision: 5, scale: 5 }), oid: 0 },
        ];
        let _ = one(&forms[form], &value);
    }
}
