//! Request paths that a value cannot break out of.

use std::fmt;

use rsync_core::error::{Error, Kind, Result};

/// A path below the base URL, made of fixed parts and escaped values.
///
/// Each value becomes exactly one segment, whatever it holds. What is shown in logs and errors is the template,
/// never the values.
///
/// ```
/// # use rsync_http::Path;
/// let path = Path::new("/crm/v3/objects").value("object", "2-77")?.fixed("/batch/read");
/// assert_eq!(path.to_string(), "/crm/v3/objects/{object}/batch/read");
/// # Ok::<(), rsync_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Path {
    encoded: String,
    template: String,
}

impl Path {
    /// A path that starts with a fixed part, such as `/crm/v3/objects`.
    pub fn new(fixed: &'static str) -> Self {
        Self { encoded: String::new(), template: String::new() }.fixed(fixed)
    }

    /// Appends a fixed part, such as `/batch/read`.
    #[must_use]
    pub fn fixed(mut self, part: &'static str) -> Self {
        debug_assert!(
            part.starts_with('/') && part.bytes().all(|b| is_unreserved(b) || b == b'/'),
            "a fixed part is '/' and unreserved characters"
        );
        self.encoded.push_str(part);
        self.template.push_str(part);
        self
    }

    /// Appends `value` as one segment. `name` stands for it in the template.
    ///
    /// # Errors
    ///
    /// [`Kind::Rejected`] if no server can be trusted to take the value for one segment: it is empty, `.` or
    /// `..`, or holds a control character.
    pub fn value(mut self, name: &'static str, value: &str) -> Result<Self> {
        let refused = |cause| {
            Err(Error::new(Kind::Rejected, "build a request path", cause)
                .with_context("value", name)
                .with_remedy("use values that are not empty, not '.' or '..', and free of control characters"))
        };
        if matches!(value, "" | "." | "..") {
            return refused("the value would change the path");
        }
        if value.bytes().any(|b| b.is_ascii_control()) {
            return refused("the value holds a control character");
        }
        self.encoded.push('/');
        let start = self.encoded.len();
        encode_segment(value, &mut self.encoded);
        if decode_segment(&self.encoded[start..]).as_deref() != Some(value.as_bytes()) {
            return refused("the value does not survive escaping");
        }
        self.template.push_str("/{");
        self.template.push_str(name);
        self.template.push('}');
        Ok(self)
    }

    /// The escaped path, for the request line.
    pub(crate) fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The path with names in the place of values.
    pub fn template(&self) -> &str {
        &self.template
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", self.template)
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encode_segment(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// What a server makes of a segment; `None` if it is not well-formed.
fn decode_segment(segment: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |b: u8| char::from(b).to_digit(16);
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn last_segment(path: &Path) -> Vec<u8> {
        let url = Url::parse(&format!("https://api.example.com{}", path.encoded())).unwrap();
        assert_eq!(url.path(), path.encoded(), "the URL parser changed the path");
        assert_eq!(url.path_segments().unwrap().count(), 3, "{}", url.path());
        decode_segment(url.path_segments().unwrap().next_back().unwrap()).unwrap()
    }

    #[test]
    fn s06_keys_in_paths() {
        for key in [
            "ada@example.com",
            "a/b",
            "a\\b",
            "a?b#c",
            "%2e%2e",
            "%2F",
            "a%00b",
            "a;b=c",
            "a b",
            "+",
            "...",
            ".inc",
            "über",
            "\u{202e}",
            "日本",
            "🦀",
            "' OR 1=1 --",
            "\"",
            "a:b",
            "[::1]",
            "{x}",
            "\u{feff}",
            "..%2f..",
        ] {
            let path = Path::new("/objects/contacts").value("key", key).unwrap();
            assert_eq!(last_segment(&path), key.as_bytes(), "{key:?}");
            assert_eq!(path.template(), "/objects/contacts/{key}");
        }
        for key in ["", ".", "..", "a\tb", "a\r\nHost: x", "a\nb", "a\0b", "\u{7f}"] {
            let error = Path::new("/objects").value("key", key).unwrap_err();
            assert_eq!(error.kind(), Kind::Rejected, "{key:?}");
            assert!(key.len() < 3 || !error.to_string().contains(key));
        }
    }

    proptest! {
        #[test]
        fn s06_any_key_is_one_segment(key in any::<String>()) {
            if let Ok(path) = Path::new("/objects/contacts").value("key", &key) {
                prop_assert_eq!(last_segment(&path), key.as_bytes());
            } else {
                prop_assert!(matches!(key.as_str(), "" | "." | "..") || key.bytes().any(|b| b.is_ascii_control()));
            }
        }
    }

    #[test]
    fn values_stay_out_of_debug() {
        let path = Path::new("/objects").value("key", "canary").unwrap();
        assert_eq!(format!("{path:?} {path}"), "Path(/objects/{key}) /objects/{key}");
    }
}
