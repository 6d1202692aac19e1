//! Record ids: 15 characters in which letter case counts, and their 18-character form that survives case folding.

/// Digits of ids, in the order in which they count up.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Alphabet of the checksum: one letter says which of five characters are capitals.
const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// Characters of an id without its checksum.
const SHORT: usize = 15;

/// The id with this key prefix and number, in 18 characters.
pub(crate) fn numbered(prefix: &str, number: u64) -> String {
    // The letters after the prefix name the server; they make ids differ in case only where the service's do.
    let mut id = format!("{prefix}ak0");
    let width = SHORT - id.len();
    let mut rest = number;
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 62).unwrap_or(0)];
        rest /= 62;
    }
    id.extend(digits.into_iter().map(char::from));
    id.push_str(&checksum(&id));
    id
}

/// The 18-character form of an id of 15 or 18 characters; `None` if the text is no id.
pub(crate) fn canonical(text: &str) -> Option<String> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    match text.len() {
        SHORT => Some(format!("{text}{}", checksum(text))),
        18 => (checksum(&text[..SHORT]) == text[SHORT..]).then(|| text.to_owned()),
        _ => None,
    }
}

/// Three letters that say, for each five characters, which of them are capitals.
fn checksum(short: &str) -> String {
    let letter = |five: &[u8]| {
        let capitals = five.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
        char::from(CHECK[capitals.fold(0, |bits, (i, _)| bits | (1 << i))])
    };
    short.as_bytes().chunks(5).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_known_ids() {
        for id in ["003ak00000luKU1AAM", "001ak00000OQTieAAH", "0014S000007NxmlQAC", "00DRM000000EAqL2AW"] {
            assert_eq!(canonical(&id[..15]).as_deref(), Some(id));
            assert_eq!(canonical(id).as_deref(), Some(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "003", "003ak00000luKU1AAA", "003ak00000luKU1aam", "003ak00000luKU-", "003ak00000luKUé1AAM"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_give_different_ids() {
        for (number, id) in [(0, "003ak0000000000AAA"), (61, "003ak000000000zAAA"), (62, "003ak0000000010AAA")] {
            assert_eq!(numbered("003", number), id);
            assert_eq!(canonical(id).as_deref(), Some(id));
        }
    }
}
