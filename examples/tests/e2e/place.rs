//! The services that the tests run, and what must be found in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rsync_core::{Destination, FieldType};
use rsync_examples::churn::{Fields, Service};

use crate::{customerio, hubspot, salesforce};

/// A record's fields in plain text; empty ones left out.
pub(crate) type Record = BTreeMap<String, String>;

/// A service that runs in this process.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// What the program takes from the environment to find it.
    fn environment(&self) -> Vec<(&'static str, String)>;

    /// An adapter for it.
    fn adapter(&self) -> Arc<dyn Destination>;

    /// An adapter with credentials that it refuses, and the secret among them.
    fn refused(&self) -> (Arc<dyn Destination>, &'static str);

    /// An adapter for a port where nobody listens.
    fn unreachable(&self, port: u16) -> Arc<dyn Destination>;

    /// What it has been asked since the last reset.
    fn stats(&self) -> Stats;

    /// Begins to count anew.
    fn reset_stats(&self);

    /// The fewest requests that can hold what was written since the last reset, `rows` rows.
    fn least_requests(&self, rows: u64) -> u64;

    /// Rows in one request of the program.
    fn rows_of_a_batch(&self) -> u64;

    /// All records that were synced, by the service's own field names.
    fn records(&self) -> Vec<Record>;

    /// Fields that a mapping must not name.
    fn bad_fields(&self) -> BadFields;
}

/// What was asked of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Requests that write.
    pub(crate) write_requests: u64,
    /// Rows in them that were applied.
    pub(crate) rows_written: u64,
    /// Most writes of one record.
    pub(crate) most_writes_of_a_record: u64,
}

/// Fields that a mapping must not name.
pub(crate) struct BadFields {
    /// Not bad: a text field that the sync does not use.
    pub(crate) spare: &'static str,
    /// A name that does not exist or cannot, and what the error says of it.
    pub(crate) unknown: (String, &'static str),
    /// A field that can only be read.
    pub(crate) read_only: &'static str,
    /// A field and a type that it does not take.
    pub(crate) wrong_type: Option<(&'static str, FieldType)>,
    /// An object that does not exist.
    pub(crate) object: &'static str,
}

/// Starts a service without records, as another account for each number.
pub(crate) async fn start(service: Service, account: u32) -> Box<dyn Place> {
    match service {
        Service::Salesforce => Box::new(salesforce::Org::start(account).await),
        Service::HubSpot => Box::new(hubspot::Portal::start(account).await),
        Service::CustomerIo => Box::new(customerio::Workspace::start(account).await),
    }
}

/// The record that a row of the file must become.
pub(crate) fn expected(fields: &Fields, row: &BTreeMap<String, String>) -> Record {
    let text = |field: &str, column: &str| (field.to_owned(), row[column].clone());
    let flag = |field: &str, column: &str| (field.to_owned(), matches!(row[column].as_str(), "1" | "Yes").to_string());
    let number = |field: &str, column: &str| (field.to_owned(), plain(row[column].trim()));
    let mut record = Record::from([
        text(fields.customer_id, "customerID"),
        text(fields.gender, "gender"),
        flag(fields.senior_citizen, "SeniorCitizen"),
        number(fields.tenure_months, "tenure"),
        text(fields.contract_type, "Contract"),
        text(fields.payment_method, "PaymentMethod"),
        number(fields.monthly_charges, "MonthlyCharges"),
        number(fields.total_charges, "TotalCharges"),
        flag(fields.churned, "Churn"),
    ]);
    if let Some(name) = fields.name {
        record.insert(name.to_owned(), row["customerID"].clone());
    }
    record.retain(|_, value| !value.is_empty());
    record
}

/// A decimal number without zeros at its end: services write the same amount in different ways.
pub(crate) fn plain(number: &str) -> String {
    match number.split_once('.') {
        Some((whole, places)) => match places.trim_end_matches('0') {
            "" => whole.to_owned(),
            places => format!("{whole}.{places}"),
        },
        None => number.to_owned(),
    }
}

/// Checks that the service holds exactly these rows, value by value.
pub(crate) fn assert_holds(place: &dyn Place, service: Service, rows: &[BTreeMap<String, String>]) {
    let fields = service.fields();
    let numbers = [fields.tenure_months, fields.monthly_charges, fields.total_charges];
    let mut stored = BTreeMap::new();
    for mut record in place.records() {
        record.retain(|_, value| !value.is_empty());
        for number in numbers {
            if let Some(value) = record.get_mut(number) {
                *value = plain(value);
            }
        }
        let before = stored.insert(record[fields.customer_id].clone(), record);
        assert!(before.is_none(), "a customer is there twice");
    }
    assert_eq!(stored.len(), rows.len());
    for row in rows {
        assert_eq!(stored.get(&row["customerID"]), Some(&expected(fields, row)), "{}", row["customerID"]);
    }
}
