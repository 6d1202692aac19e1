//! `numeric` as 128-bit decimals, exactly or not at all.

use crate::column::{Bad, Reader};

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITE: [u16; 2] = [0xD000, 0xF000];

/// Decimal digits in one digit of the wire, which counts to 10,000.
const GROUP: i32 = 4;

/// The value times ten to the power of `scale`. A value that this cannot hold is a fault; nothing is rounded.
pub(crate) fn unscaled(cell: &[u8], precision: u8, scale: i8) -> Result<i128, Bad> {
    let mut reader = Reader(cell);
    let digits = u16::from_be_bytes(reader.take()?);
    let weight = i32::from(i16::from_be_bytes(reader.take()?));
    let sign = u16::from_be_bytes(reader.take()?);
    // The digits to show behind the point: a matter of display, since 1.50 and 1.5 are one value.
    let _: [u8; 2] = reader.take()?;
    match sign {
        POSITIVE | NEGATIVE => {}
        NOT_A_NUMBER => return Err(Bad::Fault("not_a_number")),
        _ if INFINITE.contains(&sign) => return Err(Bad::Fault("infinite_number")),
        _ => return Err(Bad::Malformed("a numeric has an unknown sign")),
    }
    let mut value: i128 = 0;
    // The power of ten that the last digit of `value` stands for, counted in units of the scale.
    let mut exponent = 0;
    for i in 0..i32::from(digits) {
        let digit = u16::from_be_bytes(reader.take()?);
        if digit > 9_999 {
            return Err(Bad::Malformed("a numeric has a digit above 9999"));
        }
        exponent = GROUP * (weight - i) + i32::from(scale);
        // What lies behind the scale must be zero.
        let cut = ten_to((-exponent).clamp(0, GROUP)).ok_or(Bad::Malformed("a numeric cannot be read"))?;
        if i128::from(digit) % cut != 0 {
            return Err(Bad::Fault("inexact"));
        }
        if exponent > -GROUP {
            let room = ten_to(GROUP + exponent.min(0)).ok_or(Bad::Malformed("a numeric cannot be read"))?;
            value = value
                .checked_mul(room)
                .and_then(|value| value.checked_add(i128::from(digit) / cut))
                .ok_or(Bad::Fault("out_of_range"))?;
        }
    }
    reader.end()?;
    if value != 0 && exponent > 0 {
        value = ten_to(exponent).and_then(|factor| value.checked_mul(factor)).ok_or(Bad::Fault("out_of_range"))?;
    }
    if ten_to(i32::from(precision)).is_none_or(|limit| value >= limit) {
        return Err(Bad::Fault("out_of_range"));
    }
    Ok(if sign == NEGATIVE { -value } else { value })
}

fn ten_to(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let count = u16::try_from(digits.len()).unwrap();
        let head = [count, weight.cast_unsigned(), sign, scale];
        head.iter().chain(digits).flat_map(|n| n.to_be_bytes()).collect()
    }

    #[test]
    fn exact_or_a_fault() {
        for (digits, weight, sign, precision, scale, expected) in [
            (&[][..], 0, POSITIVE, 5, 2, Ok(0)),
            (&[1], 0, POSITIVE, 1, 0, Ok(1)),
            (&[12, 3400], 0, NEGATIVE, 4, 2, Ok(-1234)),
            (&[12, 3400], 0, POSITIVE, 3, 2, Err("out_of_range")),
            (&[12, 3410], 0, POSITIVE, 4, 2, Err("inexact")),
            (&[12, 3410], 0, POSITIVE, 5, 3, Ok(12_341)),
            // 0.00000001
            (&[1], -2, POSITIVE, 10, 8, Ok(1)),
            (&[1], -2, POSITIVE, 10, 2, Err("inexact")),
            // 12,000,000,000 and 10^40
            (&[120], 2, POSITIVE, 11, 0, Ok(12_000_000_000)),
            (&[120], 2, POSITIVE, 13, 2, Ok(1_200_000_000_000)),
            (&[1], 10, POSITIVE, 38, 0, Err("out_of_range")),
            (&[1], i16::MAX, POSITIVE, 38, 0, Err("out_of_range")),
            (&[0], i16::MAX, POSITIVE, 38, 0, Ok(0)),
            (&[1], i16::MIN, POSITIVE, 38, 38, Err("inexact")),
            (&[99; 9], 8, POSITIVE, 38, 6, Err("out_of_range")),
            // 10^38 - 1, the largest there is
            (
                &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999],
                9,
                NEGATIVE,
                38,
                0,
                Ok(-(10_i128.pow(38) - 1)),
            ),
            (&[], 0, NOT_A_NUMBER, 5, 2, Err("not_a_number")),
            (&[], 0, 0xD000, 5, 2, Err("infinite_number")),
            (&[], 0, 0xF000, 5, 2, Err("infinite_number")),
        ] {
            let found = unscaled(&wire(digits, weight, sign, 2), precision, scale);
            assert_eq!(found, expected.map_err(Bad::Fault), "{digits:?} {weight} {sign:x} {precision} {scale}");
        }
    }

    #[test]
    fn malformed_is_refused() {
        let good = wire(&[12, 3400], 0, POSITIVE, 2);
        for cut in 0..good.len() {
            assert!(matches!(unscaled(&good[..cut], 9, 2), Err(Bad::Malformed(_))), "{cut}");
        }
        for bad in [[good, vec![0]].concat(), wire(&[10_000], 0, POSITIVE, 0), wire(&[1], 0, 0x1234, 0)] {
            assert!(matches!(unscaled(&bad, 9, 2), Err(Bad::Malformed(_))));
        }
    }
}
