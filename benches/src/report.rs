//! Results as Markdown tables and JSON lines.

/// Prints a Markdown table.
pub fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n### {title}\n");
    println!("| {} |", head.join(" | "));
    println!("|{}", "---|".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}

/// A JSON line under construction. Names and text values must need no escaping.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// Starts a line with the task it belongs to.
    #[must_use]
    pub fn new(task: &str) -> Self {
        Self(format!("{{\"task\":\"{task}\""))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.0.push_str(&format!(",\"{name}\":\"{value}\""));
        self
    }

    /// Adds an integer.
    #[must_use]
    pub fn int(mut self, name: &str, value: u64) -> Self {
        self.0.push_str(&format!(",\"{name}\":{value}"));
        self
    }

    /// Adds a number with three digits after the point.
    #[must_use]
    pub fn num(mut self, name: &str, value: f64) -> Self {
        self.0.push_str(&format!(",\"{name}\":{value:.3}"));
        self
    }

    /// Adds a truth value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: bool) -> Self {
        self.0.push_str(&format!(",\"{name}\":{value}"));
        self
    }

    /// Prints the line.
    pub fn print(self) {
        println!("{}}}", self.0);
    }
}
