//! DataFusion's errors as the library's.
//!
//! What DataFusion says while it plans is about the host's own SQL and is passed on. What it says while it reads may
//! quote cells, so there only the class of the error, column numbers and line numbers get out.

use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use rsync_core::{Error, Kind, Retry};

const PLAN: &str = "plan the model";
const READ: &str = "read the model";

/// An error that was met before any row was read.
pub(crate) fn planning(error: DataFusionError) -> Error {
    let root = error.find_root();
    let (kind, remedy) = match root {
        DataFusionError::SQL(..) => (Kind::InvalidConfig, "correct the SQL"),
        DataFusionError::Plan(..) => {
            (Kind::InvalidConfig, "correct the SQL; names of tables and functions are those that were registered")
        }
        DataFusionError::SchemaError(..) => {
            (Kind::SchemaMismatch, "correct the column names in the SQL; upper and lower case count")
        }
        DataFusionError::NotImplemented(..) => (Kind::Unsupported, "write the query another way"),
        DataFusionError::Configuration(..) => (Kind::InvalidConfig, "correct the settings of the session"),
        // Files are opened while planning, and constants are computed: those texts are not about the SQL alone.
        _ => return reading(&error),
    };
    let text = root.strip_backtrace();
    // A planner's second line, such as the list of valid columns, is part of the answer.
    Error::new(kind, PLAN, text.trim_end().replace('\n', "; ")).with_remedy(remedy)
}

/// An error that was met while rows were read.
pub(crate) fn reading(error: &DataFusionError) -> Error {
    let root = error.find_root();
    match root {
        DataFusionError::ArrowError(arrow, _) => from_arrow(arrow),
        DataFusionError::ParquetError(_) => {
            incomplete("a Parquet file is damaged, cut off or of an unknown kind").with_remedy("write the file again")
        }
        DataFusionError::IoError(e) => io(e.kind()),
        DataFusionError::ObjectStore(e) => store(e),
        DataFusionError::ResourcesExhausted(_) => incomplete("the query needs more memory than its limit")
            .with_remedy("raise the memory limit, allow spilling, or write the query without a large sort or join"),
        DataFusionError::NotImplemented(_) => {
            Error::new(Kind::Unsupported, READ, "DataFusion cannot execute a part of the query")
        }
        DataFusionError::ExecutionJoin(_) | DataFusionError::Internal(_) => {
            Error::new(Kind::Internal, READ, "DataFusion failed inside").with_context("class", class(root))
        }
        DataFusionError::External(e) => match (e.downcast_ref::<BadCsv>(), e.downcast_ref::<ArrowError>()) {
            (Some(bad), _) => bad.error(),
            (None, Some(arrow)) => from_arrow(arrow),
            (None, None) => incomplete("the query failed").with_context("class", class(root)),
        },
        _ => incomplete("the query failed").with_context("class", class(root)),
    }
}

fn incomplete(message: &'static str) -> Error {
    Error::new(Kind::SourceIncomplete, READ, message)
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::JsonError(_) => malformed_json(),
        ArrowError::CsvError(_) => incomplete("a CSV file cannot be read"),
        // Casts of text to numbers and times end here.
        ArrowError::CastError(_) | ArrowError::ParseError(_) | ArrowError::ComputeError(_) => {
            incomplete("a value cannot be converted or computed")
                .with_remedy("use TRY_CAST in the SQL, or leave out the rows with a condition")
        }
        ArrowError::DivideByZero => incomplete("a division by zero").with_remedy("use NULLIF around the divisor"),
        ArrowError::ArithmeticOverflow(_) => {
            incomplete("a number does not fit its type").with_remedy("cast to a wider type in the SQL")
        }
        ArrowError::IoError(_, e) => io(e.kind()),
        ArrowError::ExternalError(e) => match e.downcast_ref::<DataFusionError>() {
            Some(inner) => reading(inner),
            None => incomplete("the query failed").with_context("class", "ExternalError"),
        },
        _ => incomplete("the query failed").with_context("class", "ArrowError"),
    }
}

fn io(kind: std::io::ErrorKind) -> Error {
    incomplete("a file cannot be read").with_context("cause", kind)
}

fn store(error: &datafusion::object_store::Error) -> Error {
    use datafusion::object_store::Error as Store;
    match error {
        Store::NotFound { .. } => Error::new(Kind::NotFound, READ, "a file does not exist"),
        Store::PermissionDenied { .. } => Error::new(Kind::Forbidden, READ, "a file may not be read"),
        Store::Unauthenticated { .. } => {
            Error::new(Kind::Unauthenticated, READ, "the object store refused the credentials")
        }
        // A read has no effect, so another attempt is safe.
        _ => Error::new(Kind::Unavailable, READ, "the file or object store failed").with_retry(Retry::Backoff),
    }
}

fn class(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::Execution(_) => "Execution",
        DataFusionError::ExecutionJoin(_) => "ExecutionJoin",
        DataFusionError::Internal(_) => "Internal",
        DataFusionError::External(_) => "External",
        DataFusionError::Plan(_) => "Plan",
        DataFusionError::Collection(_) => "Collection",
        _ => "other",
    }
}

/// Where a CSV file cannot be read: the way of our own reader through DataFusion.
#[derive(Clone, Debug, thiserror::Error)]
#[error("malformed CSV")]
pub(crate) struct BadCsv {
    pub(crate) table: String,
    pub(crate) path: PathBuf,
    pub(crate) column: Option<String>,
    pub(crate) line: Option<u64>,
}

impl BadCsv {
    pub(crate) fn error(&self) -> Error {
        let message = match self.column {
            Some(_) => "a cell cannot be read as the type of its column",
            None => "a row has another number of cells than the header, a cell of another type, or invalid UTF-8",
        };
        let mut error = incomplete(message).with_context("table", &self.table);
        if let Some(column) = &self.column {
            error = error.with_context("column", column);
        }
        if let Some(line) = self.line {
            error = error.with_context("line", line);
        }
        error.with_context("path", self.path.display()).with_remedy(
            "mend the file, or leave the column text and use TRY_CAST in the SQL; check the delimiter and the quotes",
        )
    }
}

/// A JSON file that cannot be read.
pub(crate) fn malformed_json() -> Error {
    incomplete("a line is not a JSON object, or a field has a type that it has nowhere else")
        .with_remedy("mend the file: one JSON object a line, each field of one type")
}

/// What may be told of a cell that could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Position of the column in the file, from 0.
    pub(crate) column: Option<usize>,
    /// Line of the file, from 1; fewer where line breaks stand inside quotes.
    pub(crate) line: Option<u64>,
}

/// Picks column and line out of a text that also quotes the cell.
pub(crate) fn arrow_cause(error: &ArrowError) -> Cause {
    match error {
        ArrowError::ParseError(text) => Cause {
            column: number_after(text, " for column ").and_then(|n| usize::try_from(n).ok()),
            // Counted from 0 here and from 1 below.
            line: number_after(text, " at line ").map(|line| line + 1),
        },
        ArrowError::CsvError(text) => Cause { column: None, line: number_after(text, " for line ") },
        _ => Cause::default(),
    }
}

/// The number behind `mark`, if the mark stands exactly once: a cell may hold the mark too, and then the number
/// might be the cell's.
fn number_after(text: &str, mark: &str) -> Option<u64> {
    let (before, after) = text.split_once(mark)?;
    if before.contains(mark) || after.contains(mark) {
        return None;
    }
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_told_and_cells_are_not() {
        let error = ArrowError::ParseError(
            "Error while parsing value 'ada@example.com' as type 'Int64' for column 2 at line 7. Row data: '[1,x]'"
                .into(),
        );
        assert_eq!(arrow_cause(&error), Cause { column: Some(2), line: Some(8) });
    }

    #[test]
    fn a_cell_that_looks_like_a_position_hides_it() {
        let error = ArrowError::ParseError(
            "Error while parsing value 'x at line 5551234' as type 'Int64' for column 2 at line 7. Row data: '[]'"
                .into(),
        );
        assert_eq!(arrow_cause(&error), Cause { column: Some(2), line: None });
    }

    #[test]
    fn execution_texts_stay_inside() {
        for error in [
            DataFusionError::Execution("bad value ada@example.com".into()),
            DataFusionError::ArrowError(
                Box::new(ArrowError::CastError("Cannot cast string 'ada@example.com'".into())),
                None,
            ),
            DataFusionError::External("ada@example.com".into()),
            DataFusionError::Context(
                "ada@example.com".into(),
                Box::new(DataFusionError::Internal("ada@example.com".into())),
            ),
            DataFusionError::ArrowError(
                Box::new(ArrowError::ExternalError(Box::new(DataFusionError::Execution("ada@example.com".into())))),
                None,
            ),
        ] {
            let shown = format!("{:?}", planning(error));
            assert!(!shown.contains("ada"), "{shown}");
        }
    }
}
