//! The calls of a day, as the headers of an answer tell them.

use rsync_core::destination::Quota;

/// Reads `X-HubSpot-RateLimit-Daily` and `X-HubSpot-RateLimit-Daily-Remaining`. Answers to a search and to apps that
/// signed in with OAuth have neither.
pub(crate) fn parse(daily: Option<&str>, remaining: Option<&str>) -> Option<Quota> {
    let number = |text: Option<&str>| text?.trim().parse::<u64>().ok();
    let (limit, remaining) = (number(daily)?, number(remaining)?);
    (limit > 0).then(|| Quota::new(limit.saturating_sub(remaining), limit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_the_headers() {
        for (daily, remaining, expected) in [
            (Some("250000"), Some("249990"), Some((10, 250_000))),
            (Some(" 250000 "), Some("0"), Some((250_000, 250_000))),
            (Some("100"), Some("120"), Some((0, 100))),
            (Some("0"), Some("0"), None),
            (Some("250000"), None, None),
            (None, Some("1"), None),
            (Some("unlimited"), Some("1"), None),
            (Some("250000"), Some("-1"), None),
        ] {
            assert_eq!(parse(daily, remaining), expected.map(|(used, limit)| Quota::new(used, limit)));
        }
    }

    proptest! {
        #[test]
        fn never_more_used_than_allowed(daily in ".{0,24}", remaining in ".{0,24}", a: u64, b: u64) {
            for (daily, remaining) in [(daily, remaining), (a.to_string(), b.to_string())] {
                if let Some(quota) = parse(Some(&daily), Some(&remaining)) {
                    prop_assert!(quota.limit > 0 && quota.used <= quota.limit);
                }
            }
        }
    }
}
