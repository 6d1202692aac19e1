//! The functions under comparison behind one trait.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use highway::{HighwayHash, HighwayHasher, Key};
use siphasher::{sip, sip128};

/// A hash function with its secret.
pub(crate) trait Candidate {
    /// What it returns, as stored.
    type Out: Copy;
    /// Name, and bits of the result.
    const NAME: &'static str;
    /// Whether the result depends on a secret.
    const KEYED: bool = true;

    /// Prepares the secret.
    fn new() -> Self;
    /// Hashes one input.
    fn hash(&self, bytes: &[u8]) -> Self::Out;
}

const SECRET: [u8; 32] = *b"0123456789abcdef-benchmark-only-";

/// The secret of functions that take 128 bits.
fn half_secret() -> [u8; 16] {
    *SECRET.first_chunk().unwrap_or(&[0; 16])
}

macro_rules! sip {
    ($type:ident, $inner:path, $out:ty, $name:literal, $convert:expr) => {
        pub(crate) struct $type($inner);
        impl Candidate for $type {
            type Out = $out;
            const NAME: &'static str = $name;
            fn new() -> Self {
                Self(<$inner>::new_with_key(&half_secret()))
            }
            #[inline]
            fn hash(&self, bytes: &[u8]) -> $out {
                $convert(self.0.hash(bytes))
            }
        }
    };
}
sip!(Sip13, sip::SipHasher13, u64, "SipHash-1-3, 64", std::convert::identity);
sip!(Sip24, sip::SipHasher24, u64, "SipHash-2-4, 64", std::convert::identity);
sip!(Sip13Wide, sip128::SipHasher13, u128, "SipHash-1-3, 128", u128::from);
sip!(Sip24Wide, sip128::SipHasher24, u128, "SipHash-2-4, 128", u128::from);

fn highway_key() -> Key {
    let mut key = [0; 4];
    for (word, bytes) in key.iter_mut().zip(SECRET.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    Key(key)
}

pub(crate) struct Highway(Key);
impl Candidate for Highway {
    type Out = u64;
    const NAME: &'static str = "HighwayHash, 64";
    fn new() -> Self {
        Self(highway_key())
    }
    fn hash(&self, bytes: &[u8]) -> u64 {
        HighwayHasher::new(self.0).hash64(bytes)
    }
}

pub(crate) struct HighwayWide(Key);
impl Candidate for HighwayWide {
    type Out = u128;
    const NAME: &'static str = "HighwayHash, 128";
    fn new() -> Self {
        Self(highway_key())
    }
    fn hash(&self, bytes: &[u8]) -> u128 {
        let [low, high] = HighwayHasher::new(self.0).hash128(bytes);
        u128::from(high) << 64 | u128::from(low)
    }
}

pub(crate) struct Blake3([u8; 32]);
impl Candidate for Blake3 {
    type Out = u128;
    const NAME: &'static str = "BLAKE3 keyed, 128";
    fn new() -> Self {
        Self(SECRET)
    }
    fn hash(&self, bytes: &[u8]) -> u128 {
        u128::from_le_bytes(*blake3::keyed_hash(&self.0, bytes).as_bytes().first_chunk().unwrap_or(&[0; 16]))
    }
}

/// CBC-MAC with the length as first block, which makes it a pseudo-random function for inputs of all lengths.
pub(crate) struct AesMac(Aes128Enc);
impl Candidate for AesMac {
    type Out = u128;
    const NAME: &'static str = "AES-128 CBC-MAC, 128";
    fn new() -> Self {
        Self(Aes128Enc::new(&half_secret().into()))
    }
    fn hash(&self, bytes: &[u8]) -> u128 {
        let mut state = (bytes.len() as u128).to_le_bytes().into();
        self.0.encrypt_block(&mut state);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            state.iter_mut().zip(block).for_each(|(state, byte)| *state ^= byte);
            self.0.encrypt_block(&mut state);
        }
        let rest = blocks.remainder();
        if !rest.is_empty() {
            state.iter_mut().zip(rest).for_each(|(state, byte)| *state ^= byte);
            self.0.encrypt_block(&mut state);
        }
        u128::from_le_bytes(state.into())
    }
}

pub(crate) struct Xxh3;
impl Candidate for Xxh3 {
    type Out = u64;
    const NAME: &'static str = "XXH3, 64";
    const KEYED: bool = false;
    fn new() -> Self {
        Self
    }
    fn hash(&self, bytes: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(bytes)
    }
}

pub(crate) struct Xxh3Wide;
impl Candidate for Xxh3Wide {
    type Out = u128;
    const NAME: &'static str = "XXH3, 128";
    const KEYED: bool = false;
    fn new() -> Self {
        Self
    }
    fn hash(&self, bytes: &[u8]) -> u128 {
        xxhash_rust::xxh3::xxh3_128(bytes)
    }
}
