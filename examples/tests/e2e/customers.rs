//! Files of customers, made up or public, and what a portal must hold afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rsync_testkit::sim::hubspot::HubSpotSim;

pub(crate) const HEADER: &str =
    "customerID,gender,SeniorCitizen,tenure,Contract,PaymentMethod,MonthlyCharges,TotalCharges,Churn";

/// A file of `n` customers in the columns that the sync uses. `version` changes the charges.
pub(crate) fn write_customers(path: &Path, n: usize, version: usize) {
    let mut csv = format!("{HEADER}\n");
    for i in 0..n {
        let contract = ["Month-to-month", "One year", "Two year"][i % 3];
        let monthly = 20 + i % 80;
        let _ = writeln!(
            csv,
            "C-{i:05},{},{},{},{contract},Mailed check,{monthly}.{version:02},{}.5,{}",
            ["Female", "Male"][i % 2],
            i % 2,
            i % 72,
            monthly * (i % 72),
            ["Yes", "No"][i % 2],
        );
    }
    fs::write(path, csv).unwrap();
}

/// A CSV file without quoted cells, as rows of named cells: read here once more, independently of the sync.
pub(crate) fn read(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| names.iter().zip(line.split(',')).map(|(n, c)| ((*n).to_owned(), c.to_owned())).collect())
        .collect()
}

fn flag(cell: &str) -> String {
    matches!(cell, "1" | "Yes").to_string()
}

fn money(cell: &str) -> String {
    let (whole, cents) = cell.split_once('.').unwrap_or((cell, ""));
    format!("{whole}.{cents:0<2}")
}

/// The contact that a row must become. A blank total is no property at all.
pub(crate) fn contact(row: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut contact = BTreeMap::from([
        ("customer_id".to_owned(), row["customerID"].clone()),
        ("customer_gender".to_owned(), row["gender"].clone()),
        ("senior_citizen".to_owned(), flag(&row["SeniorCitizen"])),
        ("tenure_months".to_owned(), row["tenure"].clone()),
        ("contract_type".to_owned(), row["Contract"].clone()),
        ("payment_method".to_owned(), row["PaymentMethod"].clone()),
        ("monthly_charges".to_owned(), money(&row["MonthlyCharges"])),
        ("churned".to_owned(), flag(&row["Churn"])),
    ]);
    if !row["TotalCharges"].trim().is_empty() {
        contact.insert("total_charges".to_owned(), money(&row["TotalCharges"]));
    }
    contact
}

/// Checks that the portal holds exactly these rows, value by value.
pub(crate) fn assert_portal_holds(portal: &HubSpotSim, rows: &[BTreeMap<String, String>]) {
    let mut stored: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for record in portal.records("contacts") {
        let ours: BTreeMap<String, String> = record
            .properties
            .into_iter()
            .filter(|(name, value)| !value.is_empty() && contact_fields().contains(&name.as_str()))
            .collect();
        let before = stored.insert(ours["customer_id"].clone(), ours);
        assert!(before.is_none(), "a customer is there twice");
    }
    assert_eq!(stored.len(), rows.len());
    for row in rows {
        assert_eq!(stored.get(&row["customerID"]), Some(&contact(row)), "{}", row["customerID"]);
    }
}

fn contact_fields() -> [&'static str; 9] {
    [
        "customer_id",
        "customer_gender",
        "senior_citizen",
        "tenure_months",
        "contract_type",
        "payment_method",
        "monthly_charges",
        "total_charges",
        "churned",
    ]
}
