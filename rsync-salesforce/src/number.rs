//! Numbers as text, compared and converted digit by digit.

use std::fmt::Write as _;

/// A decimal number: `digits` times ten to the power of `exponent`. Equal numbers are equal here, however they were
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// Without zeros at the end.
    digits: i128,
    exponent: i32,
}

impl Number {
    /// Reads plain and scientific notation with up to 38 significant digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits: i128 = 0;
        let mut zeros: u32 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            // Zeros are held back until another digit follows, so that those at the end cannot overflow.
            match byte {
                b'0' => zeros = zeros.checked_add(1)?,
                b'1'..=b'9' => {
                    if digits != 0 {
                        digits = digits.checked_mul(10_i128.checked_pow(zeros)?)?;
                    }
                    digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                    zeros = 0;
                }
                _ => return None,
            }
        }
        if digits == 0 {
            return Some(Self { digits: 0, exponent: 0 });
        }
        let fraction = i32::try_from(fraction.len()).ok()?;
        let exponent = i32::from(exponent).checked_sub(fraction)?.checked_add(i32::try_from(zeros).ok()?)?;
        Some(Self { digits: if negative { -digits } else { digits }, exponent })
    }

    /// One spelling for equal numbers.
    pub(crate) fn canonical(self) -> String {
        let mut out = String::new();
        let _ = write!(out, "{}e{}", self.digits, self.exponent);
        out
    }

    /// Digits behind the point.
    pub(crate) fn decimals(self) -> u32 {
        self.exponent.min(0).unsigned_abs()
    }

    /// Whether the number comes out of a 64-bit floating point number with the digits that went in.
    pub(crate) fn survives_f64(self) -> bool {
        let back = self.canonical().parse::<f64>().ok().filter(|float| float.is_finite());
        back.and_then(|float| Self::parse(&float.to_string())) == Some(self)
    }

    /// The number in units of ten to the power of `-scale`; `None` if that is not exact or too large.
    pub(crate) fn unscaled(self, scale: i8) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_add(i32::from(scale))?;
        // There is no zero at the end, so a negative shift always loses something.
        self.digits.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)
    }
}

/// Whether `text` is the only plain spelling of its number: no sign, zero or point too many.
pub(crate) fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    plain(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(|fraction| plain(fraction) && !fraction.ends_with('0'))
        && text != "-0"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        let table: &[(&str, i8, Option<i128>)] = &[
            ("29.85", 2, Some(2985)),
            ("29.850", 2, Some(2985)),
            ("29.855", 2, None),
            ("-0.05", 2, Some(-5)),
            ("5.0E7", 0, Some(50_000_000)),
            ("1.5e-1", 2, Some(15)),
            ("0.000", 0, Some(0)),
            ("100000000000000000000000000000000000000", 0, Some(10_i128.pow(38))),
            ("1e99999", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("-", 0, None),
            ("+1", 0, None),
            ("1,000", 0, None),
            ("NaN", 0, None),
            ("١", 0, None),
        ];
        for (text, scale, expected) in table {
            assert_eq!(Number::parse(text).and_then(|n| n.unscaled(*scale)), *expected, "{text}");
        }
    }

    #[test]
    fn what_a_float_keeps() {
        for (text, survives, decimals) in [
            ("0", true, 0),
            ("29.85", true, 2),
            ("0.0001", true, 4),
            ("1e21", true, 0),
            ("9007199254740992", true, 0),
            ("9007199254740993", false, 0),
            ("99999999999999.9999", false, 4),
            ("123456789012.345", true, 3),
            ("1e400", false, 0),
            ("1e-400", false, 400),
        ] {
            let number = Number::parse(text).unwrap();
            assert_eq!((number.survives_f64(), number.decimals()), (survives, decimals), "{text}");
        }
    }

    #[test]
    fn one_plain_spelling_a_number() {
        for text in ["0", "7", "-7", "10", "0.5", "-0.05", "123456789012345678901234567890"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in ["", "-", "-0", "07", "+7", "7.0", "7.", ".5", "1e3", " 7", "7 ", "1,5", "NaN", "٧"] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_float_survives(float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            prop_assert!(Number::parse(&float.to_string()).unwrap().survives_f64());
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (Number::parse(&text).map(Number::survives_f64), is_canonical(&text));
        }
    }
}
