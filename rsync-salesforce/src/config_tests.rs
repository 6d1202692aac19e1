use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rsync_http::AccessToken;

use super::*;

fn config(json: &str) -> Result<SalesforceConfig, serde_json::Error> {
    serde_json::from_str(json)
}

fn places(builder: &Builder) -> Vec<String> {
    let error = builder.clone().build().unwrap_err();
    assert!(!format!("{error} {error:?} {builder:?}").contains("canary"));
    error.problems().iter().map(|problem| problem.at.clone()).collect()
}

#[test]
fn files_are_read_strictly() {
    let config = config(
        r#"{"credentials": {"client_credentials": {"client_id": "key", "client_secret": "canary"}},
            "login_url": "https://acme.my.salesforce.com", "api_version": 61, "auto_assign": {"rule": "01Q000000000001"},
            "allowed_hosts": ["crm.example.com"], "limits": {"total_ms": 5000}, "max_in_flight": 2,
            "duplicate_rules": "save_alerted", "parents": ["Account"]}"#,
    )
    .unwrap();
    assert_eq!((config.api_version, config.max_in_flight, config.limits.total_ms), (61, 2, 5_000));
    assert_eq!(config.auto_assign.header(), "01Q000000000001");
    assert_eq!(
        (config.duplicate_rules, &config.parents[..]),
        (DuplicateRules::SaveAlerted, &["Account".to_owned()][..])
    );
    assert!(!format!("{config:?}").contains("canary"));
    let destination = Salesforce::from_config(config).build().unwrap();
    assert!(!format!("{destination:?}").contains("canary"));

    let defaults: SalesforceConfig = self::config("{}").unwrap();
    assert_eq!((defaults.api_version, defaults.auto_assign.header(), &*defaults.login_url), (66, "FALSE", LOGIN));
    for bad in [
        r#"{"token": "x"}"#,
        r#"{"credentials": {"password": {}}}"#,
        r#"{"credentials": {"client_credentials": {"client_id": "x", "client_secret": "y", "z": 1}}}"#,
        r#"{"api_version": "v66.0"}"#,
        r#"{"limits": {"total": 1}}"#,
    ] {
        assert!(self::config(bad).is_err(), "{bad}");
    }
}

#[derive(Debug)]
struct Fixed;

#[async_trait::async_trait]
impl TokenSource for Fixed {
    async fn fetch(&self) -> Result<AccessToken> {
        Ok(AccessToken::new(Secret::new("canary")))
    }
}

#[test]
fn all_problems_at_once() {
    let builder = Salesforce::builder()
        .credentials(Credentials::jwt_bearer(" ", "canary ", Secret::new("canary")))
        .login_url("http://10.0.0.1")
        .api_version(59)
        .auto_assign(AutoAssign::Rule("canary".into()))
        .allowed_host("https://crm.example.com")
        .extra_root_ca_pem("none")
        .max_in_flight(0);
    assert_eq!(
        places(&builder),
        [
            "login_url",
            "extra_root_ca_pem",
            "credentials.client_id",
            "credentials.username",
            "credentials.private_key",
            "api_version",
            "auto_assign.rule",
            "max_in_flight",
            "allowed_hosts",
        ]
    );
    let secret = || Credentials::client_credentials("key", Secret::new("canary"));
    assert_eq!(places(&Salesforce::builder().credentials(secret())), ["login_url"], "it needs My Domain");
    let source = || Arc::new(Fixed) as Arc<dyn TokenSource>;
    let both = Salesforce::builder().credentials(secret()).token_source(source(), "https://acme.my.salesforce.com");
    assert_eq!(places(&both), ["credentials"]);
    assert_eq!(places(&Salesforce::builder().token_source(source(), "acme.my.salesforce.com")), ["instance_url"]);
    assert!(Salesforce::builder().token_source(source(), "https://acme.my.salesforce.com").build().is_ok());
}

#[test]
fn sandboxes_have_an_audience_of_their_own() {
    let pem = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap().serialize_pem();
    for (login_url, audience, expected) in [
        (LOGIN, None, LOGIN),
        ("https://acme.my.salesforce.com", None, LOGIN),
        ("https://test.salesforce.com/", None, TEST_LOGIN),
        ("https://acme--dev.sandbox.my.salesforce.com", None, TEST_LOGIN),
        (LOGIN, Some("https://acme.example.com"), "https://acme.example.com"),
    ] {
        let credentials = Credentials::JwtBearer {
            client_id: "key".into(),
            username: "user".into(),
            private_key: Secret::new(&pem),
            audience: audience.map(str::to_owned),
        };
        let builder = Salesforce::builder().credentials(credentials).login_url(login_url);
        let mut problems = Vec::new();
        match builder.grant(&mut problems) {
            Some(Grant::JwtBearer { audience, .. }) => assert_eq!(audience, expected, "{login_url}"),
            _ => panic!("{problems:?}"),
        }
    }
}
