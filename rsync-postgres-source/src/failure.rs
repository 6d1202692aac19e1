//! What an error of the server or of the connection means.
//!
//! A server's message can quote cells (`invalid input syntax for type integer: "..."`), so only its code is passed on.
//! The exception are complaints about the query itself, which name columns, tables and functions.

use std::error::Error as StdError;
use std::io;

use rsync_core::error::{Error, Kind, Retry};
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::address::Address;
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

const AGAIN: &str = "run the sync again; if it happens every time, see the log of the server";

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
    let causes = || causes(error);
    let fail = |kind, retry, message: &str, remedy: &str| {
        Error::new(kind, phase.operation(), message).with_retry(retry).with_remedy(remedy)
    };
    let ours = if let Some(tls) = causes().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        of_tls(phase, tls)
    } else if let Some(io) = causes().find_map(|cause| cause.downcast_ref::<io::Error>()) {
        let message = if phase == Phase::Connect { "no connection" } else { "the connection was lost" };
        let remedy =
            if phase == Phase::Connect { "check host, port, network, and whether the server is up" } else { AGAIN };
        fail(phase.failed(), Retry::Backoff, message, remedy).with_context("cause", io.kind())
    } else if error.is_closed() {
        fail(phase.failed(), Retry::Backoff, "the connection was lost", AGAIN)
    } else {
        // The library keeps its kinds to itself; its texts are fixed ones.
        match error.to_string().as_str() {
            "error performing TLS handshake" => fail(
                Kind::InvalidConfig,
                Retry::Never,
                "the server does not offer TLS",
                "switch TLS on at the server; sslmode=disable is for a server on this machine",
            ),
            "authentication error" | "invalid configuration" => fail(
                Kind::Unauthenticated,
                Retry::Never,
                if address.has_password() { "the login failed" } else { "the server asks for a password" },
                "check user and password",
            )
            .with_context("user", &address.user),
            _ => fail(Kind::Protocol, Retry::Never, "the server's answer cannot be understood", AGAIN),
        }
    };
    at(ours, address)
}

fn of_tls(phase: Phase, error: &rustls::Error) -> Error {
    use rustls::CertificateError as Bad;
    let (message, remedy) = match error {
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => (
            "the server's certificate is for another host",
            "use the host name of the certificate; with hostaddr the address can stay what it is",
        ),
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => (
            "the server's certificate comes from an authority that is not trusted",
            "give the authority's certificate as root_ca_pem",
        ),
        rustls::Error::InvalidCertificate(_) => (
            "the server's certificate was refused",
            "check its dates and this machine's clock, and the authorities of root_ca_pem",
        ),
        _ => {
            ("the server offers no encryption that this library accepts", "TLS 1.2 or later is needed; check the port")
        }
    };
    Error::new(Kind::InvalidConfig, phase.operation(), message).with_remedy(remedy)
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

/// The error and its causes, also those inside `io::Error`s, whose `source` skips the error they wrap.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}
