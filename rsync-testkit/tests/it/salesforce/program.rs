//! The program `rsync-sim salesforce`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::harness::signed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rsync-sim");

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn refusals_name_the_fix() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = folder.path().join("seed.json");
    std::fs::write(&seed, r#"{"objects":[{"name":"Thing","key_prefix":"a01"}]}"#).expect("written");
    let seed = seed.to_str().expect("a UTF-8 path");
    for (arguments, parts) in [
        (vec!["salesforce", "--key-out"], vec!["--key-out", "value"]),
        (vec!["salesforce", "--port", "0", "--key-out", "/no/such/folder/key.pem"], vec!["--key-out", "writable"]),
        (vec!["salesforce", "--seed", seed], vec!["--seed", "objects[0].name"]),
        (vec!["hubspot", "--key-out", "key.pem"], vec!["--key-out", "leave it out"]),
        (vec!["customerio", "--bulk-queue", "1"], vec!["--bulk-queue", "only salesforce"]),
        (vec!["salesforce", "--bulk-chunk", "soon"], vec!["--bulk-chunk", "whole number"]),
        (vec!["salesforce", "--api-limit"], vec!["--api-limit", "value"]),
    ] {
        let output = Command::new(PROGRAM).args(&arguments).output().expect("the program starts");
        assert!(!output.status.success(), "{arguments:?}");
        let problem = String::from_utf8(output.stderr).expect("text");
        for part in parts {
            assert!(problem.contains(part), "{arguments:?}: {part} missing in: {problem}");
        }
    }
}

#[tokio::test]
async fn its_key_signs_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let (seed, key) = (folder.path().join("seed.json"), folder.path().join("key.pem"));
    let text = json!({ "username": "ada@example.com", "records": { "Account": [{ "Name": "Acme" }] } });
    std::fs::write(&seed, text.to_string()).expect("written");
    let mut child = Command::new(PROGRAM)
        .args([
            "salesforce",
            "--port",
            "0",
            "--unlimited",
            "--api-limit",
            "5",
            "--bulk-queue",
            "0",
            "--bulk-chunk",
            "0",
        ])
        .arg("--seed")
        .arg(&seed)
        .arg("--key-out")
        .arg(&key)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = child.stdout.take().expect("its output");
    let _running = Running(child);
    let lines: Vec<String> = BufReader::new(output).lines().take(7).map(|l| l.expect("text")).collect();
    let value = |label: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label} missing in {lines:?}")).trim().to_owned()
    };
    let base = value("base URL:");
    assert_eq!(value("private key:"), key.display().to_string());
    assert_eq!(value("inspection:"), format!("{base}/_sim/stats"));
    assert_eq!(value("client secret:"), "simulator-consumer-secret");

    let client = reqwest::Client::new();
    let listed = client.get(format!("{base}/services/data")).send().await.expect("an answer");
    assert_eq!(listed.status(), 200);
    // The program runs on the wall clock, which tests do not read: the answer to a wrong time says what it is not.
    let claims = json!({
        "iss": value("client id:"), "sub": value("username:"), "aud": "https://login.salesforce.com", "exp": 1,
    });
    let assertion = signed(&std::fs::read_to_string(&key).expect("written"), &claims);
    let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
    let refused = client.post(format!("{base}/services/oauth2/token")).form(&form).send().await.expect("an answer");
    let refused: Value = refused.json().await.expect("JSON");
    assert_eq!(refused["error_description"], "assertion has expired", "the signature holds");
    let (id, secret) = (value("client id:"), value("client secret:"));
    let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
    let token = client.post(format!("{base}/services/oauth2/token")).form(&form).send().await.expect("an answer");
    let token: Value = token.json().await.expect("JSON");
    let url = format!("{base}/services/data/v66.0/query?q=SELECT+Name+FROM+Account");
    let token = token["access_token"].as_str().expect("a token");
    let found: Value = client.get(url).bearer_auth(token).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(found["records"][0]["Name"], "Acme");

    let jobs = format!("{base}/services/data/v66.0/jobs/ingest");
    let job = json!({ "object": "Account", "operation": "insert" });
    let made = client.post(&jobs).bearer_auth(token).json(&job).send().await.expect("an answer");
    let made: Value = made.json().await.expect("JSON");
    let job = format!("{jobs}/{}", made["id"].as_str().expect("an id"));
    let file = client.put(format!("{job}/batches")).bearer_auth(token).header("content-type", "text/csv");
    assert_eq!(file.body("Name\nNew\n").send().await.expect("an answer").status(), 201);
    let close = json!({ "state": "UploadComplete" });
    assert_eq!(client.patch(&job).bearer_auth(token).json(&close).send().await.expect("an answer").status(), 200);
    let listed: Value =
        client.get(format!("{base}/_sim/jobs")).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(listed["jobs"][0]["state"], "JobComplete", "it takes no time if it is told to take none");
    for status in [200, 403] {
        let answer = client.get(&job).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "five calls are all there are");
    }
}
