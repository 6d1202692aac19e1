//! How the values of a column look on the wire, and which Arrow type they become.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use tokio_postgres::types::Type;

/// Digits that a 128-bit decimal holds.
pub(crate) const MAX_PRECISION: u8 = 38;

/// The form of a column's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Bool,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    Jsonb,
    Uuid,
    Binary,
    Date,
    Time,
    Timestamp {
        utc: bool,
    },
    /// Lists of scalars; the object id is that of the items' type.
    List {
        items: Box<Form>,
        oid: u32,
    },
}

impl Form {
    /// The form of a type that needs no further information; `numeric`, arrays and domains do.
    pub(crate) fn of(type_: &Type) -> Option<Self> {
        Some(match *type_ {
            Type::BOOL => Form::Bool,
            Type::INT2 => Form::Int16,
            Type::INT4 => Form::Int32,
            Type::INT8 => Form::Int64,
            Type::FLOAT4 => Form::Float32,
            Type::FLOAT8 => Form::Float64,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => Form::Text,
            Type::JSONB => Form::Jsonb,
            Type::UUID => Form::Uuid,
            Type::BYTEA => Form::Binary,
            Type::DATE => Form::Date,
            Type::TIME => Form::Time,
            Type::TIMESTAMP => Form::Timestamp { utc: false },
            Type::TIMESTAMPTZ => Form::Timestamp { utc: true },
            _ => return None,
        })
    }

    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Form::Bool => DataType::Boolean,
            Form::Int16 => DataType::Int16,
            Form::Int32 => DataType::Int32,
            Form::Int64 => DataType::Int64,
            Form::Float32 => DataType::Float32,
            Form::Float64 => DataType::Float64,
            Form::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Form::Text | Form::Jsonb | Form::Uuid => DataType::Utf8,
            Form::Binary => DataType::Binary,
            Form::Date => DataType::Date32,
            Form::Time => DataType::Time64(TimeUnit::Microsecond),
            Form::Timestamp { utc } => DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())),
            Form::List { items, .. } => DataType::List(items.item_field()),
        }
    }

    /// The field of the items of a list of this form.
    pub(crate) fn item_field(&self) -> FieldRef {
        Arc::new(Field::new_list_field(self.data_type(), true))
    }
}
