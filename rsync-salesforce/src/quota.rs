//! The `Sforce-Limit-Info` header: how much of the organization's calls a day is used up.

use rsync_core::destination::Quota;

/// Reads `api-usage=18/5000`, alone or among other directives. What it says is late and rough: consecutive answers
/// can name smaller numbers.
pub(crate) fn parse(header: &str) -> Option<Quota> {
    let usage = header.split([';', ',']).find_map(|directive| directive.trim().strip_prefix("api-usage="))?;
    let (used, limit) = usage.split_once('/')?;
    let (used, limit) = (used.trim().parse().ok()?, limit.trim().parse().ok()?);
    (limit > 0).then(|| Quota::new(used, limit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_the_header() {
        for (header, expected) in [
            ("api-usage=18/5000", Some((18, 5_000))),
            ("api-usage=10018/100000; api-bursts=1/750", Some((10_018, 100_000))),
            ("api-usage=18/5000; per-app-api-usage=17/250(appName=x)", Some((18, 5_000))),
            ("per-app-api-usage=17/250(appName=api-usage=1/2), api-usage=18/5000", Some((18, 5_000))),
            ("api-usage=5001/5000", Some((5_001, 5_000))),
            ("per-app-api-usage=17/250(appName=x)", None),
            ("api-usage=18/0", None),
            ("api-usage=18", None),
            ("api-usage=-1/5", None),
            ("api-usage=99999999999999999999/5", None),
            ("", None),
        ] {
            assert_eq!(parse(header), expected.map(|(used, limit)| Quota::new(used, limit)), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in any::<String>()) {
            let _ = parse(&header);
        }
    }
}
