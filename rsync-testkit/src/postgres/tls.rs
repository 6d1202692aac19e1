//! The server's certificate, from an authority made for one cluster and forgotten with it.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// What the server and its clients need, as PEM.
pub(super) struct Certificates {
    pub(super) ca: String,
    pub(super) server: String,
    pub(super) key: String,
}

impl Certificates {
    /// A certificate for the name `localhost`. The address 127.0.0.1 is left out, so that it is a wrong name.
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::<String>::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "rsync-testkit PostgreSQL CA");
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);

        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, "rsync-testkit PostgreSQL");
        leaf.use_authority_key_identifier_extension = true;
        let server = leaf.signed_by(&key, &issuer)?.pem();
        Ok(Self { ca: ca_pem, server, key: key.serialize_pem() })
    }
}
