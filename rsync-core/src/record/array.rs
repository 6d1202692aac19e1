//! Values into Arrow columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListBuilder, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};

use super::{FieldType, Value};

/// The values as a column of `ty`; `None` if one is not of that type, or has more digits than it.
pub(crate) fn array_of<'a>(ty: FieldType, values: impl Iterator<Item = Option<Value<'a>>>) -> Option<ArrayRef> {
    macro_rules! typed {
        ($array:ident, $pattern:pat $(if $guard:expr)? => $out:expr) => {
            values
                .map(|value| match value {
                    None => Some(None),
                    Some($pattern) $(if $guard)? => Some(Some($out)),
                    Some(_) => None,
                })
                .collect::<Option<$array>>()?
        };
    }
    Some(match ty {
        FieldType::Text => Arc::new(typed!(StringArray, Value::Text(text) => text)),
        FieldType::Integer => Arc::new(typed!(Int64Array, Value::Integer(number) => number)),
        FieldType::Float => Arc::new(typed!(Float64Array, Value::Float(number) => number)),
        FieldType::Decimal { precision, scale } => {
            let limit = 10_u128.checked_pow(u32::from(precision))?;
            let fits = |unscaled: i128, s: i8| s == scale && unscaled.unsigned_abs() < limit;
            let digits =
                typed!(Decimal128Array, Value::Decimal { unscaled, scale: s } if fits(unscaled, s) => unscaled);
            Arc::new(digits.with_precision_and_scale(precision, scale).ok()?)
        }
        FieldType::Boolean => Arc::new(typed!(BooleanArray, Value::Boolean(flag) => flag)),
        FieldType::Date => Arc::new(typed!(Date32Array, Value::Date(days) => days)),
        FieldType::Timestamp => {
            Arc::new(typed!(TimestampMicrosecondArray, Value::Timestamp(micros) => micros).with_timezone("UTC"))
        }
        FieldType::TextList => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for value in values {
                match value {
                    None => lists.append_null(),
                    Some(Value::TextList(items)) => lists.append_value(items.into_iter().map(Some)),
                    Some(_) => return None,
                }
            }
            Arc::new(lists.finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cell, Column};

    fn decimal(unscaled: i128, scale: i8) -> Value<'static> {
        Value::Decimal { unscaled, scale }
    }

    #[test]
    fn columns_give_their_values_back() {
        let four = FieldType::Decimal { precision: 4, scale: 2 };
        let table = [
            (FieldType::Text, Value::Text("")),
            (FieldType::Integer, Value::Integer(i64::MIN)),
            (FieldType::Float, Value::Float(-0.5)),
            (four, decimal(-9999, 2)),
            (FieldType::Boolean, Value::Boolean(false)),
            (FieldType::Date, Value::Date(-1)),
            (FieldType::Timestamp, Value::Timestamp(-1)),
            (FieldType::TextList, Value::TextList(vec!["a", ""])),
            (FieldType::TextList, Value::TextList(vec![])),
        ];
        for (ty, value) in &table {
            let array = array_of(*ty, [None, Some(value.clone())].into_iter()).unwrap();
            assert_eq!(*array.data_type(), ty.arrow());
            let column = Column::new(&array, None).unwrap();
            assert_eq!((column.cell(0), column.cell(1)), (Cell::Clear, Cell::Set(value.clone())), "{ty}");
            for (other, value) in &table {
                let same = std::mem::discriminant(other) == std::mem::discriminant(ty);
                assert_eq!(array_of(*ty, [Some(value.clone())].into_iter()).is_some(), same, "{other} as {ty}");
            }
        }
        for value in [decimal(10_000, 2), decimal(1, 1), decimal(i128::MIN, 2)] {
            assert!(array_of(four, [Some(value)].into_iter()).is_none());
        }
    }
}
