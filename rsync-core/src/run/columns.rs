//! Columns whose type changed since the last run. A wider type holds the same values; with any other change somebody has to
//! look first: values may have been cut upstream, and keys of another type are other keys.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use crate::error::{Error, Kind, Problem, Result};
use crate::ids::ColumnName;
use crate::state::{DefinedColumn, Definition};

/// The column of that name and what it can hold.
pub(super) fn defined(schema: &SchemaRef, name: &ColumnName) -> Option<DefinedColumn> {
    let (family, whole, fraction) = class(schema.field_with_name(name.as_str()).ok()?.data_type());
    Some(DefinedColumn { name: name.clone(), family, whole, fraction })
}

fn class(ty: &DataType) -> (String, u32, u32) {
    let of = |family: &str, whole: u32, fraction: u32| (family.to_owned(), whole, fraction);
    match ty {
        DataType::Dictionary(_, value) => class(value),
        // In bits that a signed number needs.
        DataType::Int8 => of("integer", 8, 0),
        DataType::UInt8 => of("integer", 9, 0),
        DataType::Int16 => of("integer", 16, 0),
        DataType::UInt16 => of("integer", 17, 0),
        DataType::Int32 => of("integer", 32, 0),
        DataType::UInt32 => of("integer", 33, 0),
        DataType::Int64 => of("integer", 64, 0),
        DataType::UInt64 => of("integer", 65, 0),
        DataType::Float16 => of("float", 16, 0),
        DataType::Float32 => of("float", 32, 0),
        DataType::Float64 => of("float", 64, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let whole = i32::from(*precision) - i32::from(*scale);
            of("decimal", whole.max(0) as u32, (*scale).max(0) as u32)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => of("text", 0, 0),
        DataType::Date32 | DataType::Date64 => of("date", 0, 0),
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            of(if zone.is_some() { "moment" } else { "local time" }, 0, digits)
        }
        other => (other.to_string(), 0, 0),
    }
}

fn shown(column: &DefinedColumn) -> String {
    match (column.family.as_str(), column.whole, column.fraction) {
        (family, 0, 0) => family.to_owned(),
        ("decimal", whole, fraction) => format!("decimal({},{fraction})", whole + fraction),
        ("integer" | "float", bits, _) => format!("{} of {bits} bits", column.family),
        (family, _, digits) => format!("{family} with {digits} digits of a second"),
    }
}

/// Refuses columns that have become narrower or something else since the last run.
///
/// # Errors
///
/// [`Kind::SchemaMismatch`] with all of them.
pub(super) fn check(old: Option<&Definition>, new: &Definition) -> Result<()> {
    let mut problems = Vec::new();
    for column in &new.columns {
        let Some(before) = old.and_then(|old| old.columns.iter().find(|known| known.name == column.name)) else {
            continue;
        };
        let holds =
            column.family == before.family && column.whole >= before.whole && column.fraction >= before.fraction;
        if !holds {
            problems.push(Problem::new(
                format!("model.{}", column.name),
                format!("the column was {} in the last run and is {} now", shown(before), shown(column)),
                "cast it in the query to what it was; if the change is meant, plan once with \
                 PlanOptions::accept_column_types, or for a key with PlanOptions::begin_anew",
            ));
        }
    }
    Error::from_problems(Kind::SchemaMismatch, "compare the columns with the last run", problems)
}
