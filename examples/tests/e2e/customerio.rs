//! A Customer.io workspace.

use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::{Destination, FieldType};
use rsync_examples::churn::{Service, customerio};
use rsync_testkit::sim::customerio::{CustomerIoSim, Seed};

use crate::place::{BadFields, Place, Record, Stats};

/// People in one request of the program: by bytes alone there would be too few requests to interrupt.
const ROWS: u64 = 100;

pub(crate) struct Workspace(CustomerIoSim);

impl Workspace {
    pub(crate) async fn start(account: u32) -> Self {
        let seed = Seed::default();
        let environment_id = seed.environment_id + u64::from(account);
        Self(customerio::simulator(Seed { environment_id, ..seed }).start().await.unwrap())
    }

    fn at(&self, base_url: &str, api_key: &str) -> Arc<dyn Destination> {
        Arc::new(customerio::adapter(base_url, &self.0.site_id(), api_key).build().unwrap())
    }
}

#[async_trait]
impl Place for Workspace {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("CUSTOMERIO_BASE_URL", self.0.base_url()),
            ("CUSTOMERIO_SITE_ID", self.0.site_id()),
            ("CUSTOMERIO_API_KEY", self.0.api_key()),
            ("CUSTOMERIO_MAX_ROWS", ROWS.to_string()),
        ]
    }

    fn adapter(&self) -> Arc<dyn Destination> {
        self.at(&self.0.base_url(), &self.0.api_key())
    }

    fn refused(&self) -> (Arc<dyn Destination>, &'static str) {
        (self.at(&self.0.base_url(), "a-wrong-key"), "a-wrong-key")
    }

    fn unreachable(&self, port: u16) -> Arc<dyn Destination> {
        self.at(&format!("http://127.0.0.1:{port}"), "any")
    }

    fn stats(&self) -> Stats {
        let stats = self.0.stats();
        assert_eq!((stats.overlapping_key_writes, stats.items_rejected, stats.silent_failures), (0, 0, 0));
        Stats {
            write_requests: stats.write_requests(),
            rows_written: stats.items_accepted,
            most_writes_of_a_record: stats.max_writes_per_person(),
        }
    }

    fn reset_stats(&self) {
        self.0.drain();
        self.0.reset_stats();
    }

    fn least_requests(&self, _rows: u64) -> u64 {
        // Bodies must be smaller than 500,000 bytes.
        self.0.stats().batch_bytes.div_ceil(499_999)
    }

    fn rows_of_a_batch(&self) -> u64 {
        ROWS
    }

    fn records(&self) -> Vec<Record> {
        self.0.drain();
        let fields = Service::CustomerIo.fields().all();
        let people = self.0.people().into_iter();
        people
            .map(|person| person.attributes.into_iter().filter(|(name, _)| fields.contains(&name.as_str())).collect())
            .collect()
    }

    fn bad_fields(&self) -> BadFields {
        BadFields {
            spare: "plan",
            unknown: ("churn".repeat(31), "more than 150 bytes"),
            read_only: "_update",
            wrong_type: Some(("created_at", FieldType::Text)),
            object: "butterflies",
        }
    }
}
