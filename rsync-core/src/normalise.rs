//! One spelling for texts that mean the same: for keys ([`Model::normalise_key`](crate::Model::normalise_key)) and for
//! what is sent ([`FieldRule::normalise`](crate::mapping::FieldRule::normalise)).
//!
//! Nothing is normalised unless it is asked for. What a normaliser does never changes within a [`VERSION`]: the state
//! holds hashes of normalised keys, and remembers with which normalisers and which version they were made.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The version of what the normalisers do.
pub const VERSION: u32 = 1;

/// A change of spelling. Several are applied in the order in which they are listed.
///
/// White space is what Unicode calls so, line breaks and the no-break space included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Normaliser {
    /// White space at both ends goes.
    Trim,
    /// Every run of white space becomes one space, also at the ends.
    CollapseSpaces,
    /// Every character becomes what Unicode gives as its lower case, whatever stands beside it.
    Lowercase,
    /// Canonical composition, Unicode's form NFC: an `e` and a combining accent become one `é`.
    Nfc,
    /// Only the digits 0 to 9 stay, for telephone numbers and the like.
    Digits,
}

impl Normaliser {
    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Normaliser::Trim => "trim",
            Normaliser::CollapseSpaces => "collapse_spaces",
            Normaliser::Lowercase => "lowercase",
            Normaliser::Nfc => "nfc",
            Normaliser::Digits => "digits",
        }
    }

    /// Appends `text` in its normal spelling.
    pub fn apply(self, text: &str, out: &mut String) {
        match self {
            Normaliser::Trim => out.push_str(text.trim()),
            Normaliser::CollapseSpaces => {
                let mut in_space = false;
                for c in text.chars() {
                    let space = c.is_whitespace();
                    match (space, in_space) {
                        (true, false) => out.push(' '),
                        (true, true) => {}
                        (false, _) => out.push(c),
                    }
                    in_space = space;
                }
            }
            Normaliser::Lowercase => out.extend(text.chars().flat_map(char::to_lowercase)),
            Normaliser::Nfc if is_nfc(text) => out.push_str(text),
            Normaliser::Nfc => out.extend(text.nfc()),
            Normaliser::Digits => out.extend(text.chars().filter(char::is_ascii_digit)),
        }
    }
}

impl fmt::Display for Normaliser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names of `list`, for people and for the description of a key.
pub(crate) fn names(list: &[Normaliser]) -> String {
    let names: Vec<&str> = list.iter().map(|normaliser| normaliser.as_str()).collect();
    names.join(", ")
}

/// A text column in its normal spelling; other columns as they are.
pub(crate) fn normalised(array: &ArrayRef, list: &[Normaliser]) -> ArrayRef {
    let Some(texts) = array.as_string_opt::<i32>().filter(|_| !list.is_empty()) else { return Arc::clone(array) };
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let (mut now, mut next) = (String::new(), String::new());
    for text in texts {
        let Some(text) = text else {
            out.append_null();
            continue;
        };
        now.clear();
        now.push_str(text);
        for normaliser in list {
            next.clear();
            normaliser.apply(&now, &mut next);
            std::mem::swap(&mut now, &mut next);
        }
        out.append_value(&now);
    }
    Arc::new(out.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    fn of(normaliser: Normaliser, text: &str) -> String {
        let mut out = String::new();
        normaliser.apply(text, &mut out);
        out
    }

    /// What version 1 makes of texts. A line that has to change needs a new version.
    const GOLDEN: &[(Normaliser, &str, &str)] = &[
        (Normaliser::Trim, " \t ada\u{a0}\n", "ada"),
        (Normaliser::Trim, "\u{3000}a b\u{2003}", "a b"),
        (Normaliser::Trim, "\u{200b}ada", "\u{200b}ada"),
        (Normaliser::Trim, "  ", ""),
        (Normaliser::CollapseSpaces, "a  b\t\r\n c", "a b c"),
        (Normaliser::CollapseSpaces, "\u{a0}\u{a0}a\u{2003}b ", " a b "),
        (Normaliser::CollapseSpaces, "", ""),
        (Normaliser::Lowercase, "Ada@EXAMPLE.com", "ada@example.com"),
        (Normaliser::Lowercase, "ÀÉÎ ΑΣ", "àéî ασ"),
        (Normaliser::Lowercase, "İ", "i\u{307}"),
        (Normaliser::Lowercase, "ẞ", "ß"),
        (Normaliser::Lowercase, "\u{212a}", "k"),
        (Normaliser::Nfc, "e\u{301}", "é"),
        (Normaliser::Nfc, "\u{212b}", "\u{c5}"),
        (Normaliser::Nfc, "q\u{307}\u{323}", "q\u{323}\u{307}"),
        (Normaliser::Nfc, "\u{1100}\u{1161}", "\u{ac00}"),
        (Normaliser::Nfc, "ﬁ", "ﬁ"),
        (Normaliser::Digits, "+1 (555) 010-9999", "15550109999"),
        (Normaliser::Digits, "٣3", "3"),
        (Normaliser::Digits, "none", ""),
    ];

    const ALL: [Normaliser; 5] =
        [Normaliser::Trim, Normaliser::CollapseSpaces, Normaliser::Lowercase, Normaliser::Nfc, Normaliser::Digits];

    #[test]
    fn f23_version_1_never_drifts() {
        assert_eq!(VERSION, 1);
        for (normaliser, text, expected) in GOLDEN {
            assert_eq!(of(*normaliser, text), *expected, "{normaliser} of {text:?}");
        }
        assert!(ALL.iter().all(|normaliser| GOLDEN.iter().any(|(tested, ..)| tested == normaliser)));
    }

    #[test]
    fn columns_are_normalised_in_the_order_of_the_list() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(" A  b "), None, Some("")]));
        let list = [Normaliser::CollapseSpaces, Normaliser::Trim, Normaliser::Lowercase];
        let expected: ArrayRef = Arc::new(StringArray::from(vec![Some("a b"), None, Some("")]));
        assert_eq!(&normalised(&texts, &list), &expected);
        assert!(Arc::ptr_eq(&normalised(&texts, &[]), &texts), "nothing is copied where nothing is asked for");
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
        assert!(Arc::ptr_eq(&normalised(&numbers, &list), &numbers));
        assert_eq!(names(&list), "collapse_spaces, trim, lowercase");
    }

    proptest! {
        #[test]
        fn f23_a_normal_spelling_is_its_own_normal_spelling(text in "\\PC{0,12}", index in 0..5_usize) {
            let once = of(ALL[index], &text);
            prop_assert_eq!(of(ALL[index], &once), once);
        }
    }
}
