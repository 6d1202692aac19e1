//! Names and identifiers as types, so that they cannot be mixed up.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps `name` as it is.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::from(name.as_ref()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type! {
    /// A field of an object at the destination, by its API name.
    FieldName
}

name_type! {
    /// A column of the model.
    ColumnName
}

/// The name of a sync: lower-case letters, digits, `-` and `_`, 1 to 63 characters, a letter or digit first.
/// It names the stored state, so it must not change between runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncId(Arc<str>);

impl SyncId {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] if `name` has another form.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let ok = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !name.starts_with(['-', '_']);
        if ok {
            Ok(Self(Arc::from(name)))
        } else {
            Err(Error::new(Kind::InvalidConfig, "name a sync", "not a valid sync name")
                .with_remedy("use 1 to 63 lower-case letters, digits, '-' or '_', a letter or digit first"))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SyncId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SyncId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One run of a sync: a plan and what was made of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

/// A batch, derived from its content: the same rows in the same order give the same id, in every run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u128);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({self})")
    }
}

/// Keyed 128-bit hash of a row's key. It stands for the key wherever the key itself must not be seen: in the
/// state, in reports and logs. Without the state's hash key it cannot be traced back to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for KeyHash {
    type Err = Error;

    /// Reads the hash as reports show it.
    fn from_str(text: &str) -> Result<Self> {
        let hash = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
        hash.map(Self).ok_or_else(|| {
            Error::new(Kind::InvalidConfig, "read a key hash", "it is not 32 hexadecimal digits")
                .with_remedy("give the hash as a report shows it")
        })
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// The destination's own id of a record, as opaque text. `Debug` hides it, since some services use addresses
/// as ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteId(String);

impl RemoteId {
    /// Wraps an id as the service wrote it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteId({} bytes)", self.0.len())
    }
}

/// The account (portal, organisation, workspace) that a destination's credentials lead to, as read from the
/// service. Stored state is bound to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// Wraps an id as the service wrote it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The handle of a job that runs at the destination, as opaque text that the adapter can resume from. It is
/// stored, so it must hold neither credentials nor cell values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobToken(String);

impl JobToken {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What tells a service that two rows are the same entry: a keyed hash, 32 hexadecimal digits. It is fixed before the
/// first attempt, the same in every later one, and tells nothing of the row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

impl Token {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_ids_are_checked() {
        for good in ["a", "0", "telco-crm", "a_b-9", &"x".repeat(63)] {
            assert_eq!(SyncId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "..", "ä", &"x".repeat(64)] {
            assert_eq!(SyncId::new(bad).unwrap_err().kind(), Kind::InvalidConfig, "{bad:?}");
        }
    }

    #[test]
    fn remote_ids_stay_out_of_debug() {
        assert_eq!(format!("{:?}", RemoteId::new("ada@example.com")), "RemoteId(15 bytes)");
    }
}
