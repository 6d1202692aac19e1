//! What an error of the server or of the connection means.
//!
//! A server's message can quote cells (`invalid input syntax for type integer: "..."`), so only its code is passed on.
//! The exception are complaints about the query itself, which name columns, tables and functions.

use rsync_core::error::{Error, Kind, Retry};
use rsync_postgres::{AGAIN, Address, Trouble};
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::copy::CopyError;
use crate::query::PREFIX;

/// During what an error was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connect,
    /// The query is looked at, and nothing is read yet.
    Plan,
    Read,
}

impl Phase {
    fn operation(self) -> &'static str {
        match self {
            Phase::Connect => "connect to PostgreSQL",
            Phase::Plan => "plan the model",
            Phase::Read => "read the model",
        }
    }

    /// The kind of a failure that has no meaning of its own.
    fn failed(self) -> Kind {
        match self {
            Phase::Connect | Phase::Plan => Kind::Unavailable,
            Phase::Read => Kind::SourceIncomplete,
        }
    }
}

pub(crate) fn internal(message: &'static str) -> Error {
    Error::new(Kind::Internal, "read the model", message)
}

pub(crate) fn no_runtime() -> Error {
    Error::new(Kind::InvalidConfig, Phase::Connect.operation(), "a connection needs a Tokio runtime")
        .with_remedy("call it from a task of a Tokio runtime whose I/O and time are enabled")
}

/// Adds which server it was.
fn at(error: Error, address: &Address) -> Error {
    error.with_context("server", &address.server).with_context("database", &address.database)
}

/// No connection, or no answer, in time.
pub(crate) fn timed_out(phase: Phase, address: &Address) -> Error {
    let (message, remedy) = match phase {
        Phase::Connect => ("no connection in time", "check host, port and network, or raise timeouts.connect_ms"),
        _ => ("the server was silent for too long", "if the query needs that long, raise timeouts.idle_ms"),
    };
    at(Error::new(phase.failed(), phase.operation(), message), address).with_retry(Retry::Backoff).with_remedy(remedy)
}

/// What the stream of rows did not keep to.
pub(crate) fn copy(error: CopyError, address: &Address) -> Error {
    let (kind, retry, remedy) = match &error {
        CopyError::EndedEarly => (Kind::SourceIncomplete, Retry::Backoff, AGAIN),
        _ => (Kind::Protocol, Retry::Never, "report this with the version of the server and of what stands before it"),
    };
    at(Error::new(kind, Phase::Read.operation(), error.to_string()), address).with_retry(retry).with_remedy(remedy)
}

/// An error of the client library. `query` is the text of the model, to which places refer.
pub(crate) fn classify(phase: Phase, error: &tokio_postgres::Error, address: &Address, query: &str) -> Error {
    if let Some(server) = error.as_db_error() {
        return at(of_server(phase, server, address, query), address);
    }
    let trouble = Trouble::of(error);
    let (kind, retry) = match trouble {
        Trouble::Tls(..) | Trouble::NoTls => (Kind::InvalidConfig, Retry::Never),
        Trouble::Lost(_) => (phase.failed(), Retry::Backoff),
        Trouble::Login => (Kind::Unauthenticated, Retry::Never),
        _ => (Kind::Protocol, Retry::Never),
    };
    let (message, remedy) = trouble.words(phase == Phase::Connect, address);
    let ours = Error::new(kind, phase.operation(), message).with_retry(retry).with_remedy(remedy);
    let ours = match trouble {
        Trouble::Lost(Some(cause)) => ours.with_context("cause", cause),
        Trouble::Login => ours.with_context("user", &address.user),
        _ => ours,
    };
    at(ours, address)
}

fn of_server(phase: Phase, error: &DbError, address: &Address, query: &str) -> Error {
    let code = error.code().code();
    let fail = |kind, retry, message: &str, remedy: &str| {
        Error::new(kind, phase.operation(), message)
            .with_retry(retry)
            .with_remedy(remedy)
            .with_context("sqlstate", code)
    };
    match code {
        "28P01" | "28000" => fail(
            Kind::Unauthenticated,
            Retry::Never,
            "the server refused the login",
            "check user, password, and the server's pg_hba.conf",
        )
        .with_context("user", &address.user),
        "3D000" => fail(Kind::NotFound, Retry::Never, "there is no such database", "check the name of the database"),
        "42501" => {
            let remedy = "GRANT SELECT on what the query reads, and USAGE on its schema";
            with_message(fail(Kind::Forbidden, Retry::Never, "a permission is missing", remedy), phase, error)
                .with_context("user", &address.user)
        }
        "42P01" | "3F000" => {
            let remedy = "check the name, the schema in front of it, and the search_path of the user";
            of_query(fail(Kind::NotFound, Retry::Never, "there is no such table", remedy), phase, error, query)
        }
        "42703" => {
            let remedy = "check the spelling; a name with upper case needs double quotes";
            of_query(fail(Kind::SchemaMismatch, Retry::Never, "there is no such column", remedy), phase, error, query)
        }
        "25006" => fail(Kind::InvalidConfig, Retry::Never, "the query writes", "use a query that only reads"),
        "57014" => fail(
            phase.failed(),
            Retry::Never,
            "the query was cancelled, by a statement timeout or by an administrator",
            "raise timeouts.statement_ms or the user's statement_timeout, or make the query faster",
        ),
        "40001" | "40P01" => fail(
            phase.failed(),
            Retry::Backoff,
            "the read was in the way of another transaction, or of a standby that follows its primary",
            "run the sync again; for a standby raise max_standby_streaming_delay",
        ),
        _ => match &code[..code.len().min(2)] {
            "42" | "0A" if phase == Phase::Plan => {
                let remedy = "correct the query; it must run as it is in psql, and as a subquery";
                of_query(
                    fail(Kind::InvalidConfig, Retry::Never, "the query does not compile", remedy),
                    phase,
                    error,
                    query,
                )
            }
            "08" | "57" | "58" => fail(phase.failed(), Retry::Backoff, "the server ended the connection", AGAIN),
            "53" => fail(phase.failed(), Retry::Backoff, "the server is short of a resource", AGAIN),
            _ if code == "22021" => fail(
                phase.failed(),
                Retry::Never,
                "the query gives bytes that are no text",
                "a database of the encoding SQL_ASCII can hold such; convert the column in the query, for example with \
                 convert_from(column::bytea, 'LATIN1')",
            ),
            "22" if phase == Phase::Plan => {
                let remedy = "correct the literal at the place that is named";
                with_place(fail(Kind::InvalidConfig, Retry::Never, "the query does not compile", remedy), error, query)
            }
            "22" => fail(
                phase.failed(),
                Retry::Never,
                "the query fails on a value",
                "run the query in psql to see which, and handle it in the query",
            ),
            _ => fail(phase.failed(), Retry::Never, "the server reported an error", AGAIN),
        },
    }
}

fn of_query(ours: Error, phase: Phase, error: &DbError, query: &str) -> Error {
    with_place(with_message(ours, phase, error), error, query)
}

/// Only while the query is planned, and only where the message is about the query: a function that is called can raise
/// any code with any text.
fn with_message(ours: Error, phase: Phase, error: &DbError) -> Error {
    if phase == Phase::Plan { ours.with_context("message", error.message()) } else { ours }
}

/// The place in the text of the host, if the server named one.
fn with_place(ours: Error, error: &DbError, query: &str) -> Error {
    let Some(ErrorPosition::Original(position)) = error.position() else { return ours };
    let place = usize::try_from(*position).ok().and_then(|position| position.checked_sub(PREFIX.len() + 1));
    let Some(before) = place.filter(|place| *place <= query.chars().count()) else { return ours };
    let before: String = query.chars().take(before).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    ours.with_context("line", line).with_context("column", column)
}
