//! Where the server is, from a connection URL.

use std::fmt;
use std::time::Duration;

use rsync_core::Secret;
use rsync_core::error::Problem;
use tokio_postgres::config::{Host, SslMode};

/// A dead peer is found within a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// A server, a database and a user.
#[derive(Clone)]
#[non_exhaustive]
pub struct Address {
    /// Without the password.
    config: tokio_postgres::Config,
    password: Option<Secret>,
    /// Whether connections are encrypted.
    pub is_encrypted: bool,
    /// Hosts and ports, for people.
    pub server: String,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
}

/// Parts of a URL may hold pieces of a password in which a character was not encoded, so none is repeated.
fn unreadable() -> Problem {
    Problem::new(
        "connection",
        "is not a URL that can be read",
        "write postgres://user@host:5432/database; percent-encode special characters in user and password",
    )
}

impl Address {
    /// Reads a URL; `password` goes before the one in it.
    pub(crate) fn parse(
        connection: &Secret,
        password: Option<&Secret>,
        allow_plaintext: bool,
        carries: &str,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let url = connection.expose();
        // A password may hold a question mark.
        let host = url.find('@').map_or(0, |at| at + 1);
        let end = url[host..].find('?').map_or(url.len(), |at| host + at);
        let (base, parameters) = (&url[..end], url[end..].trim_start_matches('?'));
        if !base.starts_with("postgres://") && !base.starts_with("postgresql://") {
            return Err(vec![unreadable()]);
        }
        let mut mode = None;
        let mut kept = Vec::new();
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                // What libpq calls the authorities of the system.
                Some(("sslrootcert", "system")) => {}
                Some((key, _)) if key.starts_with("ssl") => problems.push(Problem::new(
                    "connection",
                    "a parameter of TLS other than sslmode is not supported",
                    "remove it; trusted authorities are set with root_ca_pem",
                )),
                _ => kept.push(pair),
            }
        }
        let url = Secret::new(format!("{base}?{}", kept.join("&")));
        let Ok(mut config) = url.expose().parse::<tokio_postgres::Config>() else {
            problems.push(unreadable());
            return Err(problems);
        };
        let hosts = config.get_hosts().to_vec();
        if hosts.is_empty() || !hosts.iter().all(is_plausible) {
            problems.push(unreadable());
            return Err(problems);
        }
        let is_local = hosts.iter().all(is_local) && config.get_hostaddrs().iter().all(|address| address.is_loopback());
        let is_encrypted = match mode {
            // PostgreSQL has no TLS on Unix sockets.
            _ if hosts.iter().all(is_socket) => false,
            None | Some("verify-full" | "verify-ca" | "require") => true,
            Some("disable") if is_local || allow_plaintext => false,
            Some("disable") => {
                problems.push(Problem::new(
                    "connection",
                    format!("sslmode=disable would send password and {carries} in clear over the network"),
                    "use sslmode=verify-full, or set allow_plaintext if the network is trusted",
                ));
                false
            }
            Some("prefer" | "allow") => {
                problems.push(Problem::new(
                    "connection",
                    "sslmode=prefer and sslmode=allow give encryption up as soon as somebody on the way asks for it",
                    "use sslmode=verify-full",
                ));
                false
            }
            Some(_) => {
                problems.push(Problem::new("connection", "the sslmode is not known", "use sslmode=verify-full"));
                false
            }
        };
        let user = config.get_user().filter(|user| !user.is_empty()).map(str::to_owned);
        if user.is_none() {
            problems.push(Problem::new("connection", "there is no user", "write postgres://user@host:5432/database"));
        }
        let database = config.get_dbname().filter(|name| !name.is_empty()).map(str::to_owned);
        if database.is_none() {
            problems.push(Problem::new(
                "connection",
                "there is no database",
                "write postgres://user@host:5432/database",
            ));
        }
        let password = match (password, config.get_password()) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(bytes)) => match str::from_utf8(bytes) {
                Ok(text) => Some(Secret::new(text)),
                Err(_) => {
                    problems.push(unreadable());
                    None
                }
            },
            (None, None) => None,
        };
        let (Some(user), Some(database), true) = (user, database, problems.is_empty()) else { return Err(problems) };
        if config.get_password().is_some() {
            config.password("");
        }
        config.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
        if config.get_application_name().is_none() {
            config.application_name("rsync");
        }
        if !kept.iter().any(|pair| pair.starts_with("keepalives")) {
            config
                .keepalives_idle(KEEPALIVE_IDLE)
                .keepalives_interval(KEEPALIVE_INTERVAL)
                .keepalives_retries(KEEPALIVE_RETRIES);
        }
        let server = servers(&hosts, config.get_ports());
        Ok(Self { config, password, is_encrypted, server, database, user })
    }

    /// All that is needed to connect, with the password.
    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            config.password(password.expose());
        }
        config
    }

    /// Whether there is a password to log in with.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("server", &self.server)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("encrypted", &self.is_encrypted)
            .finish_non_exhaustive()
    }
}

fn is_socket(host: &Host) -> bool {
    !matches!(host, Host::Tcp(_))
}

/// Whether nothing that is sent there leaves this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        _ => true,
    }
}

/// A host with other characters is most likely a piece of a password with an `@` in it.
fn is_plausible(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'))
        }
        _ => true,
    }
}

fn servers(hosts: &[Host], ports: &[u16]) -> String {
    let with_port = hosts.iter().enumerate().map(|(i, host)| {
        let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    with_port.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, Vec<Problem>> {
        Address::parse(&Secret::new(url), None, false, "rows")
    }

    #[test]
    fn urls_are_read() {
        for (url, server, encrypted) in [
            ("postgres://u:p@db.example.com/d", "db.example.com:5432", true),
            ("postgresql://u:p%40%3F@db.example.com:6000/d?sslmode=require", "db.example.com:6000", true),
            ("postgres://u@db.example.com/d?sslmode=verify-full&sslrootcert=system", "db.example.com:5432", true),
            ("postgres://u:a?sslmode=disable@h/d", "h:5432", true),
            ("postgres://u@a,b:6000/d", "a:5432,b:6000", true),
            ("postgres://u@[::1]/d?sslmode=disable", "[::1]:5432", false),
            ("postgres://u@127.0.0.1/d?sslmode=disable&connect_timeout=5", "127.0.0.1:5432", false),
            ("postgres://u@localhost/d", "localhost:5432", true),
            ("postgres://u@%2Frun%2Fpg:6000/d", "/run/pg:6000", false),
            ("postgres://u@/d?host=/run/pg", "/run/pg:5432", false),
        ] {
            let address = parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"));
            assert_eq!((address.server.as_str(), address.is_encrypted), (server, encrypted), "{url}");
            let wanted = if encrypted { SslMode::Require } else { SslMode::Disable };
            assert_eq!(address.config().get_ssl_mode(), wanted, "{url}");
        }
        let address = parse("postgresql://u:p%40%3F@h/d").unwrap();
        assert_eq!(address.config().get_password(), Some("p@?".as_bytes()));
        assert_eq!(address.config.get_password(), Some("".as_bytes()));
        let plain = Address::parse(&Secret::new("postgres://u@h/d?sslmode=disable"), None, true, "rows").unwrap();
        assert!(!plain.is_encrypted);
        let apart = Address::parse(&Secret::new("postgres://u:a@h/d"), Some(&Secret::new("b")), false, "rows").unwrap();
        assert_eq!(apart.config().get_password(), Some("b".as_bytes()));
    }

    #[test]
    fn a_connection_in_clear_names_what_it_would_give_away() {
        for (carries, cause) in [
            ("rows", "sslmode=disable would send password and rows in clear over the network"),
            ("state", "sslmode=disable would send password and state in clear over the network"),
        ] {
            let url = Secret::new("postgres://u@h/d?sslmode=disable");
            let Err(problems) = Address::parse(&url, None, false, carries) else { panic!("{carries}: it was read") };
            assert_eq!(problems[0].cause, cause);
        }
    }

    #[test]
    fn bad_urls_name_the_fix_and_no_part_of_themselves() {
        for (url, cause) in [
            ("canary", "is not a URL that can be read"),
            ("host=h user=u password=canary", "is not a URL that can be read"),
            ("postgres://u:canary@canary@h/d", "is not a URL that can be read"),
            ("postgres://u:can/ary@h:canary/d", "is not a URL that can be read"),
            ("postgres://u@h/d?canary=1", "is not a URL that can be read"),
            ("postgres:///d?user=u", "is not a URL that can be read"),
            ("postgres://u:%ff@h/d", "is not a URL that can be read"),
            ("postgres://h/d", "there is no user"),
            ("postgres://u:canary@h", "there is no database"),
            (
                "postgres://u@h/d?sslmode=disable",
                "sslmode=disable would send password and rows in clear over the network",
            ),
            ("postgres://u@localhost/d?sslmode=disable&hostaddr=10.0.0.1", "sslmode=disable would send password"),
            ("postgres://u@localhost,h/d?sslmode=disable", "sslmode=disable would send password"),
            ("postgres://u@localhost/d?sslmode=prefer", "sslmode=prefer and sslmode=allow give encryption up"),
            ("postgres://u@localhost/d?sslmode=canary", "the sslmode is not known"),
            ("postgres://u@h/d?sslcert=canary", "a parameter of TLS other than sslmode is not supported"),
        ] {
            let Err(problems) = parse(url) else { panic!("{url} was read") };
            assert!(problems[0].cause.starts_with(cause), "{url}: {problems:?}");
            assert!(!format!("{problems:?}").contains("canary"), "{url}: {problems:?}");
        }
    }
}
