//! The declarative mapping.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, Scalar, StringArray,
    new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{self, kernels::zip::zip};
use arrow::datatypes::{Field, Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use super::convert::{Converted, Leniency, convert, refusal, text_column};
use super::{Mapped, MappedField, Mapping, Reject};
use crate::destination::RemoteSchema;
use crate::error::{Error, Kind, Problem, Result};
use crate::field_policy::FieldPolicy;
use crate::ids::{ColumnName, FieldName};
use crate::model::{column, is_text, missing_column};
use crate::normalise::{Normaliser, normalised};
use crate::record::{FieldType, Rows};

/// What a null in the column becomes.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum NullRule {
    /// The field is left as it is at the destination.
    #[default]
    Keep,
    /// The field is emptied.
    Clear,
    /// The field becomes this value.
    Default(Constant),
    /// The row is invalid.
    Reject,
}

impl fmt::Display for NullRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NullRule::Keep => "null keeps the field",
            NullRule::Clear => "null clears the field",
            NullRule::Default(_) => "null becomes the default",
            NullRule::Reject => "null rejects the row",
        })
    }
}

/// A value that a mapping sets itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Constant {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A decimal number: all digits as one whole number, and how many are behind the point.
    Decimal(i128, i8),
    /// True or false.
    Boolean(bool),
}

impl Constant {
    fn ty(&self) -> FieldType {
        match self {
            Constant::Text(_) => FieldType::Text,
            Constant::Integer(_) => FieldType::Integer,
            Constant::Float(_) => FieldType::Float,
            Constant::Decimal(_, scale) => FieldType::Decimal { precision: 38, scale: *scale },
            Constant::Boolean(_) => FieldType::Boolean,
        }
    }

    fn array(&self) -> ArrayRef {
        match self {
            Constant::Text(text) => Arc::new(StringArray::from(vec![text.as_str()])),
            Constant::Integer(number) => Arc::new(Int64Array::from(vec![*number])),
            Constant::Float(number) => Arc::new(Float64Array::from(vec![*number])),
            Constant::Decimal(unscaled, scale) => Arc::new(
                // A scale outside Arrow's range shows as a type that does not fit, in `plan`.
                Decimal128Array::from(vec![*unscaled])
                    .with_data_type(arrow::datatypes::DataType::Decimal128(38, *scale)),
            ),
            Constant::Boolean(flag) => Arc::new(BooleanArray::from(vec![*flag])),
        }
    }

    /// The value as a one-row column of `ty`, if it has an equal there.
    pub(crate) fn as_type(&self, ty: FieldType) -> Option<ArrayRef> {
        if refusal(&self.ty().arrow(), ty, Leniency::default()).is_some() {
            return None;
        }
        let converted = convert(&self.array(), ty, Leniency::default()).ok()?;
        converted.bad.is_none().then_some(converted.values)
    }
}

impl From<&str> for Constant {
    fn from(text: &str) -> Self {
        Constant::Text(text.to_owned())
    }
}

impl From<i64> for Constant {
    fn from(number: i64) -> Self {
        Constant::Integer(number)
    }
}

impl From<f64> for Constant {
    fn from(number: f64) -> Self {
        Constant::Float(number)
    }
}

impl From<bool> for Constant {
    fn from(flag: bool) -> Self {
        Constant::Boolean(flag)
    }
}

/// How one field is filled.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRule {
    from: Origin,
    to: FieldName,
    ty: FieldType,
    null: NullRule,
    policy: FieldPolicy,
    leniency: Leniency,
    normalisers: Vec<Normaliser>,
}

#[derive(Clone, Debug, PartialEq)]
enum Origin {
    Column(ColumnName),
    Constant(Constant),
    /// Nothing any more.
    Retired,
}

impl FieldRule {
    /// Fills the field `to` with the values of `column`, as values of type `ty`. A value that has no exact equal
    /// in `ty` makes its row invalid.
    pub fn column(column: impl Into<ColumnName>, to: impl Into<FieldName>, ty: FieldType) -> Self {
        Self {
            from: Origin::Column(column.into()),
            to: to.into(),
            ty,
            null: NullRule::Keep,
            policy: FieldPolicy::Overwrite,
            leniency: Leniency::default(),
            normalisers: Vec::new(),
        }
    }

    /// Fills the field `to` with the same value in every row.
    pub fn constant(value: impl Into<Constant>, to: impl Into<FieldName>) -> Self {
        let value = value.into();
        let ty = value.ty();
        Self {
            from: Origin::Constant(value),
            to: to.into(),
            ty,
            null: NullRule::Keep,
            policy: FieldPolicy::Overwrite,
            leniency: Leniency::default(),
            normalisers: Vec::new(),
        }
    }

    /// Says what a null becomes. Default: [`NullRule::Keep`].
    #[must_use]
    pub fn on_null(mut self, rule: NullRule) -> Self {
        self.null = rule;
        self
    }

    /// Changes the spelling of the column's texts, in this order, before anything else is done with them.
    ///
    /// ```
    /// use rsync_core::{FieldRule, FieldType, Normaliser};
    ///
    /// let email = FieldRule::column("mail", "email", FieldType::Text)
    ///     .normalise([Normaliser::Trim, Normaliser::Lowercase]);
    /// ```
    #[must_use]
    pub fn normalise(mut self, normalisers: impl IntoIterator<Item = Normaliser>) -> Self {
        self.normalisers = normalisers.into_iter().collect();
        self
    }

    /// Says what becomes of a value that the field already has at the destination. Default:
    /// [`FieldPolicy::Overwrite`].
    #[must_use]
    pub fn policy(mut self, policy: FieldPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Takes a text that is empty or only white space for a null.
    #[must_use]
    pub fn blank_as_null(mut self) -> Self {
        self.leniency.blank_as_null = true;
        self
    }

    /// Removes white space at both ends of a text.
    #[must_use]
    pub fn trim(mut self) -> Self {
        self.leniency.trim = true;
        self
    }

    /// Lets a conversion drop digits that the type cannot hold, instead of making the row invalid.
    #[must_use]
    pub fn round(mut self) -> Self {
        self.leniency.round = true;
        self
    }

    /// Reads days, and times without a zone, as moments in UTC.
    #[must_use]
    pub fn assume_utc(mut self) -> Self {
        self.leniency.assume_utc = true;
        self
    }

    fn source_column(&self) -> Option<ColumnName> {
        match &self.from {
            Origin::Column(column) => Some(column.clone()),
            Origin::Constant(_) | Origin::Retired => None,
        }
    }

    /// Whether values that differ after normalising give values that differ.
    fn is_one_to_one(&self, input: &SchemaRef) -> bool {
        // A text has many spellings of one number or day: "7" and "07".
        let reads_text = |column: &ColumnName| {
            let field = input.field_with_name(column.as_str());
            self.ty != FieldType::Text && field.is_ok_and(|field| is_text(field.data_type()))
        };
        let Origin::Column(column) = &self.from else { return false };
        !self.leniency.trim && !self.leniency.round && !reads_text(column)
    }

    fn problems(&self, input: &SchemaRef, remote: Option<&RemoteSchema>, problems: &mut Vec<Problem>) {
        let at = format!("mapping.{}", self.to);
        match &self.from {
            Origin::Column(column) => match input.field_with_name(column.as_str()) {
                Err(_) => problems.push(missing_column(&at, column, input)),
                Ok(field) => {
                    if !self.normalisers.is_empty() && !is_text(field.data_type()) {
                        problems.push(Problem::new(
                            &at,
                            format!("column \"{column}\" is {}, and only texts can be normalised", field.data_type()),
                            "take normalise away, or make the column a text in the query",
                        ));
                    }
                    if let Some((cause, fix)) = refusal(field.data_type(), self.ty, self.leniency) {
                        problems.push(Problem::new(&at, format!("column \"{column}\": {cause}"), fix));
                    }
                }
            },
            Origin::Constant(value) => {
                if value.as_type(self.ty).is_none() {
                    problems.push(Problem::new(&at, "the constant cannot be represented", "name another constant"));
                }
            }
            Origin::Retired => {}
        }
        if let NullRule::Default(value) = &self.null
            && value.as_type(self.ty).is_none()
        {
            problems.push(Problem::new(
                &at,
                format!("the default for null is no {}", self.ty),
                "give a default of the field's type",
            ));
        }
        if let Some(remote) = remote {
            self.remote_problems(&at, remote, problems);
        }
    }

    fn remote_problems(&self, at: &str, remote: &RemoteSchema, problems: &mut Vec<Problem>) {
        let Some(field) = remote.field(self.to.as_str()) else {
            problems.push(match remote.others.as_ref().and_then(|others| (others.refusal)(self.to.as_str())) {
                Some(refusal) => Problem::new(at, refusal.cause, refusal.fix),
                None => Problem::new(
                    at,
                    format!("the destination has no field \"{}\"", self.to),
                    format!("create it there, or name one of its fields: {}", nearest(remote, self.to.as_str())),
                ),
            });
            return;
        };
        // A field that identifies records can be matched on without being written; the plan knows whether it is.
        if !field.writable && !field.unique {
            problems.push(read_only(at));
        }
        if !field.accepts(self.ty) && self.from != Origin::Retired {
            problems.push(Problem::new(
                at,
                format!("a destination field of type {} takes no {}", field.type_name, self.ty),
                "map the column to a type that the field takes",
            ));
        }
    }

    fn apply(&self, input: &RecordBatch) -> Result<Filled> {
        let Converted { mut values, bad } = match &self.from {
            Origin::Retired => Converted { values: new_null_array(&self.ty.arrow(), input.num_rows()), bad: None },
            Origin::Column(name) => {
                let mut values = column(input, name)?;
                if !self.normalisers.is_empty() {
                    values = normalised(&text_column(&values)?, &self.normalisers);
                }
                convert(&values, self.ty, self.leniency)?
            }
            Origin::Constant(value) => {
                let one = value.as_type(self.ty).ok_or_else(unplanned)?;
                let indices = arrow::array::UInt32Array::from(vec![0; input.num_rows()]);
                Converted { values: compute::take(&one, &indices, None).map_err(|_| unplanned())?, bad: None }
            }
        };
        let (mut presence, mut null) = (None, None);
        if values.null_count() > 0 {
            match &self.null {
                NullRule::Clear => {}
                NullRule::Keep => presence = values.nulls().map(|nulls| nulls.inner().clone()),
                NullRule::Default(value) => {
                    let fill = Scalar::new(value.as_type(self.ty).ok_or_else(unplanned)?);
                    let set = compute::is_not_null(&values).map_err(|_| unplanned())?;
                    values = zip(&set, &values, &fill).map_err(|_| unplanned())?;
                }
                NullRule::Reject => {
                    let nulls: BooleanBuffer = (0..values.len()).map(|row| values.is_null(row)).collect();
                    null = Some(bad.as_ref().map_or_else(|| nulls.clone(), |bad| &nulls & &!bad));
                }
            }
        }
        Ok(Filled { values, presence, bad, null })
    }
}

/// A filled field: its values, which cells are present, which rows could not be converted, and which may not be
/// null but are.
struct Filled {
    values: ArrayRef,
    presence: Option<BooleanBuffer>,
    bad: Option<BooleanBuffer>,
    null: Option<BooleanBuffer>,
}

fn unplanned() -> Error {
    Error::new(Kind::Internal, "map a batch", "the mapping was used without a successful plan")
}

/// A field that a mapping names and nobody can write.
pub(crate) fn read_only(at: &str) -> Problem {
    Problem::new(at, "the destination's field is read-only", "map to a field that can be written")
}

/// Field names that begin like `name`, or the first ones.
fn nearest(remote: &RemoteSchema, name: &str) -> String {
    let lower = |name: &str| name.to_lowercase();
    let (prefix, name): (String, String) = (lower(name).chars().take(3).collect(), lower(name));
    let mut names: Vec<&str> = remote.fields.iter().filter(|field| field.writable).map(|f| f.name.as_str()).collect();
    names.sort_by_key(|candidate| {
        let lower = lower(candidate);
        (lower != name, !lower.starts_with(&prefix), *candidate)
    });
    names.truncate(10);
    names.join(", ")
}

/// A mapping that names every field, its column, its type and its rule for nulls.
///
/// ```
/// use rsync_core::mapping::{FieldMap, FieldRule, NullRule};
/// use rsync_core::record::FieldType;
///
/// let mapping = FieldMap::new()
///     .field(FieldRule::column("customerID", "customer_id", FieldType::Text))
///     .field(FieldRule::column("TotalCharges", "total_charges", FieldType::Decimal { precision: 10, scale: 2 })
///         .blank_as_null()
///         .on_null(NullRule::Clear))
///     .field(FieldRule::constant("warehouse", "data_source"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldMap {
    rules: Vec<FieldRule>,
}

impl FieldMap {
    /// A mapping of no fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, rule: FieldRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Empties `field` in the records where this sync wrote it, once, and leaves it alone everywhere else. Without it, a
    /// field that is no longer mapped stays as it is.
    ///
    /// Say it in the change that takes the field out of the mapping: when the state is tidied up, it forgets fields that
    /// a mapping no longer names. What only a write of unknown fate had set is not known as ours.
    ///
    /// ```
    /// # use rsync_core::{FieldMap, FieldRule, FieldType};
    /// let mapping = FieldMap::new()
    ///     .field(FieldRule::column("email", "email", FieldType::Text))
    ///     .retired("lead_score_v1");
    /// ```
    #[must_use]
    pub fn retired(mut self, field: impl Into<FieldName>) -> Self {
        let (from, to, ty, null) = (Origin::Retired, field.into(), FieldType::Text, NullRule::Clear);
        self.rules.push(FieldRule {
            from,
            to,
            ty,
            null,
            leniency: Leniency::default(),
            policy: FieldPolicy::Overwrite,
            normalisers: Vec::new(),
        });
        self
    }
}

impl Mapping for FieldMap {
    fn columns(&self) -> Vec<ColumnName> {
        let mut columns: Vec<ColumnName> = Vec::new();
        for rule in &self.rules {
            if let Origin::Column(column) = &rule.from
                && !columns.contains(column)
            {
                columns.push(column.clone());
            }
        }
        columns
    }

    fn plan(&self, input: &SchemaRef, remote: Option<&RemoteSchema>) -> Result<Vec<MappedField>> {
        let mut problems = Vec::new();
        if self.rules.is_empty() {
            problems.push(Problem::new("mapping", "it maps no field", "add fields with FieldMap::field"));
        }
        for (i, rule) in self.rules.iter().enumerate() {
            if self.rules[..i].iter().any(|other| other.to == rule.to) {
                problems.push(Problem::new(
                    format!("mapping.{}", rule.to),
                    "the field is mapped twice",
                    "remove one of the two rules",
                ));
            }
            rule.problems(input, remote, &mut problems);
        }
        Error::from_problems(Kind::SchemaMismatch, "plan the mapping", problems)?;
        Ok(self
            .rules
            .iter()
            .map(|rule| MappedField {
                name: rule.to.clone(),
                ty: rule.ty,
                from: rule.source_column(),
                on_null: matches!(rule.from, Origin::Column(_)).then(|| rule.null.clone()),
                rule: xxh3_64(format!("{rule:?}").as_bytes()),
                retired: rule.from == Origin::Retired,
                policy: rule.policy,
                normalisers: rule.normalisers.clone(),
                one_to_one: rule.is_one_to_one(input),
            })
            .collect())
    }

    fn apply(&self, input: &RecordBatch) -> Result<Mapped> {
        let n = input.num_rows();
        let (mut fields, mut columns, mut masks, mut rejects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for rule in &self.rules {
            let Filled { values, presence, bad, null } = rule.apply(input)?;
            for (rows, code) in [(bad, "not_convertible"), (null, "null")] {
                rejects.extend(rows.iter().flat_map(BooleanBuffer::set_indices).map(|row| Reject {
                    row,
                    field: rule.to.clone(),
                    column: rule.source_column(),
                    code,
                }));
            }
            fields.push(Field::new(rule.to.as_str(), rule.ty.arrow(), true));
            debug_assert_eq!(values.data_type(), &rule.ty.arrow());
            columns.push(if values.len() == n { values } else { new_null_array(&rule.ty.arrow(), n) });
            masks.push(presence);
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|e| Error::new(Kind::Internal, "map a batch", "the mapped columns do not fit").with_source(e))?;
        let rows = masks
            .into_iter()
            .enumerate()
            .filter_map(|(index, mask)| Some((index, mask?)))
            .fold(Rows::new(batch)?, |rows, (index, mask)| rows.with_presence(index, mask));
        Ok(Mapped { rows, rejects })
    }
}
