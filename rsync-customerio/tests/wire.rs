//! Recorded and made-up answers, played back over a socket.

mod support;

use rsync_core::capability::Operation;
use rsync_core::destination::{Context, LookupRequest, Target, WriteBatch};
use rsync_core::ids::{BatchId, JobToken, RunId};
use rsync_core::{Destination, Error, Kind, Retry};
use rsync_customerio::{CustomerIo, Region};
use serde_json::{Value as Json, json};
use support::*;

/// The recorded exchanges with the Track API, by name, where they are at hand.
fn recorded() -> Option<Vec<(String, Json)>> {
    let folder = shared_data("wire/customerio")?;
    let mut exchanges = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let exchange: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let answer = &exchange["mocks"][0];
        if answer["kind"] == "response" && answer["host"] == "track.customer.io" && answer["delayMs"].is_null() {
            exchanges.push((path.file_stem().unwrap().to_string_lossy().into_owned(), exchange));
        }
    }
    Some(exchanges)
}

/// The answer of a recorded exchange, to the byte as far as it was kept.
fn answer(exchange: &Json) -> Played {
    let mock = &exchange["mocks"][0];
    let body = match (&mock["rawBody"], &mock["body"]) {
        (Json::String(raw), _) => raw.clone(),
        // A body of JSON was recorded parsed; the service ends it with a line feed.
        (_, Json::Object(body)) => format!("{}\n", Json::Object(body.clone())),
        (_, body) => body.as_str().unwrap_or_default().to_owned(),
    };
    let headers = mock["headers"].as_object().into_iter().flatten();
    let played = Played::new(mock["status"].as_u64().unwrap() as u16, body.clone());
    headers.fold(played, |played, (name, value)| {
        let value = value.as_str().unwrap();
        match name.as_str() {
            "content-length" => assert_eq!(value, body.len().to_string(), "not the body that was recorded"),
            "transfer-encoding" => {}
            _ => return played.with_header(name, value),
        }
        played
    })
}

async fn write(customerio: &CustomerIo) -> Result<Vec<String>, Error> {
    let rows = rows(&[("id", &[Some("a"), Some("b")]), ("plan", &[Some("pro"), Some("canary")])]);
    Ok(words(&settled(customerio.write(&cx(), upsert("id", rows)).await?)))
}

#[tokio::test]
async fn recorded_answers_are_understood() {
    let Some(exchanges) = recorded() else { return };
    let (mut taken, mut redirected) = (0, 0);
    for (name, exchange) in &exchanges {
        let server = Playback::start(vec![answer(exchange)]).await;
        let result = write(&customerio_at(&server)).await;
        match exchange["mocks"][0]["status"].as_u64().unwrap() {
            200 | 204 => {
                assert_eq!(result.unwrap(), [ACCEPTED; 2], "{name}");
                taken += 1;
            }
            301 | 302 | 307 | 308 => {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.retry()), (Kind::InvalidConfig, Retry::Never), "{name}");
                assert!(error.remedy().is_some_and(|remedy| remedy.ends_with("eu")), "{name}: {error}");
                redirected += 1;
            }
            status => panic!("{name}: no expectation for {status}"),
        }
        assert_eq!(server.requests().len(), 1, "{name}: sent once, and no redirection followed");
    }
    assert!(taken >= 9 && redirected == 4, "{taken} {redirected}: {exchanges:?}");
}

#[tokio::test]
async fn the_recorded_request_is_made() {
    let Some(exchanges) = recorded() else { return };
    let (_, exchange) = exchanges.iter().find(|(name, _)| name == "batch__success").unwrap();
    let item = &exchange["sdkCall"]["args"][0][0];
    let server = Playback::start(vec![answer(exchange)]).await;
    let id = item["identifiers"]["id"].as_str().unwrap();
    customerio_at(&server).write(&cx(), upsert("id", keys("id", &[id]))).await.unwrap();
    let (head, body) = server.requests().remove(0);
    let (method, path) = (&exchange["mocks"][0]["method"], &exchange["mocks"][0]["path"]);
    let first = format!("{} {} HTTP/1.1", method.as_str().unwrap(), path.as_str().unwrap());
    assert_eq!(head.lines().next(), Some(first.as_str()));
    let sent: Json = serde_json::from_str(&body).unwrap();
    // The recorded item has attributes too, but none in them; there we say nothing.
    let mut expected = item.clone();
    assert_eq!(expected.as_object_mut().unwrap().remove("attributes"), Some(json!({})));
    assert_eq!(sent, json!({ "batch": [expected] }));
}

#[tokio::test]
async fn requests_carry_what_the_service_wants() {
    let server = Playback::one(200, r#"{"url":"https://track.customer.io","region":"us","environment_id":3}"#).await;
    let customerio = customerio_at(&server);
    assert_eq!(customerio.check(&people("id")).await.unwrap().as_str(), "us/3");
    write(&customerio).await.unwrap();
    let heads: Vec<String> = server.requests().into_iter().map(|(head, _)| head.to_lowercase()).collect();
    assert!(heads[0].starts_with("get /api/v1/accounts/region http/1.1\r\n"), "{}", heads[0]);
    assert!(heads[1].starts_with("post /api/v2/batch http/1.1\r\n"), "{}", heads[1]);
    // base64 of site:canary-key
    let expected = ["authorization: basic c2l0ztpjyw5hcnkta2v5", "user-agent: rsync-customerio/"];
    assert!(expected.iter().all(|line| heads.iter().all(|head| head.contains(line))), "{heads:?}");
    assert!(heads[1].contains("content-type: application/json\r\n"));
}

#[tokio::test]
async fn refusals_of_items_reach_their_rows() {
    let body = r#"{"errors":[{"batch_index":1,"reason":"invalid","field":"attributes.plan","message":"canary"}]}"#;
    for status in [200, 207] {
        let server = Playback::one(status, body).await;
        assert_eq!(write(&customerio_at(&server)).await.unwrap(), [ACCEPTED, "Rejected invalid plan"]);
    }
    // Positions count the rows that were sent, not those of the batch.
    let server = Playback::one(207, body).await;
    let rows = rows(&[("id", &[Some(" "), Some("b"), Some("cio_x"), Some("d")]), ("plan", &[Some("x"); 4])]);
    let outcomes = settled(customerio_at(&server).write(&cx(), upsert("id", rows)).await.unwrap());
    let expected =
        ["Rejected LOCAL_IDENTIFIER_EMPTY id", ACCEPTED, "Rejected LOCAL_CIO_PREFIX id", "Rejected invalid plan"];
    assert_eq!(words(&outcomes), expected);
}

#[tokio::test]
async fn refusals_of_a_batch_name_code_and_field_for_the_search() {
    let table = [
        (r#"{"errors":[{"reason":"invalid","field":"attributes.plan","message":"x"}]}"#, Some("invalid"), Some("plan")),
        (r#"{"errors":[{"batch_index":1,"reason":"invalid","field":"identifiers.id"}]}"#, Some("invalid"), Some("id")),
        (
            r#"{"errors":[{"message":"x"},{"reason":"invalid","field":"attributes.plan"}]}"#,
            Some("invalid"),
            Some("plan"),
        ),
        (r#"{"errors":[{"field":"primary.id","message":"must be a string or a number"}]}"#, Some("refused"), None),
        (r#"{"meta":{"errors":["id attribute and identifier are not the same value"]}}"#, None, None),
        (r#"{"meta":{"error":"x"}}"#, None, None),
        ("<html>413</html>", None, None),
        ("", None, None),
    ];
    for (body, code, field) in table {
        for status in [400, 413, 422] {
            let error = write(&customerio_at(&Playback::one(status, body).await)).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (Kind::Rejected, Retry::Never), "{body}");
            assert_eq!((error.context("code"), error.context("field")), (code, field), "{body}");
        }
    }
}

#[tokio::test]
async fn f36_answers_that_cannot_be_understood_leave_the_fate_open() {
    let bodies = [
        (200, "<html>bad gateway</html>"),
        (200, "<<not-json>>"),
        (200, "{"),
        (200, "[]"),
        (200, " "),
        (200, r#"{"errors":[{"batch_index":2}]}"#),
        (200, r#"{"errors":[{"reason":"invalid"}]}"#),
        (207, "{}"),
        (207, r#"{"errors":[]}"#),
        (207, r#"{"errors":[{"batch_index":99,"message":"canary"}]}"#),
    ];
    for (status, body) in bodies {
        let error = write(&customerio_at(&Playback::one(status, body).await)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Ambiguous), "{body}");
    }
    let probes = [
        "",
        "{}",
        "<html>",
        r#"["us"]"#,
        r#"{"region":"us"}"#,
        r#"{"environment_id":3}"#,
        r#"{"region":"canary","environment_id":3}"#,
        r#"{"region":"us","environment_id":"canary"}"#,
        r#"{"region":"us","environment_id":""}"#,
    ];
    for body in probes {
        let error = customerio_at(&Playback::one(200, body).await).check(&people("id")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Protocol, Retry::Backoff), "{body}");
        assert!(!shown(&error).contains(CANARY));
    }
}

#[tokio::test]
async fn s01_s02_keys_and_values_not_in_debug_or_errors() {
    let echo = r#"{"meta":{"error":"canary"},"errors":[{"batch_index":9,"reason":"canary","field":"attributes.canary","message":"canary"}]}"#;
    for status in [200, 207, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503] {
        let server = Playback::one(status, echo).await;
        let customerio = customerio_at(&server);
        let error = write(&customerio).await.unwrap_err();
        let check = customerio.check(&people("id")).await.unwrap_err();
        for text in [shown(&error), shown(&check), format!("{customerio:?} {customerio:#?}")] {
            assert!(!text.to_lowercase().contains(CANARY), "{status}: {text}");
        }
    }
    let item = r#"{"errors":[{"batch_index":0,"reason":"canary","field":"canary","message":"canary"}]}"#;
    let outcomes = write(&customerio_at(&Playback::one(207, item).await)).await.unwrap();
    assert_eq!(outcomes, ["Rejected refused -", ACCEPTED]);
}

#[tokio::test]
async fn calls_that_send_nothing() {
    let server = Playback::one(500, "").await;
    let customerio = builder(server.base_url(), "site", "key").max_rows(3).build().unwrap();
    let empty = customerio.write(&cx(), upsert("id", keys("id", &[]))).await.unwrap();
    assert!(settled(empty).is_empty());
    let refused = rows(&[("id", &[Some("a"), Some("b")]), ("email", &[Some("none"), Some("none")])]);
    let outcomes = settled(customerio.write(&cx(), upsert("id", refused)).await.unwrap());
    assert_eq!(words(&outcomes), ["Rejected LOCAL_EMAIL email"; 2]);

    let error = customerio.write(&cx(), upsert("id", keys("id", &["1", "2", "3", "4"]))).await.unwrap_err();
    assert_eq!((error.kind(), error.context("limit")), (Kind::Internal, Some("3")));

    // What no row can bring there is an error of the mapping, told before anything is sent.
    let unsuitable =
        rows(&[("id", &[Some("a")]), ("_secret", &[Some("x")]), ("a.b", &[Some("x")]), ("created_at", &[None])]);
    let error = customerio.write(&cx(), upsert("id", unsuitable)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.problems().len()), (Kind::SchemaMismatch, Retry::Never, 3));

    for operation in [Operation::Create, Operation::Update, Operation::Append] {
        let batch = WriteBatch::new(BatchId(1), operation, people("id"), keys("id", &["1"])).unwrap();
        let error = customerio.write(&cx(), batch).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Unsupported, Retry::Never), "{operation:?}");
        assert!(customerio.capability(&people("id")).limits(operation).is_none());
    }
    let error = customerio.write(&cx(), upsert("plan", keys("plan", &["x"]))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::SchemaMismatch);
    let elsewhere = Target::new("objects", "id");
    let batch = WriteBatch::new(BatchId(1), Operation::Upsert, elsewhere.clone(), keys("id", &["1"])).unwrap();
    assert_eq!(customerio.write(&cx(), batch).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(customerio.check(&elsewhere).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(customerio.describe(&elsewhere).await.unwrap_err().kind(), Kind::NotFound);

    let lookup = LookupRequest::new(people("id"), keys("id", &["1"]), Vec::new());
    assert_eq!(customerio.lookup(&cx(), lookup).await.unwrap_err().kind(), Kind::Unsupported);
    let rows = upsert("id", keys("id", &["1"]));
    let error = customerio.resume(&Context::new(RunId(1)), &rows, JobToken::new("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_account_must_be_in_the_configured_region() {
    for (configured, told, ok) in
        [(Region::Us, "us", true), (Region::Us, "eu", false), (Region::Eu, "eu", true), (Region::Eu, "us", false)]
    {
        let server = Playback::one(200, format!(r#"{{"region":"{told}","environment_id":"17"}}"#)).await;
        let customerio = builder(server.base_url(), "site", "key").region(configured).build().unwrap();
        match customerio.check(&people("email")).await {
            Ok(account) => assert!(ok && account.as_str() == format!("{told}/17"), "{configured:?} {told}"),
            Err(error) => {
                assert!(!ok, "{error}");
                assert_eq!((error.kind(), error.retry()), (Kind::InvalidConfig, Retry::Never));
                assert_eq!(error.remedy(), Some(format!("set the region to {told}").as_str()));
            }
        }
    }
}
