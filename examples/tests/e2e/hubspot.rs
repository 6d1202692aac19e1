//! A HubSpot portal.

use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::{Destination, FieldType};
use rsync_examples::churn::{Service, hubspot};
use rsync_testkit::sim::hubspot::{HubSpotSim, Seed};

use crate::place::{BadFields, Place, Record, Stats};

pub(crate) struct Portal(HubSpotSim);

impl Portal {
    pub(crate) async fn start(account: u32) -> Self {
        let seed = Seed::default();
        let portal_id = seed.portal_id + u64::from(account);
        Self(hubspot::simulator(Seed { portal_id, ..seed }).start().await.unwrap())
    }

    fn at(base_url: &str, token: &str) -> Arc<dyn Destination> {
        Arc::new(hubspot::adapter(base_url, token).unwrap())
    }
}

#[async_trait]
impl Place for Portal {
    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("HUBSPOT_TOKEN", self.0.token()), ("HUBSPOT_BASE_URL", self.0.base_url())]
    }

    fn adapter(&self) -> Arc<dyn Destination> {
        Self::at(&self.0.base_url(), &self.0.token())
    }

    fn refused(&self) -> (Arc<dyn Destination>, &'static str) {
        (Self::at(&self.0.base_url(), "pat-na1-wrong"), "pat-na1-wrong")
    }

    fn unreachable(&self, port: u16) -> Arc<dyn Destination> {
        Self::at(&format!("http://127.0.0.1:{port}"), "pat-na1-any")
    }

    fn stats(&self) -> Stats {
        let stats = self.0.stats();
        assert_eq!(stats.overlapping_key_writes, 0);
        Stats {
            write_requests: stats.mutating_requests(),
            rows_written: stats.rows_written(),
            most_writes_of_a_record: stats.max_writes_per_record(),
        }
    }

    fn reset_stats(&self) {
        self.0.reset_stats();
    }

    fn least_requests(&self, rows: u64) -> u64 {
        rows.div_ceil(100)
    }

    fn rows_of_a_batch(&self) -> u64 {
        100
    }

    fn records(&self) -> Vec<Record> {
        let fields = Service::HubSpot.fields().all();
        let records = self.0.records("contacts").into_iter();
        records
            .map(|record| record.properties.into_iter().filter(|(name, _)| fields.contains(&name.as_str())).collect())
            .collect()
    }

    fn bad_fields(&self) -> BadFields {
        BadFields {
            spare: "lastname",
            unknown: ("churnt".to_owned(), "the destination has no field \"churnt\""),
            read_only: "lastmodifieddate",
            wrong_type: Some(("lifecyclestage", FieldType::Timestamp)),
            object: "butterflies",
        }
    }
}
