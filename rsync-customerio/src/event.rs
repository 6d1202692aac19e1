//! Ids of events. The service passes over an event whose id it has seen, if the id is a ULID.

use rsync_core::ids::Token;

/// Characters of a ULID.
pub(crate) const ULID_LEN: usize = 26;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Bits of a ULID that are not its time.
const RANDOM_BITS: u32 = 80;

/// The ULID of an event, the same in every attempt: the moment of the event in front, as far as it has one that fits,
/// and the token behind. `None` if the token is not 32 hexadecimal digits.
pub(crate) fn ulid(token: &Token, seconds: Option<i64>) -> Option<[u8; ULID_LEN]> {
    let text = token.as_str();
    let hash = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    let millis = seconds.and_then(|seconds| u64::try_from(seconds).ok()?.checked_mul(1_000));
    let number = match millis.filter(|millis| *millis < 1 << 48) {
        Some(millis) => u128::from(millis) << RANDOM_BITS | hash & ((1 << RANDOM_BITS) - 1),
        None => hash,
    };
    let mut out = [0; ULID_LEN];
    for (place, digit) in out.iter_mut().rev().enumerate() {
        *digit = DIGITS[(number >> (5 * place) & 31) as usize];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_ulids_that_begin_with_their_time() {
        let id =
            |token: &str, seconds| ulid(&Token::new(token), seconds).map(|id| String::from_utf8(id.to_vec()).unwrap());
        let f = "f".repeat(32);
        assert_eq!(id(&f, None).unwrap(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert_eq!(id(&"0".repeat(32), None).unwrap(), "0".repeat(26));
        // The ULID specification has 01ARYZ6S41 for 385 ms later.
        assert_eq!(id(&f, Some(1_469_918_176)).unwrap(), "01ARYZ6RR0ZZZZZZZZZZZZZZZZ");
        for outside in [-1, i64::MIN, i64::MAX, 1 << 48] {
            assert_eq!(id(&f, Some(outside)), id(&f, None), "{outside}");
        }
        for bad in ["", "f", &"g".repeat(32), &"f".repeat(33), &format!("+{}", "f".repeat(31)).replace('+', " ")] {
            assert_eq!(id(bad, None), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn tokens_stay_distinct(a in any::<u128>(), b in any::<u128>(), seconds in proptest::option::of(0..1_i64 << 37)) {
            let id = |hash: u128| ulid(&Token::new(format!("{hash:032x}")), seconds).unwrap();
            let same = if seconds.is_some() { a << 48 == b << 48 } else { a == b };
            prop_assert_eq!(id(a) == id(b), same);
            prop_assert!(id(a)[0] <= b'7');
        }
    }
}
