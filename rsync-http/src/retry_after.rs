//! The `Retry-After` header.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest pause taken over from a server. Longer ones are shortened to it, so that a defective header cannot
/// stop a sync for years.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause that the server asks for: seconds, or a date that is read against the server's own `Date` so that
/// the local clock does not matter. `wall` is the local time since the Unix epoch, for answers without a `Date`.
///
/// `None` where the header is missing, unreadable, zero, negative or in the past.
pub(crate) fn retry_after(headers: &HeaderMap, wall: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Too many digits for a u64 is a very long pause, not garbage.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return (seconds > 0).then(|| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let date =
        headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = date.or_else(|| UNIX_EPOCH.checked_add(wall))?;
    let pause = until.duration_since(now).ok()?;
    (!pause.is_zero()).then(|| pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn parse(value: &[u8], date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        // 2026-11-22T00:00:00Z
        retry_after(&headers, Duration::from_secs(1_795_305_600))
    }

    #[test]
    fn f27_retry_after_forms() {
        let date = Some("Sun, 22 Nov 2026 10:00:00 GMT");
        let table: &[(&str, Option<u64>)] = &[
            ("1", Some(1)),
            (" 7 ", Some(7)),
            ("300", Some(300)),
            ("0", None),
            ("-5", None),
            ("1000000000000", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("soon", None),
            ("", None),
            ("1.5", None),
            ("1e3", None),
            ("١", None),
            ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sunday, 22-Nov-26 10:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 10:00:00 GMT", None),
            ("Sun, 22 Nov 2026 09:59:59 GMT", None),
            ("Tue, 22 Nov 2033 10:00:00 GMT", Some(86_400)),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value.as_bytes(), date), expected.map(Duration::from_secs), "{value:?}");
        }
        // Without a readable Date the local clock has to do.
        for date in [None, Some("today")] {
            assert_eq!(parse(b"Sun, 22 Nov 2026 00:01:00 GMT", date), Some(Duration::from_secs(60)));
        }
        assert_eq!(retry_after(&HeaderMap::new(), Duration::ZERO), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn f27_any_header_gives_a_sane_pause(value in "[ -~]{0,40}", date in proptest::option::of("[ -~]{0,40}")) {
            let pause = parse(value.as_bytes(), date.as_deref());
            prop_assert!(pause.is_none_or(|p| !p.is_zero() && p <= MAX_RETRY_AFTER));
        }

        #[test]
        fn f27_any_bytes(value in proptest::collection::vec(32_u8..=255, 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let _ = parse(value.as_bytes(), None);
            }
        }
    }
}
