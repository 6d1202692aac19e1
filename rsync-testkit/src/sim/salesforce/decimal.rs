//! Decimal numbers as text: no digit of a request is lost on the way into the store.

/// A number: sign, digits before the point without leading zeros, digits after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

/// Exponents beyond this make numbers that no field holds; writing them out would only cost memory.
const LARGEST_EXPONENT: i64 = 400;

impl Decimal {
    /// Reads a JSON number, or the same as text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > LARGEST_EXPONENT {
            return None;
        }
        if mantissa.ends_with('.') {
            return None;
        }
        // The point moves by the exponent; zeros fill what it moves past.
        let point = i64::try_from(whole.len()).ok()? + exponent;
        let (whole, fraction) = if point <= 0 {
            (String::new(), format!("{}{digits}", "0".repeat(usize::try_from(-point).ok()?)))
        } else {
            let point = usize::try_from(point).ok()?;
            let padded = format!("{digits:0<point$}");
            (padded[..point].to_owned(), padded[point..].to_owned())
        };
        Some(Self { negative, whole, fraction }.normal())
    }

    fn normal(mut self) -> Self {
        self.whole = self.whole.trim_start_matches('0').to_owned();
        self.fraction.truncate(self.fraction.trim_end_matches('0').len());
        self.negative &= !(self.whole.is_empty() && self.fraction.is_empty());
        self
    }

    /// Digits before the point.
    pub(crate) fn whole_digits(&self) -> usize {
        self.whole.len()
    }

    /// Digits after the point.
    pub(crate) fn scale(&self) -> usize {
        self.fraction.len()
    }

    /// The number with at most this many decimals, rounded half away from zero.
    pub(crate) fn rounded(self, scale: usize) -> Self {
        if self.fraction.len() <= scale {
            return self;
        }
        let up = self.fraction.as_bytes()[scale] >= b'5';
        let mut digits: Vec<u8> = self.whole.bytes().chain(self.fraction.bytes().take(scale)).collect();
        let mut carry = up;
        for digit in digits.iter_mut().rev().take_while(|_| up) {
            if !carry {
                break;
            }
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
        }
        if carry {
            digits.insert(0, b'1');
        }
        let text: String = digits.into_iter().map(char::from).collect();
        let point = text.len() - scale;
        Self { negative: self.negative, whole: text[..point].to_owned(), fraction: text[point..].to_owned() }.normal()
    }

    /// Order by value.
    pub(crate) fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let magnitude = |number: &Self| (number.whole.len(), number.whole.clone(), number.fraction.clone());
        match (self.negative, other.negative) {
            (false, true) => std::cmp::Ordering::Greater,
            (true, false) => std::cmp::Ordering::Less,
            (false, false) => magnitude(self).cmp(&magnitude(other)),
            (true, true) => magnitude(other).cmp(&magnitude(self)),
        }
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        if self.fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{}", self.fraction) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (text, expected) in [
            ("0", Some("0")),
            ("-0.00", Some("0")),
            ("007.50", Some("7.5")),
            ("1234567890123456.78", Some("1234567890123456.78")),
            ("1.5e3", Some("1500")),
            ("15E-4", Some("0.0015")),
            ("-2.5e0", Some("-2.5")),
            ("", None),
            ("abc", None),
            ("1,5", None),
            ("+1", None),
            ("1.", None),
            (".5", None),
            ("1e999", None),
            ("NaN", None),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn rounding_goes_half_away_from_zero() {
        for (text, scale, expected) in [
            ("1.005", 2, "1.01"),
            ("1.0049", 2, "1"),
            ("9.995", 2, "10"),
            ("99.5", 0, "100"),
            ("-0.5", 0, "-1"),
            ("0.4", 0, "0"),
            ("1.2", 4, "1.2"),
        ] {
            let rounded = Decimal::parse(text).map(|d| d.rounded(scale).to_string());
            assert_eq!(rounded.as_deref(), Some(expected), "{text} to {scale}");
        }
    }

    #[test]
    fn order_is_that_of_the_values() {
        let texts = ["-10", "-2.5", "-2.25", "0", "0.5", "0.55", "2", "10", "10.01"];
        let numbers: Vec<Decimal> = texts.iter().filter_map(|text| Decimal::parse(text)).collect();
        for (i, a) in numbers.iter().enumerate() {
            for (j, b) in numbers.iter().enumerate() {
                assert_eq!(a.compare(b), i.cmp(&j), "{a} and {b}");
            }
        }
    }
}
