//! Queries for records by key. Every name is checked and every value escaped, so a key can be any text.

use crate::object::Object;
use crate::schema::Field;
use crate::value::Spelling;

/// Longest query after escaping for the address; the service takes 16,384 bytes with all headers.
const QUERY_MAX: usize = 7_000;
/// Longest query that is sent where one key alone does not fit into the other limit.
const QUERY_LIMIT: usize = 12_000;

/// A value as it stands in a query.
pub(crate) fn literal(text: &str, spelling: Spelling) -> String {
    if spelling == Spelling::Bare {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\\' | '\'' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// The queries that read `fields` of all records whose `key` is one of the literals; `None` if the fields alone are too
/// long for one.
pub(crate) fn queries(object: &Object, key: &Field, fields: &[&str], literals: &[String]) -> Option<Vec<String>> {
    let mut selected = vec!["Id"];
    for name in std::iter::once(key.name.as_str()).chain(fields.iter().copied()) {
        if !selected.contains(&name) {
            selected.push(name);
        }
    }
    let head = format!("SELECT {} FROM {} WHERE {} IN (", selected.join(","), object.as_str(), key.name);
    let head_length = escaped_length(&head);
    let mut queries: Vec<String> = Vec::new();
    let mut length = 0;
    for literal in literals {
        // With the comma before it or the bracket behind it.
        let more = escaped_length(literal) + 3;
        match queries.last_mut() {
            Some(query) if length + more <= QUERY_MAX => {
                query.push(',');
                query.push_str(literal);
                length += more;
            }
            _ => {
                length = head_length + more;
                if length > QUERY_LIMIT {
                    return None;
                }
                queries.push(format!("{head}{literal}"));
            }
        }
    }
    queries.iter_mut().for_each(|query| query.push(')'));
    Some(queries)
}

/// Bytes of `text` in the query of an address.
fn escaped_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'*' | b'-' | b'.' | b'_' | b' ' => 1,
        byte if byte.is_ascii_alphanumeric() => 1,
        _ => 3,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsync_http::reqwest::Url;

    use super::*;
    use crate::schema::tests::sample;

    /// What the service makes of a literal, by the rules of its documentation.
    fn unquoted(literal: &str) -> Option<String> {
        let mut out = String::new();
        let mut chars = literal.strip_prefix('\'')?.chars();
        loop {
            match chars.next()? {
                '\'' => return chars.as_str().is_empty().then_some(out),
                '\\' => out.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    c @ ('\\' | '\'') => c,
                    _ => return None,
                }),
                c => out.push(c),
            }
        }
    }

    #[test]
    fn s07_literals() {
        for (text, expected) in [
            ("", "''"),
            ("it's", r"'it\'s'"),
            ("a\\", r"'a\\'"),
            ("\\'", r"'\\\''"),
            ("') OR Name != ('", r"'\') OR Name != (\''"),
            ("a\r\n\tb", r"'a\r\n\tb'"),
            ("ü'漢", r"'ü\'漢'"),
            ("%_", "'%_'"),
        ] {
            assert_eq!(literal(text, Spelling::Quoted), expected);
        }
        assert_eq!(literal("-4.5", Spelling::Bare), "-4.5");
    }

    fn all(fields: &[&str], literals: &[String]) -> Option<Vec<String>> {
        let (schema, object) = (sample(), Object::parse("Contact").unwrap());
        queries(&object, schema.field("Ext__c").unwrap(), fields, literals)
    }

    #[test]
    fn names_are_selected_once() {
        let queries = all(&["LastName", "Id", "Ext__c", "Email"], &["'a'".into(), "'b'".into()]).unwrap();
        assert_eq!(queries, ["SELECT Id,Ext__c,LastName,Email FROM Contact WHERE Ext__c IN ('a','b')"]);
        assert!(all(&[], &[]).unwrap().is_empty());
        let many: Vec<String> = (0..400).map(|i| format!("A_field_with_a_long_name_{i}__c")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(all(&many, &["'a'".into()]), None);
        assert_eq!(all(&many[..200], &["'a'".into(), "'b'".into()]).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn s07_any_text_is_one_literal(text in any::<String>()) {
            prop_assert_eq!(unquoted(&literal(&text, Spelling::Quoted)), Some(text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn queries_are_short_and_ask_for_every_key_once(keys in prop::collection::vec("[a-z'%漢 ]{0,255}", 0..60)) {
            let literals: Vec<String> = keys.iter().map(|key| literal(key, Spelling::Quoted)).collect();
            let queries = all(&["LastName"], &literals).unwrap();
            let mut asked = Vec::new();
            for query in &queries {
                let mut url = Url::parse("https://host/query").unwrap();
                url.query_pairs_mut().append_pair("q", query);
                prop_assert!(url.query().unwrap().len() <= QUERY_MAX + 2);
                prop_assert_eq!(escaped_length(query), url.query().unwrap().len() - 2);
                let list = query.split_once(" IN (").unwrap().1.strip_suffix(')').unwrap();
                asked.push(list.to_owned());
            }
            prop_assert_eq!(asked.join(","), literals.join(","));
        }
    }
}
