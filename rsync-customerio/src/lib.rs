//! Customer.io as a Reverse ETL destination.
