//! Rows that wait in the state for a later run: encrypted, and with tokens that tell them apart at the destination.

use std::fmt;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes128GcmSiv, Nonce};
use siphasher::sip128::SipHasher24;

use crate::capability::Operation;
use crate::clock::Randomness;
use crate::error::{Error, Kind, Result};
use crate::identity::HashKey;
use crate::ids::{SyncId, Token};
use crate::state::codec::DAMAGE_REMEDY;

/// The version of what is sealed, and of how tokens are derived from it.
const VERSION: u8 = 1;
const NONCE: usize = 12;

/// Encrypts records of one sync under a key derived from the state's hash key.
///
/// The cipher stays safe should a nonce ever come twice: then equal records show as equal, and nothing else does. So it
/// does not matter how good the host's randomness is, or that a state was restored from a backup.
pub(crate) struct Sealer {
    cipher: Aes128GcmSiv,
    sync: SyncId,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(redacted)")
    }
}

impl Sealer {
    pub(crate) fn new(key: &HashKey, sync: &SyncId) -> Self {
        let cipher = Aes128GcmSiv::new(&key.derive(&format!("outbox {sync}")).into());
        Self { cipher, sync: sync.clone() }
    }

    /// What a record is bound to: it cannot be opened in another place.
    fn bound_to(&self, sequence: u64) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(self.sync.as_str().as_bytes());
        bytes
    }

    /// The record of `sequence` that holds `plain`.
    pub(crate) fn seal(&self, sequence: u64, plain: &[u8], randomness: &dyn Randomness) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(&randomness.next_u64().to_le_bytes());
        nonce[8..].copy_from_slice(&randomness.next_u64().to_le_bytes()[..4]);
        let payload = Payload { msg: plain, aad: &self.bound_to(sequence) };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| Error::new(Kind::Internal, "keep rows for a later run", "they are too large to encrypt"))?;
        Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
    }

    /// What the record of `sequence` holds.
    ///
    /// # Errors
    ///
    /// [`Kind::StateCorrupt`] if it was altered, moved or sealed under another key; [`Kind::StateTooNew`].
    pub(crate) fn open(&self, sequence: u64, record: &[u8]) -> Result<Vec<u8>> {
        let error = |kind, message| {
            Error::new(kind, "read the state", message).with_context("record", "outbox").with_context("at", sequence)
        };
        let damaged =
            || error(Kind::StateCorrupt, "rows that wait to be sent cannot be decrypted").with_remedy(DAMAGE_REMEDY);
        let (version, rest) = record.split_first().ok_or_else(damaged)?;
        if *version > VERSION {
            return Err(error(Kind::StateTooNew, "the state was written by a newer version")
                .with_remedy("run this sync with the newer version of the library"));
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let payload = Payload { msg: sealed, aad: &self.bound_to(sequence) };
        self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| damaged())
    }
}

/// Makes the tokens of one state's life.
#[derive(Clone)]
pub(crate) struct Tokens {
    hasher: SipHasher24,
    sync: SyncId,
    epoch: u64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(redacted)")
    }
}

impl Tokens {
    pub(crate) fn new(key: &HashKey, sync: &SyncId, epoch: u64) -> Self {
        Self { hasher: SipHasher24::new_with_key(&key.derive("token")), sync: sync.clone(), epoch }
    }

    /// The token of a row. `sequence` is that of the intent that the row was first part of: it makes the second A of
    /// A, B, A another entry than the first, and it is durable, so that every later run finds the same token.
    pub(crate) fn token(&self, operation: Operation, sequence: u64, key: u128, row: u64) -> Token {
        let mut bytes = Vec::with_capacity(96);
        bytes.push(operation as u8);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&row.to_le_bytes());
        bytes.extend_from_slice(self.sync.as_str().as_bytes());
        let hash: u128 = self.hasher.hash(&bytes).into();
        Token::new(format!("{hash:032x}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::clock::SystemRandomness;

    /// The worst source of nonces.
    #[derive(Debug)]
    struct Stuck;

    impl Randomness for Stuck {
        fn next_u64(&self) -> u64 {
            7
        }
    }

    fn sealer(key: &[u8; 16], sync: &str) -> Sealer {
        Sealer::new(&HashKey::from_bytes(*key), &SyncId::new(sync).unwrap())
    }

    #[test]
    fn s14_a_record_opens_only_where_it_was_made_and_only_whole() {
        let ours = sealer(b"a test's own key", "people");
        let plain = b"ada@example.com".as_slice();
        for randomness in [&SystemRandomness as &dyn Randomness, &Stuck] {
            let record = ours.seal(5, plain, randomness).unwrap();
            assert_eq!(ours.open(5, &record).unwrap(), plain);
            assert!(!record.windows(7).any(|bytes| bytes == b"example"));
            for (other, sequence) in [
                (sealer(b"a test's own key", "people"), 6),
                (sealer(b"a test's own key", "others"), 5),
                (sealer(b"another test key", "people"), 5),
            ] {
                assert_eq!(other.open(sequence, &record).unwrap_err().kind(), Kind::StateCorrupt);
            }
            for at in 1..record.len() {
                let mut altered = record.clone();
                altered[at] ^= 1;
                assert_eq!(ours.open(5, &altered).unwrap_err().kind(), Kind::StateCorrupt, "byte {at}");
                assert_eq!(ours.open(5, &record[..at]).unwrap_err().kind(), Kind::StateCorrupt, "{at} bytes");
            }
            assert_eq!(ours.open(5, &[]).unwrap_err().kind(), Kind::StateCorrupt);
        }
        assert_eq!(ours.open(5, &[VERSION + 1]).unwrap_err().kind(), Kind::StateTooNew);
    }

    #[test]
    fn s21_a_token_is_a_short_hash_that_differs_with_everything_it_stands_for() {
        let tokens = |key: &[u8; 16], sync: &str, epoch| {
            Tokens::new(&HashKey::from_bytes(*key), &SyncId::new(sync).unwrap(), epoch)
        };
        let ours = tokens(b"a test's own key", "people", 1);
        let mut all = HashSet::new();
        for token in [
            ours.token(Operation::Append, 5, 7, 9),
            ours.token(Operation::Create, 5, 7, 9),
            ours.token(Operation::Append, 6, 7, 9),
            ours.token(Operation::Append, 5, 8, 9),
            ours.token(Operation::Append, 5, 7, 10),
            tokens(b"a test's own key", "people", 2).token(Operation::Append, 5, 7, 9),
            tokens(b"a test's own key", "others", 1).token(Operation::Append, 5, 7, 9),
            tokens(b"another test key", "people", 1).token(Operation::Append, 5, 7, 9),
        ] {
            assert!(token.as_str().len() <= 64 && token.as_str().chars().all(|c| c.is_ascii_hexdigit()));
            assert!(all.insert(token));
        }
        assert!(all.contains(&ours.token(Operation::Append, 5, 7, 9)), "and not with anything else");
    }
}
