//! The service's spellings of time.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

const MS_PER_DAY: i64 = 86_400_000;

/// `2026-11-03T23:36:13.575Z`. A time that no calendar has is shown as the epoch.
pub(crate) fn iso_from_ms(ms: i64) -> String {
    instant(ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// Epoch milliseconds of a datetime value: ISO 8601 with a zone, or epoch milliseconds.
pub(crate) fn datetime_ms(text: &str) -> Option<i64> {
    if let Some(ms) = epoch_ms(text) {
        return Some(ms);
    }
    if let Ok(parsed) = DateTime::parse_from_rfc3339(text) {
        // RFC 3339 also allows a space; ISO 8601, which the service documents, does not.
        return text.contains('T').then(|| parsed.timestamp_millis());
    }
    // ISO 8601 without seconds is documented but not RFC 3339.
    let without_zone = text.strip_suffix('Z')?;
    let parsed = NaiveDateTime::parse_from_str(without_zone, "%Y-%m-%dT%H:%M").ok()?;
    Some(parsed.and_utc().timestamp_millis())
}

/// Epoch milliseconds at midnight UTC of a date value: `YYYY-MM-DD`, or epoch milliseconds that are a midnight.
pub(crate) fn date_ms(text: &str) -> Option<i64> {
    if let Some(ms) = epoch_ms(text) {
        return (ms.rem_euclid(MS_PER_DAY) == 0).then_some(ms);
    }
    // chrono also reads `2026-1-2`, which is no ISO date.
    if text.len() != 10 {
        return None;
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// `2026-11-03`.
pub(crate) fn iso_date_from_ms(ms: i64) -> String {
    instant(ms).date_naive().format("%Y-%m-%d").to_string()
}

fn epoch_ms(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = text.parse().ok()?;
    // Beyond what a calendar holds it is a number, not a time.
    DateTime::from_timestamp_millis(ms).map(|_| ms)
}
