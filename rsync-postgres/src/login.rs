//! The settings that lead to a server, as a builder collects them.

use rsync_core::Secret;
use rsync_core::error::Problem;

use crate::address::Address;
use crate::tls::{self, Tls};

/// The settings that lead to a server.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`.
    pub connection: Option<&'a Secret>,
    /// Goes before the password in the URL.
    pub password: Option<&'a Secret>,
    /// Permits `sslmode=disable` for a server on another machine.
    pub allow_plaintext: bool,
    /// The certificate authorities to trust, as PEM, instead of those of the operating system.
    pub root_ca_pem: Option<&'a str>,
    /// What goes over the connection beside the password, in a word, for the problem of a connection in clear.
    pub carries: &'static str,
}

impl Login<'_> {
    /// Where to connect to, and how; `None` if that adds to `problems`.
    pub fn read(self, problems: &mut Vec<Problem>) -> Option<(Address, Tls)> {
        let address = match self.connection {
            Some(url) => Address::parse(url, self.password, self.allow_plaintext, self.carries),
            None => Err(vec![Problem::new("connection", "is missing", "give postgres://user@host:5432/database")]),
        };
        let address = address.map_err(|found| problems.extend(found)).ok();
        let is_encrypted = address.as_ref().is_some_and(|address| address.is_encrypted);
        let pem = self.root_ca_pem;
        // Authorities that cannot be read are a problem even where they are not needed.
        let tls = if is_encrypted || pem.is_some() { tls::verified(pem) } else { Ok(Tls::Off) };
        let tls = tls.map(|tls| if is_encrypted { tls } else { Tls::Off });
        address.zip(tls.map_err(|problem| problems.push(problem)).ok())
    }
}
