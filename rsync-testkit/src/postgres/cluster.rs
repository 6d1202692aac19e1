//! A server that ends with the process that started it.

use std::fmt::{self, Debug};
use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::{env, process};

use url::Url;

use super::tls::Certificates;
use super::{Database, binaries};

/// The superuser of a cluster.
const USER: &str = "rsync";
const PASSWORD: &str = "canary-password";
/// Another process may take the free port before the server does.
const ATTEMPTS: usize = 3;

/// Creates and starts the server, and ends it when its standard input does: that is when the owner of the pipe drops it
/// or dies, be it by SIGKILL. `$1` is the folder of the programs, `$2` the cluster's, `$3` the options of the server.
const WATCHDOG: &str = r#"
cleanup() { "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1; rm -rf "$2"; }
"$1/initdb" -D "$2/data" -U "$4" --pwfile="$2/password" -A scram-sha-256 -E UTF8 --locale=C --no-sync >"$2/log" 2>&1 &&
cp "$2/server.crt" "$2/server.key" "$2/data" && chmod 600 "$2/data/server.key" &&
"$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "$3" start >/dev/null 2>&1 || { tail -n 20 "$2/log"; cleanup "$@"; exit 1; }
echo ready
read _
cleanup "$@"
"#;

/// Speed instead of durability; a socket beside the data; TLS for whoever asks for it.
fn options(folder: &Path, port: u16) -> String {
    format!(
        "-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c fsync=off \
         -c synchronous_commit=off -c full_page_writes=off -c max_connections=50 -c shared_buffers=32MB -c ssl=on \
         -c timezone=UTC",
        folder.display()
    )
}

/// Why there is no PostgreSQL.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The programs were not found.
    #[error(
        "PostgreSQL's server is not installed; on Debian as root: apt-get install postgresql (or run `cargo xtask test \
         machine`); elsewhere install it so that `pg_config` or `initdb` is in PATH; or name a running server in \
         RSYNC_TEST_POSTGRES_URL"
    )]
    NotInstalled,
    /// The machine refused something.
    #[error("{0}: {1}")]
    Io(&'static str, String),
    /// The server did not start.
    #[error("PostgreSQL did not start; the end of its log:\n{0}")]
    Start(String),
    /// `RSYNC_TEST_POSTGRES_URL` cannot be used.
    #[error("RSYNC_TEST_POSTGRES_URL is not a URL of the form postgres://user:password@host:port/database")]
    Url,
    /// SQL failed; what `psql` said.
    #[error("psql failed: {0}")]
    Sql(String),
}

pub(super) fn io_error(operation: &'static str) -> impl Fn(io::Error) -> PostgresError {
    move |e| PostgresError::Io(operation, e.to_string())
}

/// A PostgreSQL server. It ends when this is dropped or the process ends.
pub struct Cluster {
    admin: Url,
    server: Option<Server>,
}

struct Server {
    folder: PathBuf,
    port: u16,
    ca_pem: String,
    watchdog: Child,
    /// The watchdog waits for the end of this.
    pipe: Option<ChildStdin>,
}

impl Cluster {
    /// The server of this process, started by the first call.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`]; the same again with every call.
    pub fn shared() -> Result<Arc<Self>, PostgresError> {
        static SHARED: OnceLock<Result<Arc<Cluster>, PostgresError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().map(Arc::new)).clone()
    }

    /// Starts a server of its own, for tests that change settings or stop it; or takes that of
    /// `RSYNC_TEST_POSTGRES_URL`.
    ///
    /// # Errors
    ///
    /// See [`PostgresError`].
    pub fn start() -> Result<Self, PostgresError> {
        if let Ok(url) = env::var("RSYNC_TEST_POSTGRES_URL") {
            let admin = Url::parse(&url).ok().filter(|url| url.has_host()).ok_or(PostgresError::Url)?;
            return Ok(Self { admin, server: None });
        }
        let programs = binaries::server()?;
        let mut failure = PostgresError::NotInstalled;
        for _ in 0..ATTEMPTS {
            match Server::start(&programs) {
                Ok(server) => {
                    let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", server.port);
                    let admin = Url::parse(&url).map_err(|_| PostgresError::Url)?;
                    return Ok(Self { admin, server: Some(server) });
                }
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Creates an empty database.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub fn database(self: &Arc<Self>) -> Result<Database, PostgresError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("rsync_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Database::create(Arc::clone(self), self.admin.clone(), name)
    }

    /// The certificate authority that vouches for the server under the name `localhost`, as PEM. None for a server that
    /// was already there.
    pub fn ca_pem(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.ca_pem.as_str())
    }

    /// The folder of the server's Unix socket. None for a server that was already there.
    pub fn socket_folder(&self) -> Option<&Path> {
        self.server.as_ref().map(|server| server.folder.as_path())
    }

    /// What the server has logged so far, for failures. Empty for a server that was already there.
    pub fn log(&self) -> String {
        let folder = self.socket_folder();
        folder.and_then(|folder| fs::read_to_string(folder.join("log")).ok()).unwrap_or_default()
    }
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("host", &self.admin.host_str()).field("port", &self.admin.port()).finish()
    }
}

impl Server {
    fn start(programs: &Path) -> Result<Self, PostgresError> {
        let folder = folder()?;
        let prepared = Self::prepare(&folder).and_then(|ca| Self::launch(programs, folder.clone(), ca));
        if prepared.is_err() {
            // The watchdog has removed it, unless it never ran.
            let _ = fs::remove_dir_all(&folder);
        }
        prepared
    }

    /// Writes what the server needs, and returns the authority's certificate.
    fn prepare(folder: &Path) -> Result<String, PostgresError> {
        let certificates = Certificates::new().map_err(|e| PostgresError::Io("make a certificate", e.to_string()))?;
        for (name, text) in
            [("password", PASSWORD), ("server.crt", &certificates.server), ("server.key", &certificates.key)]
        {
            fs::write(folder.join(name), text).map_err(io_error("write the server's files"))?;
        }
        if let Some((uid, gid)) = account()? {
            for path in
                [folder.to_owned(), folder.join("password"), folder.join("server.crt"), folder.join("server.key")]
            {
                chown(path, Some(uid), Some(gid)).map_err(io_error("give the server's files to its account"))?;
            }
        }
        Ok(certificates.ca)
    }

    fn launch(programs: &Path, folder: PathBuf, ca_pem: String) -> Result<Self, PostgresError> {
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .map_err(io_error("find a free port"))?
            .port();
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(programs).arg(&folder).arg(options(&folder, port)).arg(USER);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
        // Ctrl-C is for the tests; the watchdog must live to clean up.
        command.process_group(0);
        if let Some((uid, gid)) = account()? {
            command.uid(uid).gid(gid);
        }
        let mut watchdog = command.spawn().map_err(io_error("start `sh`"))?;
        let pipe = watchdog.stdin.take();
        let mut said = String::new();
        if let Some(stdout) = watchdog.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line == "ready" {
                    return Ok(Self { folder, port, ca_pem, watchdog, pipe });
                }
                said.push_str(&line);
                said.push('\n');
            }
        }
        // Waited for, so that no zombie stays; its status says no more than its words.
        let _ = watchdog.wait();
        Err(PostgresError::Start(said))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The watchdog has nobody to tell of a failure either.
        let _ = self.watchdog.wait();
    }
}

/// A folder that only its owner may enter, since it holds the server's key.
fn folder() -> Result<PathBuf, PostgresError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let name = format!("rsync-pg-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = env::temp_dir().join(name);
        match fs::create_dir(&folder) {
            Ok(()) => {
                fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(io_error("set permissions"))?;
                return Ok(folder);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io_error("create a folder for the server")(e)),
        }
    }
}

/// The account that must run the server: that of Debian's package if we are root, which PostgreSQL refuses; otherwise our
/// own.
fn account() -> Result<Option<(u32, u32)>, PostgresError> {
    // The owner of our own process's folder is our effective user; asking the system needs a crate or `unsafe`.
    let user = fs::metadata("/proc/self").map_or(u32::MAX, |self_| self_.uid());
    if user != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").map_err(io_error("read /etc/passwd"))?;
    accounts.lines().find_map(postgres_account).map(Some).ok_or_else(|| {
        let cause = "there is no account `postgres`, and PostgreSQL refuses to run as root";
        PostgresError::Io("find an account for the server", cause.to_owned())
    })
}

fn postgres_account(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
