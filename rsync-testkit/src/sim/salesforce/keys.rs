//! The key pair of the connected app: made once per process, never stored.

use std::fmt;
use std::sync::OnceLock;

use rcgen::{KeyPair, PKCS_RSA_SHA256};

use crate::sim::SimError;

/// An RSA key pair of 2048 bits. Its public half is what the connected app registers.
#[derive(Clone)]
pub(crate) struct AppKeys {
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
}

impl fmt::Debug for AppKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKeys([redacted])")
    }
}

impl AppKeys {
    /// The pair of this process. All simulators share it: making one takes long, and it protects nothing.
    pub(crate) fn of_process() -> Result<&'static Self, SimError> {
        static KEYS: OnceLock<Result<AppKeys, String>> = OnceLock::new();
        let made = KEYS.get_or_init(|| {
            let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|error| error.to_string())?;
            Ok(Self { private_pem: pair.serialize_pem(), public_pem: pair.public_key_pem() })
        });
        made.as_ref().map_err(|problem| SimError::Keys(problem.clone()))
    }
}
