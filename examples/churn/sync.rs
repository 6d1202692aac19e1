//! The sync itself, whatever the service and the source.

use std::path::{Path, PathBuf};

use rsync_core::pipeline::PipelineBuilder;
use rsync_core::{
    EmbeddedStore, FieldMap, FieldRule, FieldType, HashKey, Model, NullRule, Owner, Pipeline, Result, Source,
};

/// Money with two places.
pub const MONEY: FieldType = FieldType::Decimal { precision: 10, scale: 2 };

/// What a service calls the fields.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Identifies the customer.
    pub customer_id: &'static str,
    /// Text.
    pub gender: &'static str,
    /// Yes or no.
    pub senior_citizen: &'static str,
    /// Whole months.
    pub tenure_months: &'static str,
    /// One of three.
    pub contract_type: &'static str,
    /// Text.
    pub payment_method: &'static str,
    /// Money.
    pub monthly_charges: &'static str,
    /// Money, not known in the first month.
    pub total_charges: &'static str,
    /// Yes or no.
    pub churned: &'static str,
    /// A field that the service wants filled in each record; it gets the customer's id.
    pub name: Option<&'static str>,
}

impl Fields {
    /// All of them.
    pub fn all(&self) -> Vec<&'static str> {
        let fields = [
            self.customer_id,
            self.gender,
            self.senior_citizen,
            self.tenure_months,
            self.contract_type,
            self.payment_method,
            self.monthly_charges,
            self.total_charges,
            self.churned,
        ];
        fields.into_iter().chain(self.name).collect()
    }
}

/// Which columns become which fields. `total_charges` is how the column of that name is treated: in the public data
/// set it is a blank for customers of their first month.
pub fn mapping(fields: &Fields, total_charges: impl Fn(FieldRule) -> FieldRule) -> FieldMap {
    let mapping = FieldMap::new()
        .field(FieldRule::column("customerID", fields.customer_id, FieldType::Text))
        .field(FieldRule::column("gender", fields.gender, FieldType::Text))
        .field(FieldRule::column("SeniorCitizen", fields.senior_citizen, FieldType::Boolean))
        .field(FieldRule::column("tenure", fields.tenure_months, FieldType::Integer))
        .field(FieldRule::column("Contract", fields.contract_type, FieldType::Text))
        .field(FieldRule::column("PaymentMethod", fields.payment_method, FieldType::Text))
        .field(FieldRule::column("MonthlyCharges", fields.monthly_charges, MONEY))
        .field(total_charges(FieldRule::column("TotalCharges", fields.total_charges, MONEY)))
        .field(FieldRule::column("Churn", fields.churned, FieldType::Boolean));
    match fields.name {
        Some(name) => mapping.field(FieldRule::column("customerID", name, FieldType::Text)),
        None => mapping,
    }
}

/// Takes a blank for a null and empties the field then.
pub fn blank_clears(rule: FieldRule) -> FieldRule {
    rule.blank_as_null().on_null(NullRule::Clear)
}

/// The sync, but for its mapping and its destination.
///
/// # Errors
///
/// If the state folder cannot be used.
pub fn builder(source: impl Source, state: &Path) -> Result<PipelineBuilder> {
    let key_file: PathBuf = state.join("hash.key");
    let store = EmbeddedStore::new(state)?;
    Ok(Pipeline::builder("churn")
        .owner(Owner::new("retention", "retention@example.com"))
        .source(source)
        .model(Model::new("customers").key(["customerID"]))
        .state(store, HashKey::load_or_create(key_file)?))
}
