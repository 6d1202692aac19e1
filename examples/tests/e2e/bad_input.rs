//! Input that cannot work: a clear error that names cause, field and fix, and nothing written.

use std::fs;
use std::path::Path;

use rsync_core::pipeline::PipelineBuilder;
use rsync_core::retry::RetryPolicy;
use rsync_core::{Error, FieldRule, FieldType, HashKey, Kind, Model, Pipeline, Target};
use rsync_examples::churn;
use rsync_testkit::sim::hubspot::{HubSpotSim, Seed};
use tempfile::TempDir;

use crate::customers::{HEADER, write_customers};

struct Case {
    folder: TempDir,
    portal: HubSpotSim,
}

impl Case {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_customers(&folder.path().join("customers.csv"), 250, 0);
        Self { folder, portal: churn::portal(Seed::default()).start().await.unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn builder_with_token(&self, token: &str) -> PipelineBuilder {
        let adapter = churn::adapter(&self.portal.base_url(), token).unwrap();
        churn::builder(&self.path().join("customers.csv"), &self.path().join("state"), adapter)
            .unwrap()
            .mapping(churn::mapping(|rule| rule))
    }

    fn builder(&self) -> PipelineBuilder {
        self.builder_with_token(&self.portal.token())
    }

    /// The error that planning ends with; nothing may have been written.
    async fn refused(&self, sync: Pipeline, kind: Kind, parts: &[&str]) -> Error {
        let error = sync.plan().await.expect_err("the plan must be refused");
        let text = format!("{error}");
        assert_eq!(error.kind(), kind, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(text.contains("fix: "), "no fix in: {text}");
        assert_eq!(self.portal.stats().mutating_requests(), 0);
        assert!(self.portal.records("contacts").is_empty());
        error
    }
}

#[tokio::test]
async fn columns_fields_and_types_that_do_not_fit() {
    let case = Case::new().await;
    let with = |rule| churn::mapping(|rule| rule).field(rule);
    let unknown_column = with(FieldRule::column("Tarif", "lastname", FieldType::Text));
    case.refused(
        case.builder().mapping(unknown_column).build().unwrap(),
        Kind::SchemaMismatch,
        &["mapping.lastname", "the model has no column \"Tarif\"", "customerID"],
    )
    .await;
    let unknown_field = with(FieldRule::column("Churn", "churnt", FieldType::Text));
    case.refused(
        case.builder().mapping(unknown_field).build().unwrap(),
        Kind::SchemaMismatch,
        &["mapping.churnt", "the destination has no field \"churnt\"", "churned"],
    )
    .await;
    let unmappable = with(FieldRule::column("tenure", "lastname", FieldType::TextList));
    case.refused(
        case.builder().mapping(unmappable).build().unwrap(),
        Kind::SchemaMismatch,
        &["mapping.lastname", "column \"tenure\"", "cannot become a text list"],
    )
    .await;
    let wrong_type = with(FieldRule::column("Churn", "lifecyclestage", FieldType::Timestamp));
    case.refused(
        case.builder().mapping(wrong_type).build().unwrap(),
        Kind::SchemaMismatch,
        &["mapping.lifecyclestage", "takes no timestamp"],
    )
    .await;
    case.refused(
        case.builder().model(Model::new("customers").key(["customer_id"])).build().unwrap(),
        Kind::SchemaMismatch,
        &["model.key", "the model has no column \"customer_id\"", "customerID"],
    )
    .await;
    let read_only = with(FieldRule::column("Churn", "hs_object_id", FieldType::Text));
    case.refused(
        case.builder().mapping(read_only).build().unwrap(),
        Kind::SchemaMismatch,
        &["mapping.hs_object_id", "read-only"],
    )
    .await;
}

#[tokio::test]
async fn credentials_and_destinations_that_do_not_answer() {
    let case = Case::new().await;
    let error =
        case.refused(case.builder_with_token("pat-na1-wrong").build().unwrap(), Kind::Unauthenticated, &[]).await;
    assert!(!format!("{error:?}").contains("pat-na1-wrong"));

    // A port where nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let adapter = churn::adapter(&format!("http://127.0.0.1:{port}"), "pat-na1-any").unwrap();
    let retry = RetryPolicy::default().with_max_attempts(2).with_first_pause(std::time::Duration::from_millis(1));
    let sync = case.builder().destination(adapter, churn::target()).retry(retry).build().unwrap();
    case.refused(sync, Kind::Unavailable, &[]).await;

    let adapter = churn::adapter(&case.portal.base_url(), &case.portal.token()).unwrap();
    let sync = case.builder().destination(adapter, Target::new("butterflies", "customer_id")).build().unwrap();
    let error = sync.plan().await.unwrap_err();
    assert!(matches!(error.kind(), Kind::NotFound | Kind::InvalidConfig), "{error}");
    assert_eq!(case.portal.stats().mutating_requests(), 0);
}

#[tokio::test]
async fn f07_s23_states_that_are_damaged_or_belong_elsewhere() {
    let case = Case::new().await;
    let _ = case.builder().build().unwrap().run().await.unwrap();
    let before = case.portal.records("contacts");
    case.portal.reset_stats();
    let refused = |sync: Pipeline, kind: Kind| {
        let portal = &case.portal;
        async move {
            let error = sync.plan().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("fix: "), "{error}");
            assert_eq!(portal.stats().mutating_requests(), 0);
        }
    };
    // Another portal.
    let elsewhere = churn::portal(Seed { portal_id: 999_001, ..Seed::default() }).start().await.unwrap();
    let adapter = churn::adapter(&elsewhere.base_url(), &elsewhere.token()).unwrap();
    refused(case.builder().destination(adapter, churn::target()).build().unwrap(), Kind::StateMismatch).await;
    assert_eq!(elsewhere.stats().mutating_requests(), 0);
    // Another secret.
    let store = rsync_core::EmbeddedStore::new(case.path().join("state")).unwrap();
    refused(case.builder().state(store, HashKey::from_bytes([7; 16])).build().unwrap(), Kind::StateMismatch).await;
    // Another sync's file under this name, and a file that is no state.
    let file = case.path().join("state/churn.state");
    let good = fs::read(&file).unwrap();
    fs::write(&file, b"no state at all".repeat(1000)).unwrap();
    refused(case.builder().build().unwrap(), Kind::StateCorrupt).await;
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    refused(case.builder().build().unwrap(), Kind::StateCorrupt).await;
    fs::write(&file, good).unwrap();
    assert_eq!(case.builder().build().unwrap().run().await.unwrap().totals.unchanged, 250);
    assert_eq!(case.portal.records("contacts"), before);
}

#[tokio::test]
async fn f21_f22_null_and_duplicate_keys_lose_only_those_rows() {
    let case = Case::new().await;
    let row = |id: &str| format!("{id},Male,0,1,One year,Mailed check,20.00,20.00,No\n");
    let rows = ["A-1", "", "A-2", "A-2", "\"  \"", "A-3"].map(row).concat();
    fs::write(case.path().join("customers.csv"), format!("{HEADER}\n{rows}")).unwrap();
    let report = case.builder().build().unwrap().run().await.unwrap();
    let totals = report.totals;
    assert_eq!((totals.written, totals.duplicates, totals.null_keys), (2, 2, 2), "{report}");
    assert!(totals.balance());
    let text = report.to_string();
    assert!(text.contains("key_duplicated (customerID)") && text.contains("key_null (customerID)"), "{text}");
}
