//! Record ids: 15 characters in which case counts, and the form of 18 whose last three say which of them are capitals.

const SHORT: usize = 15;
const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// The form of 18 characters; `None` if the text is no id, or a long one whose letters lost their case.
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

fn checksum(short: &str) -> String {
    let letter = |five: &[u8]| {
        let capitals = five.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase());
        char::from(CHECK[capitals.fold(0, |bits, (i, _)| bits | 1 << i)])
    };
    short.as_bytes().chunks(5).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_lead_to_one() {
        for id in ["003ak00000luKU1AAM", "001ak00000OQTieAAH", "0014S000007NxmlQAC", "006ak00000OQ4RxAAL"] {
            assert_eq!(canonical(id).as_deref(), Some(id));
            assert_eq!(canonical(&id[..15]).as_deref(), Some(id));
            assert_eq!(canonical(&id.to_lowercase()), None, "the case is lost");
        }
        for text in ["", "003", "003ak00000luKU1AAA", "003ak00000luKU-", "003ak00000luKUé"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
