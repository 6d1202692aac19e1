//! Why a simulator could not be configured or started.

/// Failure to configure or start a simulator. The text names the cause, the field and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The listening socket could not be opened.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for any free one")]
    Bind {
        /// Requested port.
        port: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The test certificate authority or the TLS configuration could not be made.
    #[error("cannot prepare TLS for the simulator: {0}; start it without TLS to go on without it")]
    Tls(String),
    /// The key pair of the simulated connected app could not be made.
    #[error("cannot make the key pair of the simulated app: {0}; check that the process has a source of randomness")]
    Keys(String),
    /// The simulator's own thread or runtime could not be started.
    #[error("cannot start the simulator's thread: {0}; free resources of this process or start it on a runtime")]
    Thread(std::io::Error),
    /// A seed or fault plan is wrong. All problems are listed, each with its field path.
    #[error("{what} is not usable:\n{}", problems.iter().map(|p| format!("  - {p}")).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// Which document: `seed`, `fault plan`.
        what: &'static str,
        /// One line per problem: field path, cause and fix.
        problems: Vec<String>,
    },
}
