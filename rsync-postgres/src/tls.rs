//! Encryption of the connection.

use std::fmt;
use std::sync::Arc;

use rsync_core::error::Problem;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How a connection is made.
#[derive(Clone)]
pub enum Tls {
    /// In clear.
    Off,
    /// The certificate must come from a trusted authority and name the host.
    Verified(MakeRustlsConnect),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tls::Off => "Off",
            Tls::Verified(_) => "Verified",
        })
    }
}

/// Encrypted connections, with these authorities or else with those of the operating system.
pub(crate) fn verified(root_ca_pem: Option<&str>) -> Result<Tls, Problem> {
    // The provider is named here: a process-wide default would depend on what else is linked.
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Problem::new("tls", "the TLS library cannot be set up", "report this"))?;
    let builder = match root_ca_pem {
        Some(pem) => builder.with_root_certificates(authorities(pem)?),
        None => builder.with_platform_verifier().map_err(|_| {
            let fix = "install the system's CA certificates, or give root_ca_pem";
            Problem::new("tls", "the operating system has no certificate authorities", fix)
        })?,
    };
    Ok(Tls::Verified(MakeRustlsConnect::new(builder.with_no_client_auth())))
}

fn authorities(pem: &str) -> Result<RootCertStore, Problem> {
    let bad = || Problem::new("root_ca_pem", "holds no readable certificate", "give one or more PEM certificates");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| bad())?).map_err(|_| bad())?;
    }
    if roots.is_empty() { Err(bad()) } else { Ok(roots) }
}
