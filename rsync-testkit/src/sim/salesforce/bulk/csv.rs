//! The files of jobs: taken apart by the service's rules, and written back as results.

use std::borrow::Cow;
use std::ops::Range;

/// What ends a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnding {
    Lf,
    CrLf,
}

/// A line does not end as the job says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongLineEnding;

/// Cells of a record, and what is wrong with it. The cells are there either way: results show them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) cells: Vec<Cow<'a, str>>,
    pub(crate) problem: Option<&'static str>,
}

/// Where a reader is in a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Plain,
    Quoted,
    /// After a quote that ends the cell unless another one follows.
    Closed,
}

impl Place {
    /// After a character that is neither the delimiter nor the end of a line, or stands in quotes.
    fn after(self, c: u8) -> Self {
        match (self, c) {
            (Self::CellStart | Self::Closed, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, _) => Self::Quoted,
            _ => Self::Plain,
        }
    }
}

/// Places of the records in a file, without their line ends. Empty lines are none. With `strict_cells`, line ends
/// inside of quotes must be of the file's kind too.
pub(crate) fn records(
    text: &str,
    delimiter: char,
    ending: LineEnding,
    strict_cells: bool,
) -> Result<Vec<Range<usize>>, WrongLineEnding> {
    let (bytes, mut found) = (text.as_bytes(), Vec::new());
    let (mut start, mut at, mut place) = (0, 0, Place::CellStart);
    while at < bytes.len() {
        let c = bytes[at];
        let pair = c == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        let line_end = match (c, ending) {
            (b'\n', LineEnding::Lf) => Some(1),
            (b'\r', LineEnding::CrLf) if pair => Some(2),
            (b'\r' | b'\n', _) => None,
            _ => Some(0),
        };
        match (place, line_end) {
            // A delimiter that is a multi-byte character does not exist, so bytes can be compared.
            (Place::Quoted, Some(0)) => place = place.after(c),
            (_, Some(0)) => {
                place = if char::from(c) == delimiter { Place::CellStart } else { place.after(c) };
            }
            (Place::Quoted, Some(length)) => at += length - 1,
            (Place::Quoted, None) if !strict_cells => {}
            (_, None) => return Err(WrongLineEnding),
            (_, Some(length)) => {
                if at > start {
                    found.push(start..at);
                }
                (start, place) = (at + length, Place::CellStart);
                at += length - 1;
            }
        }
        at += 1;
    }
    if start < bytes.len() {
        found.push(start..bytes.len());
    }
    Ok(found)
}

/// Takes one record apart.
pub(crate) fn cells(record: &str, delimiter: char) -> Record<'_> {
    let mut cells = Vec::new();
    let mut problem = None;
    let mut place = Place::CellStart;
    let (mut start, mut plain) = (0, true);
    let mut cell = |range: Range<usize>, plain: bool| {
        let text = &record[range];
        cells.push(if plain { Cow::Borrowed(text) } else { Cow::Owned(unquoted(text)) });
    };
    for (at, c) in record.bytes().enumerate() {
        if place != Place::Quoted && char::from(c) == delimiter {
            cell(start..at, plain);
            (start, plain, place) = (at + 1, true, Place::CellStart);
            continue;
        }
        let next = place.after(c);
        plain &= next != Place::Quoted;
        match (place, next) {
            (Place::Closed, Place::Plain) => problem = Some("a quoted value is followed by further text"),
            (Place::Plain, _) if c == b'"' => problem = Some("a quote stands inside a value that is not quoted"),
            _ => {}
        }
        place = next;
    }
    if place == Place::Quoted {
        problem = Some("a quoted value has no end");
    }
    cell(start..record.len(), plain);
    Record { cells, problem }
}

/// The text of a quoted cell: without the outer quotes, inner ones single.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').unwrap_or(text);
    inner.strip_suffix('"').unwrap_or(inner).replace("\"\"", "\"")
}

/// Adds a quoted cell.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELIMITERS: [char; 6] = [',', '`', '^', '|', ';', '\t'];

    fn split(text: &str, ending: LineEnding) -> Result<Vec<&str>, WrongLineEnding> {
        records(text, ',', ending, true).map(|found| found.into_iter().map(|range| &text[range]).collect())
    }

    #[test]
    fn records_end_as_the_job_says_and_nowhere_else() {
        use LineEnding::{CrLf, Lf};
        for (text, ending, expected) in [
            ("", Lf, Ok(vec![])),
            ("a\n", Lf, Ok(vec!["a"])),
            ("a", Lf, Ok(vec!["a"])),
            ("a\n\n\nb", Lf, Ok(vec!["a", "b"])),
            ("a,b\n\"1\n2\",3\n", Lf, Ok(vec!["a,b", "\"1\n2\",3"])),
            ("a\r\nb\n", Lf, Err(WrongLineEnding)),
            ("a\rb\n", Lf, Err(WrongLineEnding)),
            ("\"a\r\nb\"\n", Lf, Err(WrongLineEnding)),
            ("a\r\nb\r\n", CrLf, Ok(vec!["a", "b"])),
            ("\"a\r\nb\"\r\n", CrLf, Ok(vec!["\"a\r\nb\""])),
            ("a\nb\r\n", CrLf, Err(WrongLineEnding)),
            ("a\rb\r\n", CrLf, Err(WrongLineEnding)),
            ("\"a\nb\"\r\n", CrLf, Err(WrongLineEnding)),
            ("a\r\nb\r", CrLf, Err(WrongLineEnding)),
        ] {
            assert_eq!(split(text, ending), expected, "{text:?} {ending:?}");
        }
        let lenient = "\"a\r\nb\"\n";
        let found = records(lenient, ',', Lf, false).map(|found| found.len());
        assert_eq!(found, Ok(1), "line ends in quotes may be left alone");
    }

    #[test]
    fn quotes_enclose_a_whole_cell_or_the_row_is_wrong() {
        let wrong = |text: &str| cells(text, ',').problem.is_some();
        for (text, expected) in [
            ("", vec![""]),
            (",", vec!["", ""]),
            ("a, b ,\"c\"", vec!["a", " b ", "c"]),
            ("\"a,\"\"b\"\"\",", vec!["a,\"b\"", ""]),
            ("\"\",\"\"\"\"", vec!["", "\""]),
            ("#N/A,é,\u{1F600}", vec!["#N/A", "é", "\u{1F600}"]),
        ] {
            let record = cells(text, ',');
            assert_eq!((record.cells, record.problem), (expected.into_iter().map(Cow::from).collect(), None), "{text}");
        }
        for text in ["a\"b", "\"a\"b", "\"a\" ", " \"a\"", "\"a", "a,\"b\"\"", "\"a\"\"b\"c,d"] {
            assert!(wrong(text), "{text}");
        }
    }

    fn hostile() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("\""),
            Just("\"\""),
            Just(","),
            Just(";"),
            Just("\t"),
            Just("|"),
            Just("^"),
            Just("`"),
            Just(" "),
            Just("#N/A"),
            Just("NL"),
            Just("é"),
            Just("\u{1F600}"),
            Just("\u{feff}"),
            Just("a"),
            Just("="),
            Just("\u{0}"),
        ];
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            table in prop::collection::vec(prop::collection::vec(hostile(), 2..5), 1..6),
            delimiter in prop::sample::select(DELIMITERS.to_vec()),
            crlf in any::<bool>(),
            close in any::<bool>(),
            sparing in any::<bool>(),
        ) {
            let (ending, line) = if crlf { (LineEnding::CrLf, "\r\n") } else { (LineEnding::Lf, "\n") };
            let table: Vec<Vec<String>> =
                table.into_iter().map(|row| row.into_iter().map(|cell| cell.replace("NL", line)).collect()).collect();
            let lines: Vec<String> = table.iter().map(|row| {
                let cell = |text: &String| {
                    let mut out = String::new();
                    let plain = !text.contains(['"', '\r', '\n', delimiter]);
                    if sparing && plain { out.push_str(text) } else { quote(&mut out, text) }
                    out
                };
                row.iter().map(cell).collect::<Vec<_>>().join(&delimiter.to_string())
            }).collect();
            let text = lines.join(line) + if close { line } else { "" };
            let found = records(&text, delimiter, ending, true).expect("its own line ends");
            prop_assert_eq!(found.len(), table.len());
            for (range, row) in found.into_iter().zip(&table) {
                let record = cells(&text[range], delimiter);
                prop_assert_eq!(record.problem, None);
                prop_assert_eq!(&record.cells, row);
            }
        }

        #[test]
        fn nothing_is_lost_and_nothing_panics(
            parts in prop::collection::vec(prop::sample::select(
                vec!["\"", ",", "\n", "\r", "\r\n", "a", " ", "é", "\u{1F600}", "\u{0}", ";"]), 0..40),
            crlf in any::<bool>(),
            strict in any::<bool>(),
        ) {
            let text = parts.concat();
            let ending = if crlf { LineEnding::CrLf } else { LineEnding::Lf };
            let Ok(found) = records(&text, ',', ending, strict) else { return Ok(()) };
            let mut end = 0;
            for range in found {
                prop_assert!(text[end..range.start].chars().all(|c| matches!(c, '\r' | '\n')));
                let record = cells(&text[range.clone()], ',');
                prop_assert!(!record.cells.is_empty());
                end = range.end;
            }
            prop_assert!(text[end..].chars().all(|c| matches!(c, '\r' | '\n')));
        }
    }
}
