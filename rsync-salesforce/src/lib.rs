//! Salesforce as a Reverse ETL destination.
