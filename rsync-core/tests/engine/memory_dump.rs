//! The memory of this process, as a core dump would hold it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};

use rsync_core::Secret;

/// How often a text is in the memory that this process can write. The text comes masked, so that the search does not find
/// itself.
fn copies(masked: &[u8], mask: u8) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut memory = File::open("/proc/self/mem").unwrap();
    let (mut found, mut chunk) = (0, vec![0; 1 << 16]);
    // What is read is not to be found a second time where it was read to.
    let own = chunk.as_ptr() as u64..chunk.as_ptr() as u64 + chunk.len() as u64;
    for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("[vv")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        for (mut at, to) in [(from, to.min(own.start)), (from.max(own.end), to)] {
            // A mapping that lies on one side of it is whole there, and empty on the other.
            while at < to {
                let size = usize::try_from(to - at).unwrap().min(chunk.len());
                // A stack may not have grown so far.
                if memory.seek(SeekFrom::Start(at)).is_err() || memory.read_exact(&mut chunk[..size]).is_err() {
                    break;
                }
                let mut rest = &chunk[..size];
                while let Some(next) = rest.iter().position(|byte| *byte == masked[0] ^ mask) {
                    rest = &rest[next..];
                    let whole = rest.len() >= masked.len() && rest.iter().zip(masked).all(|(a, b)| *a == b ^ mask);
                    found += usize::from(whole);
                    rest = &rest[1..];
                }
                // What lies across two chunks is looked at once more.
                at += if at + size as u64 == to { size } else { size + 1 - masked.len() } as u64;
            }
        }
    }
    chunk.fill(0);
    std::hint::black_box(&chunk);
    found
}

#[test]
fn s12_a_secret_is_wiped_when_it_is_dropped() {
    const MASK: u8 = 0x5a;
    let masked: Vec<u8> = (0..40_u8).map(|n| (b'A' + n % 26) ^ (n / 3) ^ MASK).collect();
    let secret = |_: usize| {
        let mut text = String::with_capacity(masked.len());
        text.extend(masked.iter().map(|byte| char::from(byte ^ MASK)));
        Secret::new(text)
    };
    assert_eq!(copies(&masked, MASK), 0);
    let secrets: Vec<Secret> = (0..3).map(secret).collect();
    let clones = secrets.clone();
    assert_eq!(copies(&masked, MASK), 6, "the search does not see what is there");
    drop(secrets);
    assert_eq!(copies(&masked, MASK), 3);
    drop(clones);
    assert_eq!(copies(&masked, MASK), 0, "a secret is still in memory");
}
