//! A Salesforce organization.

use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::{Destination, FieldType, Secret};
use rsync_examples::churn::{Service, salesforce};
use rsync_salesforce::Credentials;
use rsync_testkit::sim::salesforce::{SalesforceSim, Seed};

use crate::place::{BadFields, Place, Record, Stats};

pub(crate) struct Org(SalesforceSim);

impl Org {
    pub(crate) async fn start(account: u32) -> Self {
        let seed = match account {
            0 => Seed::default(),
            _ => Seed { organization_id: "00D000000001AbcEAE".to_owned(), ..Seed::default() },
        };
        Self(salesforce::simulator(seed).start().await.unwrap())
    }

    fn at(&self, login_url: &str, client_secret: &str) -> Arc<dyn Destination> {
        let credentials = Credentials::client_credentials(self.0.client_id(), Secret::new(client_secret));
        Arc::new(salesforce::adapter(login_url, credentials).unwrap())
    }
}

#[async_trait]
impl Place for Org {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SALESFORCE_LOGIN_URL", self.0.base_url()),
            ("SALESFORCE_CLIENT_ID", self.0.client_id()),
            ("SALESFORCE_CLIENT_SECRET", self.0.client_secret()),
        ]
    }

    fn adapter(&self) -> Arc<dyn Destination> {
        let key = Secret::new(self.0.private_key_pem());
        let credentials = Credentials::jwt_bearer(self.0.client_id(), self.0.username(), key);
        Arc::new(salesforce::adapter(&self.0.base_url(), credentials).unwrap())
    }

    fn refused(&self) -> (Arc<dyn Destination>, &'static str) {
        (self.at(&self.0.base_url(), "a-wrong-secret"), "a-wrong-secret")
    }

    fn unreachable(&self, port: u16) -> Arc<dyn Destination> {
        self.at(&format!("http://127.0.0.1:{port}"), "any")
    }

    fn stats(&self) -> Stats {
        let stats = self.0.stats();
        assert_eq!((stats.overlapping_locks, stats.unknown_requests), (0, 0));
        Stats {
            write_requests: stats.write_requests,
            rows_written: stats.rows_written(),
            most_writes_of_a_record: stats.max_writes_per_record(),
        }
    }

    fn reset_stats(&self) {
        self.0.reset_stats();
    }

    fn least_requests(&self, rows: u64) -> u64 {
        rows.div_ceil(200)
    }

    fn rows_of_a_batch(&self) -> u64 {
        200
    }

    fn records(&self) -> Vec<Record> {
        let fields = Service::Salesforce.fields().all();
        let records = self.0.records("Account").into_iter();
        records
            .map(|record| record.fields.into_iter().filter(|(name, _)| fields.contains(&name.as_str())).collect())
            .collect()
    }

    fn bad_fields(&self) -> BadFields {
        BadFields {
            spare: "Site",
            unknown: ("Churnt__c".to_owned(), "the destination has no field \"Churnt__c\""),
            read_only: "CreatedDate",
            wrong_type: Some(("NumberOfEmployees", FieldType::Timestamp)),
            object: "Butterfly__c",
        }
    }
}
