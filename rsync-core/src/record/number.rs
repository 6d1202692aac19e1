//! Decimal numbers in text, compared and converted digit by digit.

use std::fmt;
use std::fmt::Write as _;

/// A decimal number, read from text without rounding. Equal numbers are equal here, however they were written, so an
/// adapter can compare a key with the service's own spelling of it.
///
/// ```
/// use rsync_core::record::Number;
///
/// let price = Number::parse("29.850").unwrap();
/// assert_eq!(Some(price), Number::parse("2985e-2"));
/// assert_eq!(price.unscaled(2), Some(2985));
/// assert_eq!(price.unscaled(1), None, "not exact");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    /// Times ten to the power of `exponent`. Without zeros at the end.
    digits: i128,
    exponent: i32,
}

impl Number {
    /// Reads plain and scientific notation with up to 38 significant digits, and with a minus or no sign. Takes no
    /// white space and no plus sign: where a service allows them, its adapter removes them first.
    pub fn parse(text: &str) -> Option<Self> {
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

    /// One spelling for equal numbers, for comparing them as text. No service writes it like this.
    pub fn canonical(self) -> String {
        let mut out = String::new();
        let _ = write!(out, "{}e{}", self.digits, self.exponent);
        out
    }

    /// Digits behind the point, as many as the number needs.
    pub fn decimals(self) -> u32 {
        self.exponent.min(0).unsigned_abs()
    }

    /// Whether the number comes out of a 64-bit floating point number with the digits that went in: what a service
    /// that keeps such numbers would store exactly.
    pub fn survives_f64(self) -> bool {
        let back = self.canonical().parse::<f64>().ok().filter(|float| float.is_finite());
        back.and_then(|float| Self::parse(&float.to_string())) == Some(self)
    }

    /// The number in units of ten to the power of `-scale`, as [`Value::Decimal`](super::Value::Decimal) holds it;
    /// `None` if that is not exact or too large.
    pub fn unscaled(self, scale: i8) -> Option<i128> {
        if self.digits == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_add(i32::from(scale))?;
        // There is no zero at the end, so a negative shift always loses something.
        self.digits.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)
    }
}

/// Shows no digit: the number may be a customer's.
impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Value;

    #[test]
    fn numbers_are_read_exactly() {
        let table: &[(&str, i8, Option<i128>)] = &[
            ("29.85", 2, Some(2985)),
            ("29.850", 2, Some(2985)),
            ("29.855", 2, None),
            ("-0.05", 2, Some(-5)),
            ("5.0E7", 0, Some(50_000_000)),
            ("1e+3", 0, Some(1000)),
            ("1.5e-1", 2, Some(15)),
            ("0", 2, Some(0)),
            ("0.000", 0, Some(0)),
            (".5", 1, Some(5)),
            ("5.", 0, Some(5)),
            ("100000000000000000000000000000000000000", 0, Some(10_i128.pow(38))),
            ("1e400", 0, None),
            ("1e99999", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("-", 0, None),
            ("+1", 0, None),
            (" 1", 0, None),
            ("1 ", 0, None),
            ("--1", 0, None),
            ("1.2.3", 0, None),
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

    proptest! {
        #[test]
        fn every_float_survives(float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            prop_assert!(Number::parse(&float.to_string()).unwrap().survives_f64());
        }

        #[test]
        fn decimals_are_read_back(unscaled in any::<i64>(), scale in 0..18_i8) {
            let unscaled = i128::from(unscaled);
            let mut text = String::new();
            let written = Value::Decimal { unscaled, scale }.write_text(&mut text);
            prop_assert!(written);
            let number = Number::parse(&text).unwrap();
            prop_assert_eq!(number.unscaled(scale), Some(unscaled));
            prop_assert_eq!(Number::parse(&number.canonical()), Some(number));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = Number::parse(&text).map(|number| (number.survives_f64(), number.unscaled(2), number.canonical()));
        }
    }
}
