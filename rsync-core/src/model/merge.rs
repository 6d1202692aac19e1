//! Several rows of one key become one.

use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use arrow::compute::{self, CastOptions};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::missing_column;
use crate::error::{Error, Kind, Problem, Result};
use crate::ids::ColumnName;

/// A merge of one's own.
pub trait MergeRows: Debug + Send + Sync + 'static {
    /// Makes one row of `rows`, which have one key, at least two of them, in no particular order. `None` leaves them as
    /// they are: invalid. The row must have the columns and types of `rows`, and its key. Pure: the same rows in any
    /// order give the same row.
    ///
    /// # Errors
    ///
    /// Only for a defect; it ends the plan.
    fn merge(&self, rows: &RecordBatch) -> Result<Option<RecordBatch>>;
}

/// How the values of one column become one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fold {
    /// Their sum; nulls do not count, and the sum of nulls is null. Of whole numbers, decimals and floats; a sum that the
    /// column's type cannot hold leaves the rows as they are. Floats are added in ascending order, so that the order of
    /// the rows does not matter.
    Sum,
    /// The highest; nulls do not count.
    Max,
    /// The lowest; nulls do not count.
    Min,
    /// The value that is not null of the row in which the column `by` is lowest. Rows in which that column is null do not
    /// count, and where two rows are lowest with different values the rows are left as they are.
    FirstNonNull {
        /// The column that orders the rows.
        by: ColumnName,
    },
}

/// Which row gives the columns that are not folded.
#[derive(Clone)]
enum Survivor {
    Max(ColumnName),
    Min(ColumnName),
    Alike,
    Custom(Arc<dyn MergeRows>),
}

/// What becomes of rows with the same key: one row, by a named rule ([`Model::merge`](crate::Model::merge)).
///
/// Rows that the rule does not make one of stay invalid, all of them (`key_duplicated`): a tie between rows that differ, a
/// sum that does not fit, a cell that the source could not represent. A mark of [`Exits::when`](crate::Exits::when) is a
/// column like others: the surviving row's counts.
///
/// ```
/// use rsync_core::model::{Fold, Merge};
///
/// // The newest row, with the revenue of all.
/// let newest = Merge::max_by("updated_at").fold("revenue", Fold::Sum);
/// // Rows that only differ in their amounts.
/// let total = Merge::alike().fold("amount", Fold::Sum).fold("last_seen", Fold::Max);
/// ```
#[derive(Clone)]
pub struct Merge {
    survivor: Survivor,
    folds: Vec<(ColumnName, Fold)>,
}

impl Merge {
    fn new(survivor: Survivor) -> Self {
        Self { survivor, folds: Vec::new() }
    }

    /// The row in which `column` is highest. A null is below all.
    pub fn max_by(column: impl Into<ColumnName>) -> Self {
        Self::new(Survivor::Max(column.into()))
    }

    /// The row in which `column` is lowest. A null is above all.
    pub fn min_by(column: impl Into<ColumnName>) -> Self {
        Self::new(Survivor::Min(column.into()))
    }

    /// Rows that are alike in all columns that are not [folded](Merge::fold).
    pub fn alike() -> Self {
        Self::new(Survivor::Alike)
    }

    /// A merge of one's own; folds do not apply to it.
    pub fn custom(merge: impl MergeRows) -> Self {
        Self::new(Survivor::Custom(Arc::new(merge)))
    }

    /// Takes the values of `column` from all rows, by a rule of its own.
    #[must_use]
    pub fn fold(mut self, column: impl Into<ColumnName>, fold: Fold) -> Self {
        self.folds.push((column.into(), fold));
        self
    }

    /// The columns that it reads by name.
    pub(super) fn columns(&self) -> impl Iterator<Item = &ColumnName> {
        let survivor = match &self.survivor {
            Survivor::Max(column) | Survivor::Min(column) => Some(column),
            Survivor::Alike | Survivor::Custom(_) => None,
        };
        let by = self.folds.iter().filter_map(|(_, fold)| match fold {
            Fold::FirstNonNull { by } => Some(by),
            _ => None,
        });
        survivor.into_iter().chain(self.folds.iter().map(|(column, _)| column)).chain(by)
    }

    pub(super) fn problems(&self, key: &[ColumnName], schema: &SchemaRef, problems: &mut Vec<Problem>) {
        for column in self.columns() {
            match schema.field_with_name(column.as_str()) {
                Err(_) => problems.push(missing_column("model.merge", column, schema)),
                Ok(field) if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) => {
                    let cause = format!("values of type {} have no order", field.data_type());
                    problems.push(Problem::new(format!("model.merge.{column}"), cause, "name another column"));
                }
                Ok(_) => {}
            }
        }
        let mut refuse = |column: &ColumnName, cause: String, fix| {
            problems.push(Problem::new(format!("model.merge.{column}"), cause, fix));
        };
        for (i, (column, fold)) in self.folds.iter().enumerate() {
            if key.contains(column) {
                refuse(column, "a column of the key is the same in all rows".into(), "fold another column");
            }
            if self.folds[..i].iter().any(|(other, _)| other == column) {
                refuse(column, "the column is folded twice".into(), "remove one of the two folds");
            }
            if let (Fold::Sum, Ok(field)) = (fold, schema.field_with_name(column.as_str()))
                && sum_type(field.data_type()).is_none()
            {
                let cause = format!("a column of type {} has no sum", field.data_type());
                refuse(column, cause, "cast it in the query to a whole number, a decimal or a float");
            }
        }
        if matches!(self.survivor, Survivor::Custom(_)) && !self.folds.is_empty() {
            problems.push(Problem::new("model.merge", "folds do not apply to a custom merge", "fold in the merge"));
        }
    }

    /// Merges rows by their keys, which stand side by side with them. Rows with a key of their own pass.
    pub(crate) fn apply(&self, batch: &RecordBatch, keys: &[u128]) -> Result<Merged> {
        let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
        order.sort_by_key(|row| keys[*row as usize]);
        let groups = order.chunk_by(|a, b| keys[*a as usize] == keys[*b as usize]);
        if let Survivor::Custom(merge) = &self.survivor {
            return custom(&**merge, batch, groups);
        }
        let rule = Rule::new(self, batch)?;
        let (mut survivors, mut left, mut folded) = (Vec::new(), Vec::new(), 0);
        let mut values: Vec<Column> = rule.folds.iter().map(|fold| fold.column()).collect();
        'groups: for group in groups {
            let Some(survivor) = rule.survivor(group) else {
                left.extend_from_slice(group);
                continue;
            };
            let mut picked = Vec::with_capacity(values.len());
            for fold in &rule.folds {
                let Some(value) = fold.value(group) else {
                    left.extend_from_slice(group);
                    continue 'groups;
                };
                picked.push(value);
            }
            survivors.push(survivor);
            values.iter_mut().zip(picked).for_each(|(column, value)| column.push(value));
            folded += group.len() as u64 - 1;
        }
        let mut columns = take(batch, &survivors)?.columns().to_vec();
        for (fold, column) in rule.folds.iter().zip(values) {
            columns[fold.index] = column.finish(&fold.array)?;
        }
        let batch_of = |columns| RecordBatch::try_new(batch.schema(), columns).map_err(failed);
        Ok(Merged { rows: batch_of(columns)?, left: take(batch, &left)?, folded })
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        let survivor = match (&self.survivor, &other.survivor) {
            (Survivor::Max(a), Survivor::Max(b)) | (Survivor::Min(a), Survivor::Min(b)) => a == b,
            (Survivor::Alike, Survivor::Alike) => true,
            (Survivor::Custom(a), Survivor::Custom(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        survivor && self.folds == other.folds
    }
}

impl Eq for Merge {}

impl Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Merge");
        match &self.survivor {
            Survivor::Max(column) => shown.field("max_by", column),
            Survivor::Min(column) => shown.field("min_by", column),
            Survivor::Alike => shown.field("alike", &true),
            Survivor::Custom(merge) => shown.field("custom", merge),
        };
        shown.field("folds", &self.folds).finish()
    }
}

/// What a merge made.
pub(crate) struct Merged {
    /// One row a key.
    pub(crate) rows: RecordBatch,
    /// Rows that stay several.
    pub(crate) left: RecordBatch,
    /// Rows that went into others.
    pub(crate) folded: u64,
}

fn failed(e: arrow::error::ArrowError) -> Error {
    Error::new(Kind::Internal, "merge rows", "the columns were checked but cannot be merged").with_source(e)
}

fn take(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    compute::take_record_batch(batch, &UInt32Array::from(rows.to_vec())).map_err(failed)
}

fn custom<'g>(merge: &dyn MergeRows, batch: &RecordBatch, groups: impl Iterator<Item = &'g [u32]>) -> Result<Merged> {
    let (mut rows, mut left, mut folded) = (vec![batch.slice(0, 0)], Vec::new(), 0);
    for group in groups {
        let several = take(batch, group)?;
        let merged = if group.len() == 1 { Some(several) } else { merge.merge(&several)? };
        match merged {
            None => left.extend_from_slice(group),
            Some(one) if one.num_rows() == 1 && one.schema_ref().fields() == batch.schema_ref().fields() => {
                folded += group.len() as u64 - 1;
                rows.push(one);
            }
            Some(other) => {
                let error = Error::new(Kind::Internal, "merge rows", "the merge did not make one row of these columns");
                return Err(error
                    .with_context("rows", other.num_rows())
                    .with_remedy("this is a defect in the custom merge"));
            }
        }
    }
    let rows = compute::concat_batches(batch.schema_ref(), &rows).map_err(failed)?;
    Ok(Merged { rows, left: take(batch, &left)?, folded })
}

/// Values that can be compared: any type, nulls first.
fn comparable(columns: &[ArrayRef]) -> Result<Rows> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns)).map_err(failed)
}

/// A merge over one batch.
struct Rule {
    /// The order of survivors, whether the highest survives, and which rows have a value.
    order: Option<(Rows, bool, ArrayRef)>,
    /// What must be alike in rows that tie.
    rest: Rows,
    folds: Vec<FoldOver>,
}

impl Rule {
    fn new(merge: &Merge, batch: &RecordBatch) -> Result<Self> {
        let index = |name: &ColumnName| batch.schema_ref().index_of(name.as_str()).map_err(failed);
        let order = match &merge.survivor {
            Survivor::Max(name) | Survivor::Min(name) => {
                let column = Arc::clone(batch.column(index(name)?));
                let highest = matches!(merge.survivor, Survivor::Max(_));
                Some((comparable(std::slice::from_ref(&column))?, highest, column))
            }
            Survivor::Alike | Survivor::Custom(_) => None,
        };
        let folds = merge
            .folds
            .iter()
            .map(|(name, fold)| FoldOver::new(index(name)?, fold, batch))
            .collect::<Result<Vec<_>>>()?;
        let unfolded = |at: &usize| folds.iter().all(|fold| fold.index != *at);
        let rest: Vec<ArrayRef> =
            (0..batch.num_columns()).filter(unfolded).map(|at| Arc::clone(batch.column(at))).collect();
        Ok(Self { order, rest: comparable(&rest)?, folds })
    }

    /// The row that survives; `None` if there is a tie between rows that differ.
    fn survivor(&self, group: &[u32]) -> Option<u32> {
        let Some((order, highest, column)) = &self.order else { return self.one_of(group) };
        let valued: Vec<u32> = group.iter().copied().filter(|row| column.is_valid(*row as usize)).collect();
        let rows = if valued.is_empty() { group } else { &valued };
        let place = |row: &u32| order.row(*row as usize);
        let best = rows.iter().map(place).reduce(|a, b| if (b > a) == *highest && a != b { b } else { a })?;
        let tied: Vec<u32> = rows.iter().copied().filter(|row| place(row) == best).collect();
        self.one_of(&tied)
    }

    /// Any of the rows, if they are alike.
    fn one_of(&self, rows: &[u32]) -> Option<u32> {
        let first = *rows.first()?;
        rows.iter().all(|row| self.rest.row(*row as usize) == self.rest.row(first as usize)).then_some(first)
    }
}

/// The type that values are added in.
fn sum_type(ty: &DataType) -> Option<DataType> {
    match ty {
        ty if ty.is_integer() => Some(DataType::Int64),
        DataType::Decimal128(_, _) => Some(ty.clone()),
        ty if ty.is_floating() => Some(DataType::Float64),
        _ => None,
    }
}

/// One fold over one batch.
struct FoldOver {
    index: usize,
    array: ArrayRef,
    how: How,
}

enum How {
    Sum(ArrayRef),
    Best { order: Rows, highest: bool },
    First { by: Rows, known: ArrayRef, values: Rows },
}

/// A folded value: the row that has it, or a number of its own.
#[derive(Clone, Copy)]
enum Folded {
    Row(Option<u32>),
    Integer(Option<i64>),
    Decimal(Option<i128>),
    Float(Option<f64>),
}

/// Folded values of a column.
enum Column {
    Rows(Vec<Option<u32>>),
    Integers(Vec<Option<i64>>),
    Decimals(Vec<Option<i128>>),
    Floats(Vec<Option<f64>>),
}

impl FoldOver {
    fn new(index: usize, fold: &Fold, batch: &RecordBatch) -> Result<Self> {
        let array = Arc::clone(batch.column(index));
        let order = || comparable(std::slice::from_ref(&array));
        let how = match fold {
            Fold::Sum => {
                let ty = sum_type(array.data_type())
                    .ok_or_else(|| Error::new(Kind::Internal, "merge rows", "the column has no sum"))?;
                let options = CastOptions { safe: false, ..CastOptions::default() };
                How::Sum(compute::cast_with_options(&array, &ty, &options).map_err(failed)?)
            }
            Fold::Max => How::Best { order: order()?, highest: true },
            Fold::Min => How::Best { order: order()?, highest: false },
            Fold::FirstNonNull { by } => {
                let by = Arc::clone(batch.column(batch.schema_ref().index_of(by.as_str()).map_err(failed)?));
                How::First { by: comparable(std::slice::from_ref(&by))?, known: by, values: order()? }
            }
        };
        Ok(Self { index, array, how })
    }

    fn column(&self) -> Column {
        match &self.how {
            How::Sum(values) => match values.data_type() {
                DataType::Int64 => Column::Integers(Vec::new()),
                DataType::Float64 => Column::Floats(Vec::new()),
                _ => Column::Decimals(Vec::new()),
            },
            _ => Column::Rows(Vec::new()),
        }
    }

    /// The value of a group; `None` if there is none that is sure.
    fn value(&self, group: &[u32]) -> Option<Folded> {
        match &self.how {
            How::Sum(values) => self.sum(values, group),
            How::Best { order, highest } => {
                let valued = group.iter().copied().filter(|row| self.array.is_valid(*row as usize));
                let place = |row: u32| order.row(row as usize);
                Some(Folded::Row(valued.reduce(|a, b| if (place(b) > place(a)) == *highest { b } else { a })))
            }
            How::First { by, known, values } => {
                let usable = |row: &u32| self.array.is_valid(*row as usize) && known.is_valid(*row as usize);
                let usable: Vec<u32> = group.iter().copied().filter(usable).collect();
                let Some(lowest) = usable.iter().map(|row| by.row(*row as usize)).min() else {
                    return Some(Folded::Row(None));
                };
                let mut first = usable.iter().copied().filter(|row| by.row(*row as usize) == lowest);
                let one = first.next()?;
                first.all(|row| values.row(row as usize) == values.row(one as usize)).then_some(Folded::Row(Some(one)))
            }
        }
    }

    fn sum(&self, values: &ArrayRef, group: &[u32]) -> Option<Folded> {
        let rows = || group.iter().map(|row| *row as usize).filter(|row| values.is_valid(*row));
        let any = rows().next().is_some();
        match values.data_type() {
            DataType::Int64 => {
                let numbers = values.as_primitive::<Int64Type>();
                let sum: i128 = rows().map(|row| i128::from(numbers.value(row))).sum();
                let sum = i64::try_from(sum).ok()?;
                // It must also fit where it came from.
                let back = compute::cast(&Int64Array::from(vec![sum]), self.array.data_type()).ok()?;
                back.is_valid(0).then_some(Folded::Integer(any.then_some(sum)))
            }
            DataType::Float64 => {
                let numbers = values.as_primitive::<Float64Type>();
                let mut terms: Vec<f64> = rows().map(|row| numbers.value(row)).collect();
                terms.sort_by(f64::total_cmp);
                let finite = terms.iter().all(|term| term.is_finite());
                let sum: f64 = terms.into_iter().sum();
                let fits = match self.array.data_type() {
                    DataType::Float32 => (sum as f32).is_finite(),
                    _ => sum.is_finite(),
                };
                (fits || !finite).then_some(Folded::Float(any.then_some(sum)))
            }
            DataType::Decimal128(precision, _) => {
                let numbers = values.as_primitive::<Decimal128Type>();
                let sum = rows().try_fold(0_i128, |sum, row| sum.checked_add(numbers.value(row)))?;
                let most = 10_i128.checked_pow(u32::from(*precision))?;
                (sum.unsigned_abs() < most.unsigned_abs()).then_some(Folded::Decimal(any.then_some(sum)))
            }
            _ => None,
        }
    }
}

impl Column {
    fn push(&mut self, value: Folded) {
        match (self, value) {
            (Column::Rows(values), Folded::Row(value)) => values.push(value),
            (Column::Integers(values), Folded::Integer(value)) => values.push(value),
            (Column::Decimals(values), Folded::Decimal(value)) => values.push(value),
            (Column::Floats(values), Folded::Float(value)) => values.push(value),
            // A fold gives values of one kind.
            _ => {}
        }
    }

    /// The values as a column like `array`, which they came from.
    fn finish(self, array: &ArrayRef) -> Result<ArrayRef> {
        let values: ArrayRef = match self {
            Column::Rows(rows) => return compute::take(array, &UInt32Array::from(rows), None).map_err(failed),
            Column::Integers(values) => Arc::new(Int64Array::from(values)),
            Column::Floats(values) => Arc::new(Float64Array::from(values)),
            Column::Decimals(values) => {
                Arc::new(Decimal128Array::from(values).with_data_type(array.data_type().clone()))
            }
        };
        match values.len() {
            0 => Ok(new_null_array(array.data_type(), 0)),
            _ => compute::cast(&values, array.data_type()).map_err(failed),
        }
    }
}
