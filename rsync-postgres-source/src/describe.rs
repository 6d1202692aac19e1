//! The columns of a query: names, types, and how their values are decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use rsync_core::error::Problem;
use rsync_core::ids::ColumnName;
use rsync_core::{Error, Kind, Result};
use tokio_postgres::types::{Kind as TypeKind, Type};
use tokio_postgres::{Client, Column, Error as PgError, Statement};

use crate::config::Numeric;
use crate::form::{Form, MAX_PRECISION};
use crate::query;
use crate::session::Session;

/// The columns of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) schema: SchemaRef,
    pub(crate) forms: Vec<Form>,
}

/// Whether a query may be executed to see if it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Names,
    /// The server looks at permissions when a query begins. No row is asked for.
    Permissions,
}

impl Shape {
    /// Asks the server for the columns of `query`.
    pub(crate) async fn of(
        session: &mut Session,
        query: &str,
        numerics: &BTreeMap<String, Numeric>,
        check: Check,
    ) -> Result<Self> {
        let sql = query::limited(query);
        let (statement, modifiers) = session
            .run(async |client| {
                let statement = client.prepare(&sql).await?;
                if check == Check::Permissions {
                    client.execute(&statement, &[]).await?;
                }
                let modifiers = item_modifiers(client, &statement).await?;
                Ok((statement, modifiers))
            })
            .await?;
        Self::resolve(statement.columns(), &modifiers, numerics)
    }

    fn resolve(columns: &[Column], modifiers: &[i32], numerics: &BTreeMap<String, Numeric>) -> Result<Self> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        let mut fields = Vec::with_capacity(columns.len());
        let mut forms = Vec::with_capacity(columns.len());
        if columns.is_empty() {
            problems.push(Problem::new("query", "it gives no column", "select the columns of the model"));
        }
        for (column, modifier) in columns.iter().zip(modifiers) {
            let at = format!("model.columns.{}", column.name());
            if !seen.insert(column.name()) {
                problems.push(Problem::new(&at, "the query gives two columns of this name", "rename one with AS"));
            }
            let declared = numerics.get(column.name()).copied();
            match form(column.type_(), *modifier, declared) {
                Ok(form) => {
                    fields.push(Field::new(column.name(), form.data_type(), true));
                    forms.push(form);
                }
                Err(refusal) => problems.push(refusal.problem(at, column)),
            }
        }
        for name in numerics.keys().filter(|name| !seen.contains(name.as_str())) {
            let fix = "correct the name, or remove the declaration";
            problems.push(Problem::new(format!("numeric.{name}"), "the query has no such column", fix));
        }
        Error::from_problems(Kind::SchemaMismatch, "plan the model", problems)?;
        Ok(Self { schema: Arc::new(Schema::new(fields)), forms })
    }

    /// The columns of the request, in its order and each once; all of them if it names none.
    pub(crate) fn project(&self, columns: &[ColumnName]) -> Result<Self> {
        if columns.is_empty() {
            return Ok(self.clone());
        }
        let mut problems = Vec::new();
        let mut chosen = Vec::with_capacity(columns.len());
        for (i, column) in columns.iter().enumerate().filter(|(i, column)| !columns[..*i].contains(column)) {
            match self.schema.index_of(column.as_str()) {
                Ok(index) => chosen.push(index),
                Err(_) => problems.push(Problem::new(
                    format!("model.columns.{}", columns[i]),
                    "the query has no such column",
                    self.nearest(column.as_str()),
                )),
            }
        }
        Error::from_problems(Kind::SchemaMismatch, "read the model", problems)?;
        let fields: Vec<_> = chosen.iter().map(|index| Arc::clone(&self.schema.fields()[*index])).collect();
        let forms = chosen.iter().map(|index| self.forms[*index].clone()).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)), forms })
    }

    fn nearest(&self, column: &str) -> String {
        let mut names = self.schema.fields().iter().map(|field| field.name().as_str());
        match names.clone().find(|name| name.eq_ignore_ascii_case(column)) {
            Some(name) => format!("write '{name}': upper and lower case count"),
            None => {
                let names = names.by_ref().collect::<Vec<_>>().join(", ");
                format!("select it in the query, or use one of: {names}")
            }
        }
    }

    /// Refuses columns that are no longer what they were when the run was planned.
    pub(crate) fn check_unchanged(&self, planned: &Schema) -> Result<()> {
        let changed = self.schema.fields().iter().filter(|field| {
            planned.field_with_name(field.name()).is_ok_and(|before| before.data_type() != field.data_type())
        });
        let problems = changed.map(|field| {
            Problem::new(
                format!("model.columns.{}", field.name()),
                "the type of the column has changed since the run was planned",
                "run the sync again",
            )
        });
        Error::from_problems(Kind::SchemaMismatch, "read the model", problems.collect())
    }
}

/// The type modifier of every column; for an array of domains that of the domain, which the column does not tell.
async fn item_modifiers(client: &Client, statement: &Statement) -> Result<Vec<i32>, PgError> {
    let mut modifiers = Vec::with_capacity(statement.columns().len());
    for column in statement.columns() {
        let mut modifier = column.type_modifier();
        let mut type_ = match column.type_().kind() {
            TypeKind::Array(items) => items,
            _ => column.type_(),
        };
        while let (-1, TypeKind::Domain(base)) = (modifier, type_.kind()) {
            let sql = "SELECT typtypmod FROM pg_catalog.pg_type WHERE oid = $1";
            modifier = client.query_one(sql, &[&type_.oid()]).await?.try_get(0)?;
            type_ = base;
        }
        modifiers.push(modifier);
    }
    Ok(modifiers)
}

/// Why a column cannot be read.
enum Refusal {
    /// There is no Arrow type for it here.
    Type,
    /// A `numeric` that says nothing of its digits.
    Undeclared,
    /// A `numeric` of more digits than 128 bits hold.
    TooLong,
    /// A precision was declared for something else than a `numeric`.
    NotNumeric,
}

impl Refusal {
    fn problem(&self, at: String, column: &Column) -> Problem {
        let (name, type_) = (column.name(), column.type_().name());
        // An array is named after its items, with a `_` in front.
        let text = if type_.starts_with('_') { "text[]" } else { "text" };
        let quoted = query::quoted(name);
        match self {
            Refusal::Type => Problem::new(
                at,
                format!("the type {type_} has no counterpart here"),
                format!("cast it in the query: {quoted}::{text} AS {quoted}"),
            ),
            Refusal::Undeclared => Problem::new(
                at,
                "a numeric without precision and scale can have any number of digits",
                format!(
                    "declare it with .numeric(\"{name}\", 18, 2), which refuses values that do not fit, or cast it in the \
                     query, which rounds: {quoted}::numeric(18,2) AS {quoted}"
                ),
            ),
            Refusal::TooLong => Problem::new(
                at,
                format!("a numeric of more than {MAX_PRECISION} digits does not fit into 128 bits"),
                format!(
                    "declare fewer digits with .numeric(\"{name}\", 38, 10), or cast it in the query: {quoted}::{text} AS \
                     {quoted}"
                ),
            ),
            Refusal::NotNumeric => Problem::new(
                at,
                format!("precision and scale are declared, but the type is {type_}"),
                "remove the declaration",
            ),
        }
    }
}

fn form(type_: &Type, modifier: i32, declared: Option<Numeric>) -> Result<Form, Refusal> {
    match type_.kind() {
        TypeKind::Array(items) => {
            let form = scalar(items, modifier, declared)?;
            Ok(Form::List { items: Box::new(form), oid: items.oid() })
        }
        TypeKind::Domain(base) if matches!(base.kind(), TypeKind::Array(_) | TypeKind::Domain(_)) => {
            form(base, modifier, declared)
        }
        _ => scalar(type_, modifier, declared),
    }
}

fn scalar(type_: &Type, modifier: i32, declared: Option<Numeric>) -> Result<Form, Refusal> {
    if let TypeKind::Domain(base) = type_.kind() {
        return scalar(base, modifier, declared);
    }
    if *type_ == Type::NUMERIC {
        return decimal(modifier, declared);
    }
    if declared.is_some() {
        return Err(Refusal::NotNumeric);
    }
    match type_.kind() {
        TypeKind::Enum(_) => Ok(Form::Text),
        // Text without regard to case, of an extension that comes with PostgreSQL; it is sent as text is.
        TypeKind::Simple if type_.name() == "citext" => Ok(Form::Text),
        _ => Form::of(type_).ok_or(Refusal::Type),
    }
}

/// A `numeric(precision, scale)`, from the declaration or else from the type modifier.
fn decimal(modifier: i32, declared: Option<Numeric>) -> Result<Form, Refusal> {
    if let Some(Numeric { precision, scale }) = declared {
        // Checked when the source was built.
        return Ok(Form::Decimal { precision, scale: scale.cast_signed() });
    }
    if modifier < 4 {
        return Err(Refusal::Undeclared);
    }
    let packed = modifier - 4;
    let precision = packed >> 16;
    // Eleven bits with a sign: PostgreSQL 15 allows -1000 to 1000.
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    // A negative scale gives zeros in front of the point, one above the precision zeros behind it.
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if precision <= MAX_PRECISION => Ok(Form::Decimal { precision, scale }),
        _ => Err(Refusal::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_from_the_type_modifier() {
        let packed = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        for (modifier, expected) in [
            (packed(18, 2), Some((18, 2))),
            (packed(38, 38), Some((38, 38))),
            (packed(38, 0), Some((38, 0))),
            (packed(39, 0), None),
            (packed(1000, 500), None),
            // numeric(2,-3) counts thousands, numeric(3,5) has two zeros behind the point.
            (packed(2, -3), Some((5, 0))),
            (packed(3, 5), Some((5, 5))),
            (packed(30, -9), None),
            (-1, None),
        ] {
            let found = decimal(modifier, None).ok();
            let expected = expected.map(|(precision, scale)| Form::Decimal { precision, scale });
            assert_eq!(found, expected, "{modifier:x}");
        }
    }
}
