//! Customers, made up or public, in a file or in a real database.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsync_core::Secret;
use rsync_core::pipeline::PipelineBuilder;
use rsync_examples::churn;
use rsync_testkit::postgres::{Cluster, Database};
use tempfile::TempDir;

pub(crate) const HEADER: &str =
    "customerID,gender,SeniorCitizen,tenure,Contract,PaymentMethod,MonthlyCharges,TotalCharges,Churn";

/// Where the customers are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    Postgres,
}

/// Customers, and the folder that a test works in.
pub(crate) struct Customers {
    folder: TempDir,
    database: Option<Arc<Database>>,
}

impl Customers {
    pub(crate) fn new(origin: Origin, csv: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = (origin == Origin::Postgres).then(|| Arc::new(Cluster::shared().unwrap().database().unwrap()));
        let customers = Self { folder, database };
        customers.set(csv);
        customers
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("customers.csv")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// Replaces all customers.
    pub(crate) fn set(&self, csv: &str) {
        fs::write(self.file(), csv).unwrap();
        let Some(database) = &self.database else { return };
        let header = csv.lines().next().unwrap();
        let columns: Vec<String> = header
            .split(',')
            .map(|name| {
                let ty = match name {
                    "SeniorCitizen" => "boolean",
                    "tenure" => "integer",
                    "MonthlyCharges" | "TotalCharges" => "numeric(10, 2)",
                    _ => "text",
                };
                format!("\"{name}\" {ty}")
            })
            .collect();
        let script = format!(
            "BEGIN;\nDROP TABLE IF EXISTS customers;\nCREATE TABLE customers ({});\n\
             \\copy customers FROM '{}' WITH (FORMAT csv, HEADER, NULL ' ')\nCOMMIT;\n",
            columns.join(", "),
            self.file().display()
        );
        database.run(&script).unwrap();
    }

    /// The customers as rows of named cells: read here once more, independently of the sync.
    pub(crate) fn rows(&self) -> Vec<BTreeMap<String, String>> {
        let text = self.text();
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap().split(',').collect();
        lines
            .map(|line| names.iter().zip(line.split(',')).map(|(n, c)| ((*n).to_owned(), c.to_owned())).collect())
            .collect()
    }

    fn url(&self) -> Option<String> {
        self.database.as_ref().map(|database| format!("{}?sslmode=disable", database.url()))
    }

    /// What the program takes for its source: an argument, and variables of the environment.
    pub(crate) fn argument(&self) -> (PathBuf, Vec<(&'static str, String)>) {
        match self.url() {
            Some(url) => ("postgres".into(), vec![("DATABASE_URL", url)]),
            None => (self.file(), Vec::new()),
        }
    }

    /// The sync, but for its mapping and its destination.
    pub(crate) fn builder(&self) -> PipelineBuilder {
        match self.url() {
            Some(url) => churn::builder(churn::postgres(Secret::new(url)).unwrap(), &self.state()),
            None => churn::builder(churn::csv(&self.file()).unwrap(), &self.state()),
        }
        .unwrap()
    }

    pub(crate) fn database(&self) -> Option<Arc<Database>> {
        self.database.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// `n` customers in the columns that the sync uses. `version` changes the charges.
pub(crate) fn made_up(n: usize, version: usize) -> String {
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
    csv
}
