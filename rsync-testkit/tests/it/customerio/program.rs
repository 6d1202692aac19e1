//! The program `rsync-sim` with this service.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn it_serves_its_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).expect("written");
        path
    };
    let seed = file(
        "seed.json",
        json!({
            "site_id": "site", "api_key": "key", "app_api_key": "app", "environment_id": 77, "region": "eu",
            "rate_limits": { "explicit": { "app_per_second": 1 } },
            "people": [{ "id": "1", "email": "ada@example.com", "attributes": { "age": 30 } }],
        }),
    );
    let quirks = file("quirks.json", json!({ "apply_delay_ms": 0, "batch_order": "as_sent" }));
    let once =
        json!({ "rules": [{ "match": { "requests": { "nth": 1 } }, "action": { "respond": { "status": 503 } } }] });
    let faults = file("faults.json", once);
    let mut child = Command::new(env!("CARGO_BIN_EXE_rsync-sim"))
        .args(["customerio", "--port", "0", "--unlimited", "--seed"])
        .arg(&seed)
        .arg("--quirks")
        .arg(&quirks)
        .arg("--faults")
        .arg(&faults)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = child.stdout.take().expect("its output");
    let _running = Running(child);
    let lines: Vec<String> = BufReader::new(output).lines().take(6).map(|line| line.expect("text")).collect();
    let value = |label: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label} missing in {lines:?}")).trim().to_owned()
    };
    assert_eq!(value("Customer.io simulator of workspace"), "77");
    assert_eq!(
        (value("site id:"), value("API key:"), value("App API key:")),
        ("site".into(), "key".into(), "app".into())
    );
    let base = value("base URL:");
    assert_eq!(value("inspection:"), format!("{base}/_sim/stats"));

    let client = reqwest::Client::new();
    let probe = async || {
        let request = client.get(format!("{base}/api/v1/accounts/region")).basic_auth("site", Some("key"));
        request.send().await.expect("an answer")
    };
    assert_eq!(probe().await.status(), 503);
    assert_eq!(probe().await.json::<Value>().await.expect("JSON")["region"], "eu");
    for _ in 0..3 {
        let read = client.get(format!("{base}/v1/customers/1/attributes")).bearer_auth("app").send().await;
        let read: Value = read.expect("an answer").json().await.expect("there are no limits, so it is JSON");
        assert_eq!(read["customer"]["attributes"]["age"], "30");
    }
}

#[test]
fn a_seed_that_cannot_work_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = folder.path().join("seed.json");
    std::fs::write(&seed, r#"{"people":[{}]}"#).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_rsync-sim")).args(["customerio", "--seed"]).arg(&seed).output();
    let output = output.expect("the program starts");
    let problem = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && problem.contains("--seed") && problem.contains("people[0]"), "{problem}");
}
