//! The query language, as far as it is simulated: one object, paths to parents, conditions, order, limit and offset.

use super::decimal::Decimal;
use super::value::{date, date_time};

/// A query as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Select {
    /// What is selected; nothing for `COUNT()`.
    pub(crate) paths: Vec<Path>,
    pub(crate) from: Path,
    pub(crate) condition: Option<Condition>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
}

/// Names separated by points, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) parts: Vec<String>,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) path: Path,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare { path: Path, operator: Operator, literals: Vec<Literal> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
    In,
    NotIn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Literal {
    Text(String),
    Number(Decimal),
    Boolean(bool),
    Date(String),
    DateTime(String),
    Null,
}

/// What a query is refused for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) message: String,
    pub(crate) at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, a keyword, a number, a date: what stands between punctuation.
    Word(String),
    Quoted(String),
    Sign(&'static str),
    End,
}

/// Marks a wildcard of LIKE that stands for itself. No stored text has this character.
pub(crate) const ESCAPE: char = '\0';

const SIGNS: [&str; 10] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];

fn tokens(query: &str) -> Result<Vec<(Token, usize)>, Malformed> {
    let mut found = Vec::new();
    let mut rest = query;
    loop {
        rest = rest.trim_start();
        let at = query.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            found.push((Token::End, at));
            return Ok(found);
        };
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            found.push((Token::Sign(sign), at));
            rest = &rest[sign.len()..];
        } else if first == '\'' {
            let (text, length) = quoted(rest).ok_or_else(|| Malformed {
                message: "line 1:0 mismatched character: the string literal is not well formed".to_owned(),
                at,
            })?;
            found.push((Token::Quoted(text), at));
            rest = &rest[length..];
        } else {
            let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+' | ':' | '%');
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if length == 0 {
                return Err(Malformed { message: format!("unexpected token: '{first}'"), at });
            }
            found.push((Token::Word(rest[..length].to_owned()), at));
            rest = &rest[length..];
        }
    }
}

/// The text of a literal that begins with a quotation mark, and its length in the query.
fn quoted(rest: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((text, at + 1)),
            '\\' => {
                let (_, escaped) = chars.next()?;
                if matches!(escaped, '%' | '_') {
                    text.push(ESCAPE);
                }
                text.push(match escaped {
                    'n' | 'N' => '\n',
                    'r' | 'R' => '\r',
                    't' | 'T' => '\t',
                    'b' | 'B' => '\u{8}',
                    'f' | 'F' => '\u{c}',
                    '\'' | '"' | '\\' | '%' | '_' => escaped,
                    _ => return None,
                });
            }
            _ => text.push(c),
        }
    }
    None
}

/// Reads a query.
pub(crate) fn parse(query: &str) -> Result<Select, Malformed> {
    let mut parser = Parser { tokens: tokens(query)?, position: 0 };
    let select = parser.select()?;
    match parser.peek() {
        Token::End => Ok(select),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.position].0
    }

    fn at(&self) -> usize {
        self.tokens[self.position].1
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        // The end is never passed.
        self.position = (self.position + 1).min(self.tokens.len() - 1);
        token
    }

    fn unexpected(&self) -> Malformed {
        let shown = match self.peek() {
            Token::Word(text) | Token::Quoted(text) => text.as_str(),
            Token::Sign(sign) => sign,
            Token::End => "<EOF>",
        };
        Malformed { message: format!("unexpected token: '{shown}'"), at: self.at() }
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Takes a keyword if it is next.
    fn skips(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(keyword);
        if found {
            self.take();
        }
        found
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Malformed> {
        if self.skips(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn sign(&mut self, sign: &'static str) -> Result<(), Malformed> {
        if *self.peek() == Token::Sign(sign) {
            self.take();
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn path(&mut self) -> Result<Path, Malformed> {
        let at = self.at();
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match self.peek() {
            Token::Word(word) if word.split('.').all(is_name) => {
                let parts = word.split('.').map(str::to_owned).collect();
                self.take();
                Ok(Path { parts, at })
            }
            _ => Err(self.unexpected()),
        }
    }

    fn number(&mut self) -> Result<usize, Malformed> {
        match self.peek() {
            Token::Word(word) if word.bytes().all(|b| b.is_ascii_digit()) => {
                let number = word.parse().map_err(|_| self.unexpected())?;
                self.take();
                Ok(number)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn select(&mut self) -> Result<Select, Malformed> {
        self.keyword("SELECT")?;
        let paths = self.selected()?;
        self.keyword("FROM")?;
        let from = self.path()?;
        let condition = if self.skips("WHERE") { Some(self.condition()?) } else { None };
        let mut order = Vec::new();
        if self.skips("ORDER") {
            self.keyword("BY")?;
            order.push(self.order()?);
            while *self.peek() == Token::Sign(",") {
                self.take();
                order.push(self.order()?);
            }
        }
        let limit = if self.skips("LIMIT") { Some(self.number()?) } else { None };
        let offset = if self.skips("OFFSET") { self.number()? } else { 0 };
        Ok(Select { paths, from, condition, order, limit, offset })
    }

    fn selected(&mut self) -> Result<Vec<Path>, Malformed> {
        let mut paths = vec![self.path()?];
        if paths[0].parts.len() == 1
            && paths[0].parts[0].eq_ignore_ascii_case("COUNT")
            && *self.peek() == Token::Sign("(")
        {
            self.take();
            self.sign(")")?;
            return Ok(Vec::new());
        }
        while *self.peek() == Token::Sign(",") {
            self.take();
            paths.push(self.path()?);
        }
        Ok(paths)
    }

    fn order(&mut self) -> Result<Order, Malformed> {
        let path = self.path()?;
        let descending = self.skips("DESC");
        if !descending {
            self.skips("ASC");
        }
        let mut nulls_last = false;
        if self.skips("NULLS") {
            nulls_last = self.skips("LAST");
            if !nulls_last {
                self.keyword("FIRST")?;
            }
        }
        Ok(Order { path, descending, nulls_last })
    }

    /// Conditions joined by one word: without parentheses, AND and OR may not be mixed.
    fn condition(&mut self) -> Result<Condition, Malformed> {
        let first = self.single()?;
        let join = ["AND", "OR"].into_iter().find(|word| self.is_keyword(word));
        let Some(join) = join else { return Ok(first) };
        let mut joined = vec![first];
        while self.skips(join) {
            joined.push(self.single()?);
        }
        if self.is_keyword("AND") || self.is_keyword("OR") {
            return Err(self.unexpected());
        }
        Ok(if join == "AND" { Condition::All(joined) } else { Condition::Any(joined) })
    }

    fn single(&mut self) -> Result<Condition, Malformed> {
        if self.skips("NOT") {
            return Ok(Condition::Not(Box::new(self.single()?)));
        }
        if *self.peek() == Token::Sign("(") {
            self.take();
            let inner = self.condition()?;
            self.sign(")")?;
            return Ok(inner);
        }
        let path = self.path()?;
        let operator = self.operator()?;
        let literals = if matches!(operator, Operator::In | Operator::NotIn) {
            self.sign("(")?;
            let mut literals = vec![self.literal()?];
            while *self.peek() == Token::Sign(",") {
                self.take();
                literals.push(self.literal()?);
            }
            self.sign(")")?;
            literals
        } else {
            vec![self.literal()?]
        };
        Ok(Condition::Compare { path, operator, literals })
    }

    fn operator(&mut self) -> Result<Operator, Malformed> {
        let operator = match self.peek() {
            Token::Sign("=") => Operator::Equal,
            Token::Sign("!=" | "<>") => Operator::NotEqual,
            Token::Sign("<") => Operator::Less,
            Token::Sign("<=") => Operator::LessOrEqual,
            Token::Sign(">") => Operator::Greater,
            Token::Sign(">=") => Operator::GreaterOrEqual,
            _ if self.is_keyword("LIKE") => Operator::Like,
            _ if self.is_keyword("IN") => Operator::In,
            _ if self.is_keyword("NOT") => {
                self.take();
                self.keyword("IN")?;
                return Ok(Operator::NotIn);
            }
            _ => return Err(self.unexpected()),
        };
        self.take();
        Ok(operator)
    }

    fn literal(&mut self) -> Result<Literal, Malformed> {
        let literal = match self.peek() {
            Token::Quoted(text) => Literal::Text(text.clone()),
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "true" => Literal::Boolean(true),
                "false" => Literal::Boolean(false),
                "null" => Literal::Null,
                _ if date(word).is_some() => Literal::Date(word.clone()),
                _ if date_time(word).is_some() => Literal::DateTime(word.clone()),
                _ => Literal::Number(Decimal::parse(word).ok_or_else(|| self.unexpected())?),
            },
            _ => return Err(self.unexpected()),
        };
        self.take();
        Ok(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let select = parse(
            "select Id, Account.Name from Contact where (Ext__c in ('a\\'b', 'c') or Age__c >= 1.5) and IsDeleted = false \
             order by Name desc nulls last, Id limit 5 offset 2",
        )
        .expect("well formed");
        assert_eq!(select.paths[1].parts, ["Account", "Name"]);
        assert_eq!((select.limit, select.offset, select.order.len()), (Some(5), 2, 2));
        let Some(Condition::All(both)) = select.condition else { panic!("two conditions") };
        let Condition::Any(either) = &both[0] else { panic!("a group") };
        let Condition::Compare { literals, operator: Operator::In, .. } = &either[0] else { panic!("a list") };
        assert_eq!(literals, &[Literal::Text("a'b".to_owned()), Literal::Text("c".to_owned())]);
        assert_eq!(parse("SELECT COUNT() FROM Contact").expect("well formed").paths, []);
    }

    #[test]
    fn malformed_queries_say_where() {
        for (query, at) in [
            ("", 0),
            ("SELECT", 6),
            ("SELECT Id Contact", 10),
            ("SELECT Id FROM Contact WHERE Name = 'a", 36),
            ("SELECT Id FROM Contact WHERE Name = 'a\\q'", 36),
            ("SELECT Id FROM Contact WHERE Name = a", 36),
            ("SELECT Id FROM Contact WHERE A = 1 AND B = 2 OR C = 3", 45),
            ("SELECT Id FROM Contact WHERE A IN ()", 35),
            ("SELECT Id FROM Contact LIMIT x", 29),
            ("SELECT Id FROM Contact; DROP", 22),
        ] {
            assert_eq!(parse(query).expect_err(query).at, at, "{query}");
        }
    }
}
