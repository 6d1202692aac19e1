//! What an error of the server or of the connection means.
//!
//! A server's message can quote keys (`duplicate key value violates ...`), so only its code is passed on.

use rsync_core::error::{Error, Kind, Retry};
use rsync_postgres::{AGAIN, Address, Trouble};
use tokio_postgres::error::DbError;

/// During what an error was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connect,
    /// The tables are looked for, or created.
    Prepare,
    Acquire,
    Read,
    Write,
}

impl Phase {
    fn operation(self) -> &'static str {
        match self {
            Phase::Connect => "connect to PostgreSQL",
            Phase::Prepare => "prepare the state's tables",
            Phase::Acquire => "take hold of the state",
            Phase::Read => "read the state",
            Phase::Write => "write the state",
        }
    }
}

pub(crate) fn internal(message: &'static str) -> Error {
    Error::new(Kind::Internal, "use the state", message)
}

pub(crate) fn no_runtime() -> Error {
    internal("a connection needs a Tokio runtime")
        .with_remedy("call it from a task of a Tokio runtime whose I/O and time are enabled")
}

/// Adds which server it was.
pub(crate) fn at(error: Error, address: &Address) -> Error {
    error
        .with_context("server", &address.server)
        .with_context("database", &address.database)
        .with_context("user", &address.user)
}

pub(crate) fn timed_out(phase: Phase, address: &Address) -> Error {
    let (message, remedy) = match phase {
        Phase::Connect => ("no connection in time", "check host, port and network"),
        _ => ("the server was silent for too long", AGAIN),
    };
    at(Error::new(Kind::StateStore, phase.operation(), message).with_retry(Retry::Backoff).with_remedy(remedy), address)
}

/// The session has lost the sync, or may have.
pub(crate) fn lost(phase: Phase, address: &Address) -> Error {
    let error = Error::new(Kind::StateStore, phase.operation(), "the lease on the sync has ended");
    at(error, address).with_remedy(
        "end this run and run again; if it happens often, the process is paused for too long or the lease is too short",
    )
}

pub(crate) fn poisoned(address: &Address) -> Error {
    let error = Error::new(Kind::StateStore, Phase::Write.operation(), "an earlier write failed or was given up");
    at(error, address).with_remedy("end this run; the next one opens the state anew")
}

pub(crate) fn already_running(holder: &str, address: &Address) -> Error {
    let error = Error::new(Kind::AlreadyRunning, Phase::Acquire.operation(), "another run of this sync holds it");
    at(error, address)
        .with_context("holder", holder)
        .with_remedy("wait until it ends; a plan that was neither applied nor dropped also holds it")
}

pub(crate) fn too_new(version: i32, known: usize, address: &Address) -> Error {
    let error = Error::new(Kind::StateTooNew, Phase::Prepare.operation(), "the tables are those of a newer version");
    at(error, address)
        .with_context("version", version)
        .with_context("known", known)
        .with_remedy("run this sync with the newer version of the library")
}

/// The tables are not what they were made as.
pub(crate) fn damaged(address: &Address) -> Error {
    let error =
        Error::new(Kind::StateCorrupt, Phase::Prepare.operation(), "tables of the state are missing or altered");
    at(error, address).with_remedy(
        "restore the schema from a backup, or drop it to begin anew: then every row of every sync is sent again",
    )
}

/// An error of the client library.
pub(crate) fn classify(phase: Phase, error: &tokio_postgres::Error, address: &Address) -> Error {
    if let Some(server) = error.as_db_error() {
        return of_server(phase, server, address);
    }
    let trouble = Trouble::of(error);
    let (message, remedy) = trouble.words(phase == Phase::Connect, address);
    let retry = if matches!(trouble, Trouble::Lost(_)) { Retry::Backoff } else { Retry::Never };
    let ours = Error::new(Kind::StateStore, phase.operation(), message).with_retry(retry).with_remedy(remedy);
    let ours = match trouble {
        Trouble::Lost(Some(cause)) => ours.with_context("cause", cause),
        _ => ours,
    };
    at(ours, address)
}

fn of_server(phase: Phase, error: &DbError, address: &Address) -> Error {
    let code = error.code().code();
    let (retry, message, remedy) = match code {
        "28P01" | "28000" => {
            (Retry::Never, "the server refused the login", "check user, password, and the server's pg_hba.conf")
        }
        "3D000" => (Retry::Never, "there is no such database", "check the name of the database"),
        "42501" if phase == Phase::Prepare => (
            Retry::Never,
            "a permission is missing",
            "GRANT CREATE ON DATABASE to the role for its first run, or create the schema with the role as its owner; if \
             the tables are there, GRANT USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables",
        ),
        "42501" => (
            Retry::Never,
            "a permission is missing",
            "GRANT USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on its tables to the role",
        ),
        // The tables were checked to be there.
        "42P01" | "42703" | "3F000" => return damaged(address),
        "55P03" if phase == Phase::Acquire => return already_running("busy", address),
        "25006" => (
            Retry::Never,
            "the server only reads",
            "it is a standby or set to read only: connect to the primary, with target_session_attrs=read-write",
        ),
        "XX001" | "XX002" => return damaged(address),
        _ => match &code[..code.len().min(2)] {
            "08" | "57" | "58" => (Retry::Backoff, "the server ended the connection", AGAIN),
            "53" => (
                Retry::Backoff,
                "the server is short of a resource",
                "check its disk space and connections, then run again",
            ),
            _ => (Retry::Never, "the server reported an error", AGAIN),
        },
    };
    let ours = Error::new(Kind::StateStore, phase.operation(), message).with_retry(retry).with_remedy(remedy);
    at(ours.with_context("sqlstate", code), address)
}
