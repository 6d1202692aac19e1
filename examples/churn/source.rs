//! Where the customers come from.

use std::path::Path;

use rsync_core::{Result, Secret};
use rsync_datafusion_source::{Csv, DataFusionSource};
use rsync_postgres_source::PostgresSource;

/// The columns of a file, as they stand there: every cell is text until the mapping gives it a type.
///
/// # Errors
///
/// If there is no such file.
pub fn csv(path: &Path) -> Result<DataFusionSource> {
    DataFusionSource::builder().with_csv("customers", Csv::new(path)).with_sql("SELECT * FROM customers").build()
}

/// A query on a table of the same columns, with the types that a warehouse has.
///
/// # Errors
///
/// If the address cannot be used.
pub fn postgres(url: Secret) -> Result<PostgresSource> {
    PostgresSource::builder()
        .connection(url)
        .query(
            r#"SELECT "customerID", gender, "SeniorCitizen", tenure, "Contract", "PaymentMethod", "MonthlyCharges",
                      "TotalCharges", "Churn" = 'Yes' AS "Churn"
               FROM customers"#,
        )
        .build()
}
