//! Recorded exchanges with the real service: the simulator's answer to the same request must be the same.
//!
//! The recordings are no part of this repository. Without them the test says so and passes.

use std::collections::BTreeSet;

use reqwest::Method;
use rsync_testkit::adapter::shared_data;
use serde_json::{Value, json};

use super::harness::{Http, roomy};

/// Headers of what stands in front of the service, and of the moment.
const NOT_THE_SERVICE: [&str; 5] = ["alt-svc", "date", "strict-transport-security", "transfer-encoding", "via"];
/// Headers of the App API, which are for browsers except for these.
const OF_APP: [&str; 2] = ["cache-control", "content-type"];

/// Body of the request that a call of the official client makes.
fn body_of(call: &Value) -> Option<Value> {
    let args = &call["args"];
    match call["method"].as_str().expect("a method") {
        "identify" | "track" => Some(args[1].clone()),
        "batch" => Some(json!({ "batch": args[0] })),
        "trackAnonymous" => {
            let mut body = args[1].clone();
            body["anonymous_id"] = args[0].clone();
            Some(body)
        }
        "trackPageView" => Some(json!({ "type": "page", "name": args[1] })),
        "addDevice" => Some(json!({ "device": { "id": args[1], "platform": args[2] } })),
        "suppress" | "unsuppress" => Some(json!({})),
        "destroy" | "deleteDevice" | "getCustomersByEmail" => None,
        other => panic!("the body of {other} is not known here; add it"),
    }
}

#[tokio::test]
async fn live_exchanges() {
    let Some(folder) = shared_data("wire/customerio") else { return };
    let mut compared = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {name}: {e}"));
        let recorded: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name} is no JSON: {e}"));
        // The others were made up for the client; exports are not simulated.
        if recorded["kind"] != "live" || name == "listExports__success.json" {
            continue;
        }
        let exchange = &recorded["mocks"][0];
        let of_app = exchange["host"] == "api.customer.io";
        let sim = roomy().start().await.expect("the simulator starts");
        let http = if of_app { Http::to_app(&sim) } else { Http::to(&sim) };
        let method: Method = exchange["method"].as_str().expect("a method").parse().expect("an HTTP method");
        let body = body_of(&recorded["sdkCall"]).map(|body| body.to_string());
        let reply = http.send(method, exchange["path"].as_str().expect("a path"), body).await.expect("an answer");
        assert_eq!(json!(reply.status), exchange["status"], "{name}: {}", reply.text);
        assert_eq!(reply.json(), exchange["body"], "{name}");
        for (header, value) in exchange["headers"].as_object().expect("headers") {
            let of_service = !NOT_THE_SERVICE.contains(&header.as_str());
            if of_service && (!of_app || OF_APP.contains(&header.as_str())) {
                assert_eq!(reply.header(header), value.as_str(), "{name}: {header}");
            }
        }
        compared.insert(name);
    }
    assert!(compared.len() >= 10, "most recordings are live: {compared:?}");
}
