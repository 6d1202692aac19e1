//! What an error of the client library means.

use std::error::Error as StdError;
use std::io;

use crate::address::Address;

/// What to do about a failure that may be gone the next time.
pub const AGAIN: &str = "run the sync again; if it happens every time, see the log of the server";

/// What is wrong where the server itself reported nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The server's certificate or its encryption was refused: why, and what to do.
    Tls(&'static str, &'static str),
    /// There is no connection, or no more; the cause where the operating system named one.
    Lost(Option<io::ErrorKind>),
    /// The server has no encryption.
    NoTls,
    /// The login failed before the server judged it.
    Login,
    /// The answer cannot be understood.
    Unclear,
}

impl Trouble {
    /// Sorts an error that holds no answer of the server.
    pub fn of(error: &tokio_postgres::Error) -> Self {
        if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            let (message, remedy) = refusal(tls);
            return Trouble::Tls(message, remedy);
        }
        if let Some(io) = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()) {
            return Trouble::Lost(Some(io.kind()));
        }
        if error.is_closed() {
            return Trouble::Lost(None);
        }
        // The library keeps its kinds to itself; its texts are fixed ones.
        match error.to_string().as_str() {
            "error performing TLS handshake" => Trouble::NoTls,
            "authentication error" | "invalid configuration" => Trouble::Login,
            _ => Trouble::Unclear,
        }
    }

    /// What happened and what to do about it, while a connection is made or later.
    pub fn words(self, is_connecting: bool, address: &Address) -> (&'static str, &'static str) {
        match self {
            Trouble::Tls(message, remedy) => (message, remedy),
            Trouble::Lost(Some(_)) if is_connecting => {
                ("no connection", "check host, port, network, and whether the server is up")
            }
            Trouble::Lost(_) => ("the connection was lost", AGAIN),
            Trouble::NoTls => (
                "the server does not offer TLS",
                "switch TLS on at the server; sslmode=disable is for a server on this machine",
            ),
            Trouble::Login if address.has_password() => ("the login failed", "check user and password"),
            Trouble::Login => ("the server asks for a password", "check user and password"),
            Trouble::Unclear => ("the server's answer cannot be understood", AGAIN),
        }
    }
}

fn refusal(error: &rustls::Error) -> (&'static str, &'static str) {
    use rustls::CertificateError as Bad;
    match error {
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
    }
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
