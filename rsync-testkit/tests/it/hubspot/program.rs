//! The program `rsync-sim`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

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

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program starts")
}

#[test]
fn help_and_refusals_name_the_fix() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).expect("text");
    for part in [
        "hubspot",
        "--tier",
        "--region",
        "--port",
        "--seed",
        "--faults",
        "--quirks",
        "--tls",
        "--ca-out",
        "/_sim/records/{object}",
    ] {
        assert!(help.contains(part), "{part} missing in: {help}");
    }
    assert_eq!(run(&["hubspot", "--help"]).stdout, help.as_bytes());

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let bad_seed =
        file("seed.json", r#"{"time_zone":"Mars/Base","custom_objects":[{"name":"deals","type_number":1}]}"#);
    let bad_plan = file("plan.json", r#"{"rules":[{"action":{"respond":{"status":7}}}]}"#);
    let bad_quirks = file("quirks.json", r#"{"result_order":"random"}"#);
    for (arguments, parts) in [
        (vec![], vec!["no service", "hubspot"]),
        (vec!["crm"], vec!["\"crm\"", "hubspot"]),
        (vec!["hubspot", "--prot", "1"], vec!["--prot", "--help"]),
        (vec!["hubspot", "--port"], vec!["--port", "value"]),
        (vec!["hubspot", "--port", "70000"], vec!["--port", "70000", "65535"]),
        (vec!["hubspot", "--tier", "gold"], vec!["--tier", "gold", "enterprise"]),
        (vec!["hubspot", "--tier", "starter", "--unlimited"], vec!["--tier", "--unlimited"]),
        (vec!["hubspot", "--region", "eu"], vec!["--region", "no regions"]),
        (vec!["customerio", "--tier", "starter"], vec!["--tier", "no tiers"]),
        (vec!["customerio", "--host-region", "asia"], vec!["--host-region", "asia"]),
        (vec!["salesforce", "--region", "eu"], vec!["--region", "no regions"]),
        (vec!["hubspot", "--tls"], vec!["--ca-out"]),
        (vec!["hubspot", "--ca-out", "x.pem"], vec!["--tls"]),
        (vec!["hubspot", "--seed", "/no/such/file"], vec!["--seed", "/no/such/file"]),
        (vec!["hubspot", "--seed", &bad_seed], vec!["--seed", "time_zone", "custom_objects[0].name"]),
        (vec!["hubspot", "--faults", &bad_plan], vec!["--faults", "rules[0].action.status"]),
        (vec!["hubspot", "--quirks", &bad_quirks], vec!["--quirks", "random"]),
    ] {
        let output = run(&arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let problem = String::from_utf8(output.stderr).expect("text");
        for part in parts {
            assert!(problem.contains(part), "{arguments:?}: {part} missing in: {problem}");
        }
    }
}

#[tokio::test]
async fn it_serves_its_seed_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (seed, plan, ca) =
        (folder.path().join("seed.json"), folder.path().join("plan.json"), folder.path().join("ca.pem"));
    let seed_text = json!({
        "portal_id": 77,
        "rate_limits": { "tier": "enterprise" },
        "tokens": [{ "token": "pat-test", "scopes": ["crm.objects.contacts.read"] }],
        "properties": { "contacts": [{ "name": "external_id", "type": "string", "field_type": "text", "has_unique_value": true }] },
        "records": { "contacts": [{ "email": "Ada@example.com", "external_id": "a" }] },
    });
    std::fs::write(&seed, seed_text.to_string()).expect("written");
    let once =
        json!({ "rules": [{ "match": { "requests": { "nth": 1 } }, "action": { "respond": { "status": 503 } } }] });
    std::fs::write(&plan, once.to_string()).expect("written");
    let mut child = Command::new(PROGRAM)
        .args(["hubspot", "--port", "0", "--unlimited", "--tls"])
        .arg("--seed")
        .arg(&seed)
        .arg("--faults")
        .arg(&plan)
        .arg("--ca-out")
        .arg(&ca)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = child.stdout.take().expect("its output");
    let _running = Running(child);
    let lines: Vec<String> = BufReader::new(output).lines().take(4).map(|l| l.expect("text")).collect();
    let value = |label: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("{label} missing in {lines:?}")).trim().to_owned()
    };
    assert_eq!(value("HubSpot simulator of portal"), "77");
    let (base, token) = (value("base URL:"), value("token:"));
    assert_eq!(value("inspection:"), format!("{base}/_sim/stats"));

    let certificate = reqwest::Certificate::from_pem(&std::fs::read(&ca).expect("written by now")).expect("it is PEM");
    let client = reqwest::Client::builder().tls_certs_only([certificate]).build().expect("client builds");
    let get = async |path: &str| {
        let response = client.get(format!("{base}{path}")).bearer_auth(&token).send().await.expect("an answer");
        assert!(response.headers().get("x-hubspot-ratelimit-max").is_none(), "there are no limits");
        (response.status().as_u16(), response.json::<Value>().await.expect("JSON"))
    };
    let path = "/crm/v3/objects/contacts/a?idProperty=external_id";
    assert_eq!(get(path).await.0, 503);
    let (status, body) = get(path).await;
    assert_eq!((status, &body["properties"]["email"]), (200, &json!("ada@example.com")));
    assert_eq!(get("/_sim/faults").await.1["rules"][0]["fired"], 1);
}
