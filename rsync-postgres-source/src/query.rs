//! The query of a model: one statement that can stand inside another.

use arrow::datatypes::Schema;
use rsync_core::error::Problem;

/// What the server sees in front of the model's own text, one byte a character.
pub(crate) const PREFIX: &str = "SELECT * FROM (\n";

/// The statement that describes `query`. The line break ends a comment at the end of it.
pub(crate) fn limited(query: &str) -> String {
    format!("{PREFIX}{query}\n) AS model LIMIT 0")
}

/// The statement that reads the columns of `schema`.
pub(crate) fn copy(query: &str, schema: &Schema) -> String {
    let columns: Vec<_> = schema.fields().iter().map(|field| quoted(field.name())).collect();
    format!("COPY (SELECT {} FROM (\n{query}\n) AS model) TO STDOUT (FORMAT binary)", columns.join(", "))
}

/// A name as SQL takes it literally.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Checks `sql` and returns it without a semicolon at its end.
///
/// The query becomes a subquery, and its rows are copied; so several statements, placeholders and an unmatched
/// parenthesis are found here, where the fix can be named, and not by a server that sees other text.
pub(crate) fn single(sql: &str) -> Result<&str, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut end = None;
    let mut depth = 0_i32;
    let mut unmatched = false;
    let mut is_empty = true;
    for token in Tokens(sql) {
        match token {
            Token::Space => continue,
            Token::Semicolon { .. } if end.is_some() => continue,
            _ if end.is_some() => {
                problems.push(Problem::new(
                    "query",
                    "there is more than one statement",
                    "keep the one whose rows are the model",
                ));
                break;
            }
            Token::Open(what) => problems.push(Problem::new("query", format!("{what} is not closed"), "close it")),
            Token::Semicolon { rest } => end = Some(sql.len() - rest),
            Token::Placeholder => {
                let fix = "write the value into the query; a model has no parameters";
                if problems.iter().all(|problem: &Problem| problem.fix != fix) {
                    problems.push(Problem::new("query", "there is a placeholder such as $1", fix));
                }
            }
            Token::Parenthesis(step) => {
                depth += step;
                unmatched |= depth < 0;
            }
            Token::Other => {}
        }
        is_empty &= matches!(token, Token::Semicolon { .. });
    }
    if is_empty && problems.is_empty() {
        problems.push(Problem::new("query", "there is no query", "give a SELECT whose rows are the model"));
    }
    if unmatched || depth != 0 {
        problems.push(Problem::new("query", "the parentheses do not match", "add or remove one"));
    }
    if problems.is_empty() { Ok(&sql[..end.unwrap_or(sql.len())]) } else { Err(problems) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Blanks and comments.
    Space,
    /// With so many bytes from it to the end of the text.
    Semicolon {
        rest: usize,
    },
    Placeholder,
    /// One more or one less open.
    Parenthesis(i32),
    /// Something without an end.
    Open(&'static str),
    Other,
}

/// The rest of an SQL text.
struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    /// Skips what begins with `start` bytes and ends with `end`.
    fn through(&mut self, start: usize, end: &str, token: Token, what: &'static str) -> Token {
        match self.0[start..].find(end) {
            Some(at) => {
                self.skip(start + at + end.len());
                token
            }
            None => {
                self.0 = "";
                Token::Open(what)
            }
        }
    }

    /// `/* ... */`, which nest.
    fn block_comment(&mut self) -> Token {
        let mut depth = 0;
        while !self.0.is_empty() {
            let step = if self.0.starts_with("/*") {
                depth += 1;
                2
            } else if self.0.starts_with("*/") {
                depth -= 1;
                2
            } else {
                self.0.chars().next().map_or(1, char::len_utf8)
            };
            self.skip(step);
            if depth == 0 {
                return Token::Space;
            }
        }
        Token::Open("a comment")
    }

    /// `E'...'`, in which a backslash hides the next character.
    fn escaped_text(&mut self) -> Token {
        self.skip(2);
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next();
                }
                '\'' => {
                    self.skip(at + 1);
                    return Token::Other;
                }
                _ => {}
            }
        }
        self.0 = "";
        Token::Open("a quote")
    }

    /// `$1`, or `$tag$ ... $tag$`.
    fn dollar(&mut self) -> Token {
        let rest = &self.0[1..];
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            self.skip(1 + digits);
            return Token::Placeholder;
        }
        match rest.find('$') {
            Some(at) if rest[..at].chars().all(is_name) => {
                let tag = self.0[..at + 2].to_owned();
                self.through(tag.len(), &tag, Token::Other, "a dollar quote")
            }
            _ => {
                self.skip(1);
                Token::Other
            }
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let first = self.0.chars().next()?;
        let start = self.0;
        Some(match first {
            _ if start.starts_with("--") => {
                self.skip(start.find('\n').map_or(start.len(), |at| at + 1));
                Token::Space
            }
            _ if start.starts_with("/*") => self.block_comment(),
            _ if start.starts_with("E'") || start.starts_with("e'") => self.escaped_text(),
            '\'' => self.through(1, "'", Token::Other, "a quote"),
            '"' => self.through(1, "\"", Token::Other, "a quoted name"),
            '$' => self.dollar(),
            c if is_name(c) => {
                // A dollar may stand inside a name.
                let end = start.find(|c| !is_name(c) && c != '$').unwrap_or(start.len());
                self.skip(end);
                Token::Other
            }
            c => {
                self.skip(c.len_utf8());
                match c {
                    ';' => Token::Semicolon { rest: start.len() },
                    '(' => Token::Parenthesis(1),
                    ')' => Token::Parenthesis(-1),
                    c if c.is_whitespace() => Token::Space,
                    _ => Token::Other,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_is_taken_as_it_is() {
        for (sql, taken) in [
            ("select 1", "select 1"),
            ("select 1;", "select 1"),
            (" select 1 ; ; \n-- done; really\n", " select 1 "),
            ("select 1 -- done;", "select 1 -- done;"),
            (r#"select ';', 'it''s $1 (', "a;b""(", E'\';(' ;"#, r#"select ';', 'it''s $1 (', "a;b""(", E'\';(' "#),
            ("select $$;$1($$, $a$ $$ ; $a$, a$1 from t", "select $$;$1($$, $a$ $$ ; $a$, a$1 from t"),
            ("select /* ; /* $1 */ ( */ 1", "select /* ; /* $1 */ ( */ 1"),
            ("with a as (select (1)) select * from a", "with a as (select (1)) select * from a"),
            ("select 'é中', \"ü\" as ö /* 😀 */;", "select 'é中', \"ü\" as ö /* 😀 */"),
        ] {
            assert_eq!(single(sql).unwrap(), taken, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_a_subquery_is_refused() {
        let (several, placeholder, parentheses) =
            ("there is more than one statement", "there is a placeholder such as $1", "the parentheses do not match");
        for (sql, causes) in [
            ("", &["there is no query"][..]),
            (" ; -- nothing\n", &["there is no query"]),
            ("select 1; select 2", &[several]),
            ("; select 1", &[several]),
            ("select $1, $2", &[placeholder]),
            ("select 1) as a, (select 2", &[parentheses]),
            ("select (1", &[parentheses]),
            ("select 'a", &["a quote is not closed"]),
            (r"select E'a\'", &["a quote is not closed"]),
            ("select \"a", &["a quoted name is not closed"]),
            ("select $x$ $y$", &["a dollar quote is not closed"]),
            ("select 1 /* /* */", &["a comment is not closed"]),
            ("select (($1; select 2", &[placeholder, several, parentheses]),
        ] {
            let problems = single(sql).unwrap_err();
            assert_eq!(problems.iter().map(|problem| problem.cause.as_str()).collect::<Vec<_>>(), causes, "{sql}");
        }
    }
}
