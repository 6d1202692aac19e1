//! Queries on PostgreSQL as Reverse ETL models.
