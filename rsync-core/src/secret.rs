//! Credentials that do not show themselves.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text. It has no `Display` and no `Serialize`, its `Debug` is redacted, and its memory is wiped
/// when it is dropped.
///
/// ```
/// # use rsync_core::Secret;
/// let token = Secret::new("pat-na1-0123");
/// assert_eq!(format!("{token:?}"), "Secret(redacted)");
/// assert_eq!(token.expose(), "pat-na1-0123");
/// ```
///
/// ```compile_fail
/// # use rsync_core::Secret;
/// println!("{}", Secret::new("pat-na1-0123"));
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}
