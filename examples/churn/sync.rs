//! Customers of a telephone company and their churn, from a CSV file to CRM contacts.

use std::path::{Path, PathBuf};

use rsync_core::pipeline::PipelineBuilder;
use rsync_core::{
    Destination, EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Model, NullRule, Owner, Pipeline, Result,
    Target,
};
use rsync_datafusion_source::{Csv, DataFusionSource};

/// Money with two places.
pub const MONEY: FieldType = FieldType::Decimal { precision: 10, scale: 2 };

/// The object and the field that its records are matched on.
pub fn target() -> Target {
    Target::new("contacts", "customer_id")
}

/// The columns, straight from the file: every cell is text until the mapping gives it a type.
///
/// # Errors
///
/// If there is no such file.
pub fn source(csv: &Path) -> Result<DataFusionSource> {
    DataFusionSource::builder().with_csv("customers", Csv::new(csv)).with_sql("SELECT * FROM customers").build()
}

/// Which columns become which contact properties. `total_charges` is how the column of that name is treated: in
/// the public data set it is a blank for customers of their first month.
pub fn mapping(total_charges: impl Fn(FieldRule) -> FieldRule) -> FieldMap {
    FieldMap::new()
        .field(FieldRule::column("customerID", "customer_id", FieldType::Text))
        .field(FieldRule::column("gender", "customer_gender", FieldType::Text))
        .field(FieldRule::column("SeniorCitizen", "senior_citizen", FieldType::Boolean))
        .field(FieldRule::column("tenure", "tenure_months", FieldType::Integer))
        .field(FieldRule::column("Contract", "contract_type", FieldType::Text))
        .field(FieldRule::column("PaymentMethod", "payment_method", FieldType::Text))
        .field(FieldRule::column("MonthlyCharges", "monthly_charges", MONEY))
        .field(total_charges(FieldRule::column("TotalCharges", "total_charges", MONEY)))
        .field(FieldRule::column("Churn", "churned", FieldType::Boolean))
}

/// Takes a blank for a null and empties the field then.
pub fn blank_clears(rule: FieldRule) -> FieldRule {
    rule.blank_as_null().on_null(NullRule::Clear)
}

/// The sync, but for its mapping.
///
/// # Errors
///
/// If a file or the state folder cannot be used.
pub fn builder(csv: &Path, state: &Path, destination: impl Destination) -> Result<PipelineBuilder> {
    let key_file: PathBuf = state.join("hash.key");
    let store = EmbeddedStore::new(state)?;
    Ok(Pipeline::builder("churn")
        .owner(Owner::new("retention", "retention@example.com"))
        .source(source(csv)?)
        .model(Model::new("customers").key(["customerID"]))
        .destination(destination, target())
        .state(store, HashKey::load_or_create(key_file)?))
}
