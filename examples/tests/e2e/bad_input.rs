//! Input that cannot work: a clear error that names cause, field and fix, and nothing written.

use std::fs;
use std::time::Duration;

use rsync_core::pipeline::PipelineBuilder;
use rsync_core::retry::RetryPolicy;
use rsync_core::{Error, FieldMap, FieldRule, FieldType, HashKey, Kind, Model, Pipeline, Target};
use rsync_examples::churn::{self, Service};

use crate::customers::{Customers, HEADER, Origin, made_up};
use crate::place::{Place, start};

struct Case {
    service: Service,
    customers: Customers,
    place: Box<dyn Place>,
}

impl Case {
    async fn new(service: Service, origin: Origin) -> Self {
        Self { service, customers: Customers::new(origin, &made_up(250, 0)), place: start(service, 0).await }
    }

    /// A case for each service with a file, and one with a database.
    async fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for service in Service::ALL {
            cases.push(Self::new(service, Origin::File).await);
        }
        cases.push(Self::new(Service::HubSpot, Origin::Postgres).await);
        cases
    }

    fn mapping(&self) -> FieldMap {
        churn::mapping(self.service.fields(), |rule| rule)
    }

    fn builder(&self) -> PipelineBuilder {
        self.customers.builder().mapping(self.mapping()).shared_destination(self.place.adapter(), self.service.target())
    }

    /// The error that planning ends with; nothing may have been written.
    async fn refused(&self, sync: Pipeline, kind: Kind, parts: &[&str]) -> Error {
        let before = self.place.records();
        self.place.reset_stats();
        let error = sync.plan().await.expect_err("the plan must be refused");
        let text = format!("{error}");
        assert_eq!(error.kind(), kind, "{}: {text}", self.service.name());
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(text.contains("fix: "), "no fix in: {text}");
        assert_eq!(self.place.stats().write_requests, 0);
        assert_eq!(self.place.records(), before);
        error
    }

    async fn refused_with(&self, rule: FieldRule, parts: &[&str]) {
        let sync = self.builder().mapping(self.mapping().field(rule)).build().unwrap();
        self.refused(sync, Kind::SchemaMismatch, parts).await;
    }
}

#[tokio::test]
async fn columns_fields_and_types_that_do_not_fit() {
    for case in Case::all().await {
        let bad = case.place.bad_fields();
        let spare = bad.spare;
        let at = format!("mapping.{spare}");
        case.refused_with(
            FieldRule::column("Tarif", spare, FieldType::Text),
            &[&at, "the model has no column \"Tarif\"", "customerID"],
        )
        .await;
        case.refused_with(
            FieldRule::column("tenure", spare, FieldType::TextList),
            &[&at, "column \"tenure\"", "cannot become a text list"],
        )
        .await;
        let (unknown, cause) = &bad.unknown;
        case.refused_with(
            FieldRule::column("Churn", unknown.as_str(), FieldType::Boolean),
            &[&format!("mapping.{unknown}"), cause],
        )
        .await;
        case.refused_with(
            FieldRule::column("Churn", bad.read_only, FieldType::Boolean),
            &[&format!("mapping.{}", bad.read_only), "read-only"],
        )
        .await;
        if let Some((field, ty)) = bad.wrong_type {
            case.refused_with(
                FieldRule::column("customerID", field, ty),
                &[&format!("mapping.{field}"), &format!("takes no {ty}")],
            )
            .await;
        }
        case.refused(
            case.builder().model(Model::new("customers").key(["customer_id"])).build().unwrap(),
            Kind::SchemaMismatch,
            &["model.key", "the model has no column \"customer_id\"", "customerID"],
        )
        .await;
    }
}

#[tokio::test]
async fn f30_f39_credentials_and_destinations_that_do_not_answer() {
    for case in Case::all().await {
        let (adapter, secret) = case.place.refused();
        let sync = case.builder().shared_destination(adapter, case.service.target()).build().unwrap();
        let error = case.refused(sync, Kind::Unauthenticated, &[]).await;
        assert!(!format!("{error:?}").contains(secret));

        // A port where nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let retry = RetryPolicy::default().with_max_attempts(2).with_first_pause(Duration::from_millis(1));
        let sync = case
            .builder()
            .shared_destination(case.place.unreachable(port), case.service.target())
            .retry(retry)
            .build()
            .unwrap();
        case.refused(sync, Kind::Unavailable, &[]).await;

        let target = Target::new(case.place.bad_fields().object, case.service.fields().customer_id);
        let sync = case.builder().shared_destination(case.place.adapter(), target).build().unwrap();
        let error = sync.plan().await.unwrap_err();
        assert!(matches!(error.kind(), Kind::NotFound | Kind::InvalidConfig), "{error}");
        assert_eq!(case.place.stats().write_requests, 0);
    }
}

#[tokio::test]
async fn f07_s23_states_that_are_damaged_or_belong_elsewhere() {
    for case in Case::all().await {
        assert_eq!(case.builder().build().unwrap().run().await.unwrap().totals.written, 250);
        // Another account.
        let elsewhere = start(case.service, 1).await;
        let sync = case.builder().shared_destination(elsewhere.adapter(), case.service.target()).build().unwrap();
        case.refused(sync, Kind::StateMismatch, &[]).await;
        assert_eq!(elsewhere.stats().write_requests, 0);
        // Another secret.
        let store = rsync_core::EmbeddedStore::new(case.customers.state()).unwrap();
        let sync = case.builder().state(store, HashKey::from_bytes([7; 16])).build().unwrap();
        case.refused(sync, Kind::StateMismatch, &[]).await;
        // A file that is no state, and half of one.
        let file = case.customers.state().join("churn.state");
        let good = fs::read(&file).unwrap();
        fs::write(&file, b"no state at all".repeat(1000)).unwrap();
        case.refused(case.builder().build().unwrap(), Kind::StateCorrupt, &[]).await;
        fs::write(&file, &good[..good.len() / 2]).unwrap();
        case.refused(case.builder().build().unwrap(), Kind::StateCorrupt, &[]).await;
        fs::write(&file, good).unwrap();
        assert_eq!(case.builder().build().unwrap().run().await.unwrap().totals.unchanged, 250);
    }
}

#[tokio::test]
async fn f21_f22_null_and_duplicate_keys_lose_only_those_rows() {
    for case in Case::all().await {
        let row = |id: &str| format!("{id},Male,0,1,One year,Mailed check,20.00,20.00,No\n");
        let rows = ["A-1", "", "A-2", "A-2", "\"  \"", "A-3"].map(row).concat();
        case.customers.set(&format!("{HEADER}\n{rows}"));
        let report = case.builder().build().unwrap().run().await.unwrap();
        let totals = report.totals;
        assert_eq!((totals.written, totals.duplicates, totals.null_keys), (2, 2, 2), "{report}");
        assert!(totals.balance());
        let text = report.to_string();
        assert!(text.contains("key_duplicated (customerID)") && text.contains("key_null (customerID)"), "{text}");
    }
}
