//! What people and objects are addressed by.

use serde_json::Value;

use super::seed::WorkspaceMode;

/// Most bytes of an identifier.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 150;

/// Kinds of identifiers of a person, in the order in which they are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyKind {
    CioId,
    Id,
    Email,
    Phone,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 4] = [Self::CioId, Self::Id, Self::Email, Self::Phone];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CioId => "cio_id",
            Self::Id => "id",
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An identifier of a person. Two are equal when they name the same person: email addresses ignore letter case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PersonKey {
    pub(crate) kind: KeyKind,
    folded: String,
}

impl PersonKey {
    pub(crate) fn new(kind: KeyKind, value: &str) -> Self {
        let folded = if kind == KeyKind::Email { value.to_lowercase() } else { value.to_owned() };
        Self { kind, folded }
    }

    /// `id:42`: the form in statistics.
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.kind.name(), self.folded)
    }
}

/// An identifier as it was written, which is also how a new person gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    pub(crate) kind: KeyKind,
    pub(crate) value: String,
}

impl Identifier {
    pub(crate) fn key(&self) -> PersonKey {
        PersonKey::new(self.kind, &self.value)
    }
}

/// Which attributes identify people in a workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identities {
    pub(crate) mode: WorkspaceMode,
    pub(crate) phone_enabled: bool,
    pub(crate) allow_email_update_by_id: bool,
}

impl Identities {
    pub(crate) fn identifies(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::CioId | KeyKind::Id => true,
            KeyKind::Email => self.mode == WorkspaceMode::EmailOrId,
            KeyKind::Phone => self.phone_enabled,
        }
    }

    /// The kinds that an attribute can set; `cio_id` is given by the service.
    pub(crate) fn settable(self) -> impl Iterator<Item = KeyKind> {
        [KeyKind::Id, KeyKind::Email, KeyKind::Phone].into_iter().filter(move |kind| self.identifies(*kind))
    }

    /// What the identifier in a path of version 1 is, judged by its look. `None` for a `cio_` value that cannot be one.
    pub(crate) fn of_path(self, text: &str) -> Option<Identifier> {
        if let Some(cio_id) = text.strip_prefix("cio_") {
            return is_cio_id(cio_id).then(|| Identifier { kind: KeyKind::CioId, value: cio_id.to_owned() });
        }
        let kind = if self.identifies(KeyKind::Email) && is_email(text) { KeyKind::Email } else { KeyKind::Id };
        Some(Identifier { kind, value: text.to_owned() })
    }
}

/// The text of an identifier: numbers are taken as their text.
pub(crate) fn identifier_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str| !part.is_empty() && !part.contains('@') && !part.contains(char::is_whitespace);
    plain(local) && plain(domain)
}

pub(crate) fn is_e164(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (2..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Ids that the service gives are hexadecimal.
pub(crate) fn is_cio_id(text: &str) -> bool {
    (6..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// 26 characters of Crockford's base 32, the first at most 7.
pub(crate) fn is_ulid(text: &str) -> bool {
    text.len() == 26
        && matches!(text.as_bytes().first(), Some(b'0'..=b'7'))
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() && !matches!(b.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U'))
}

/// A kind of object and the object's id there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId {
    pub(crate) type_id: String,
    pub(crate) id: String,
}

/// What an object is addressed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectKey {
    Id(ObjectId),
    Cio(String),
}
