//! Versions, resources, limits, and what every request has to pass.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use rsync_testkit::sim::salesforce::{NotFoundBody, Quirks};
use serde_json::{Value, json};

use super::harness::{Http, assert_parts, org};

#[tokio::test]
async fn versions() {
    let sim = org().start().await.expect("the simulator starts");
    let listed = Http::to(&sim).with_token(None).get("/services/data").await;
    assert_eq!(listed.status, 200, "no session is needed");
    let listed = listed.json();
    let entry = |version: &str| listed.as_array().expect("a list").iter().find(|e| e["version"] == version).cloned();
    for (version, label) in
        [("60.0", "Spring '24"), ("62.0", "Winter '25"), ("66.0", "Spring '26"), ("68.0", "Winter '27")]
    {
        let expected = json!({ "label": label, "url": format!("/services/data/v{version}"), "version": version });
        assert_eq!(entry(version), Some(expected));
    }
    let http = Http::to(&sim);
    for (path, status) in [
        ("/services/data/v60.0/limits", 200),
        ("/services/data/v68.0/limits/", 200),
        ("/services/data/v59.0/limits", 404),
        ("/services/data/v69.0/limits", 404),
        ("/services/data/66.0/limits", 404),
        ("/services/data/v66/limits", 404),
    ] {
        assert_eq!(http.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn resources_and_limits() {
    let sim = org().with_api_limit(50).start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let root = http.get("/").await.json();
    assert_eq!(root["sobjects"], "/services/data/v66.0/sobjects");
    assert_parts(
        "limits",
        &http.get("/limits").await.json(),
        &[("/DailyApiRequests/Max", json!(50)), ("/DailyApiRequests/Remaining", json!(48))],
    );
}

#[tokio::test]
async fn refusals_before_any_endpoint() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let json = [("content-type", "application/json; charset=UTF-8")];
    let text = [("content-type", "text/csv")];
    let long = format!("/query?q={}", "x".repeat(16_384));
    let padding = "x".repeat(16_000);
    let padded = [("x-padding", padding.as_str())];
    let object = Some("{}".to_owned());
    for (method, path, headers, body, status, code) in [
        (Method::GET, "/nothing", &json[..], None, 404, "NOT_FOUND"),
        (Method::GET, "/sobjects/Contact/a/b/c", &json, None, 404, "NOT_FOUND"),
        (Method::GET, "/services/apexrest/x", &json, None, 404, "NOT_FOUND"),
        (Method::POST, "/composite/graph", &json, object.clone(), 404, "NOT_FOUND"),
        (Method::PUT, "/composite/sobjects", &json, object.clone(), 405, "METHOD_NOT_ALLOWED"),
        (Method::DELETE, "/composite/sobjects/Contact/Ext__c", &json, None, 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/sobjects/Contact", &text, object.clone(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::PATCH, "/composite/sobjects", &[], object.clone(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/sobjects/Contact", &json, Some("{".to_owned()), 400, "JSON_PARSER_ERROR"),
        (Method::POST, "/composite/sobjects", &json, Some("[]".to_owned()), 400, "JSON_PARSER_ERROR"),
        (Method::GET, &long, &json, None, 414, "URI_TOO_LONG"),
        (Method::GET, "/limits", &padded, None, 200, ""),
        (Method::GET, &format!("/limits?x={}", "x".repeat(400)), &padded, None, 431, "REQUEST_HEADER_TOO_LARGE"),
    ] {
        let reply =
            http.with_headers(method.clone(), path, headers, body.map(String::into_bytes)).await.expect("an answer");
        let shown = path.get(..40).unwrap_or(path);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {shown}: {}", reply.text);
        assert_eq!(reply.header("content-type"), Some("application/json;charset=UTF-8"), "{method} {shown}");
    }
    assert_eq!(sim.stats().unknown_requests, 6);
}

#[tokio::test]
async fn a_404_may_come_without_its_list() {
    let quirks = Quirks { not_found_body: NotFoundBody::Object, ..Quirks::default() };
    let sim = org().with_quirks(quirks).start().await.expect("the simulator starts");
    let reply = Http::to(&sim).get("/sobjects/Nothing/describe").await;
    let body = json!({ "message": "The requested resource does not exist", "errorCode": "NOT_FOUND" });
    assert_eq!((reply.status, reply.json()), (404, body));
}

#[tokio::test]
async fn answers_are_never_cached() {
    let sim = org().start().await.expect("the simulator starts");
    let reply = Http::to(&sim).get("/limits").await;
    assert_eq!(reply.header("cache-control"), Some("no-cache,must-revalidate,max-age=0,no-store,private"));
    assert_ne!(reply.json(), Value::Null);
}

#[tokio::test]
async fn compressed_bodies() {
    let sim = org().start().await.expect("the simulator starts");
    let http = Http::to(&sim);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(br#"{"Name":"Acme"}"#).expect("written");
    let packed = encoder.finish().expect("packed");
    let kind = ("content-type", "application/json");
    for (encoding, body, status) in [
        ("gzip", packed.clone(), 201),
        ("gzip", packed[..10].to_vec(), 415),
        ("br", packed.clone(), 415),
        ("identity", packed, 415),
    ] {
        let headers = [kind, ("content-encoding", encoding)];
        let reply =
            http.with_headers(Method::POST, "/sobjects/Account", &headers, Some(body)).await.expect("an answer");
        assert_eq!(reply.status, status, "{encoding}: {}", reply.text);
    }
    assert_eq!(sim.records("Account")[0].fields["Name"], "Acme");
}
