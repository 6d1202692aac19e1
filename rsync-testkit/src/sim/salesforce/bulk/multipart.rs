//! A job and its file in one request.

use axum::http::header::CONTENT_TYPE;

use crate::sim::salesforce::org::Call;
use crate::sim::salesforce::reply::Refusal;

/// Characters that a file in one request with its job may have.
pub(crate) const MOST_CHARACTERS: usize = 100_000;

/// What the request says of the job, and its file. `None` if the request is no form of parts.
pub(crate) fn parts(call: &Call) -> Option<Result<(&str, &str), Refusal>> {
    let kind = call.header(CONTENT_TYPE)?;
    let (media, parameters) = kind.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="));
    let boundary = boundary.map(|boundary| boundary.trim_matches('"'));
    let found = call.text().map(|body| {
        let boundary = boundary?;
        Some((named(body, boundary, "job")?, named(body, boundary, "content")?))
    });
    let incomplete = || Refusal::new(400, "INVALID_MULTIPART_REQUEST", "The parts job and content are required");
    Some(found.and_then(|found| found.ok_or_else(incomplete)))
}

/// The content of the part with this name.
fn named<'a>(body: &'a str, boundary: &str, name: &str) -> Option<&'a str> {
    let delimiter = format!("--{boundary}");
    let mut parts = body.split(&delimiter).skip(1);
    let wanted = format!("name=\"{name}\"");
    parts.find_map(|part| {
        let (head, content) = part.split_once("\r\n\r\n")?;
        // The line end before the next delimiter belongs to the delimiter.
        head.contains(&wanted).then(|| content.strip_suffix("\r\n").unwrap_or(content))
    })
}
