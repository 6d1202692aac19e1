//! Which hosts a token may be sent to. The answer of the login host names the organization's own one, so whoever could
//! forge that answer would otherwise choose where tokens and rows go.

use std::net::IpAddr;

use rsync_http::reqwest::Url;

/// Domains of the service. Nobody else gets a name below them.
const DOMAINS: [&str; 6] =
    ["salesforce.com", "force.com", "salesforce.mil", "cloudforce.com", "database.com", "sfcrmproducts.cn"];

/// The hosts that may be sent tokens.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    login_url: String,
    allowed: Vec<String>,
    allow_loopback_http: bool,
}

impl Hosts {
    pub(crate) fn new(login_url: &str, allowed: &[String], allow_loopback_http: bool) -> Self {
        Self { login_url: login_url.to_owned(), allowed: allowed.to_vec(), allow_loopback_http }
    }

    /// The origin of an address that a token may be sent to; `None` if it may not, or if it is more than an origin.
    pub(crate) fn admit(&self, address: &str) -> Option<String> {
        let url = Url::parse(address).ok()?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str()?;
        let same_as_login = || Url::parse(&self.login_url).is_ok_and(|login| login.origin() == url.origin());
        let trusted = match url.scheme() {
            "https" => same_as_login() || (url.port().is_none() && self.is_known(host)),
            "http" => self.allow_loopback_http && is_this_machine(host),
            _ => false,
        };
        (bare && trusted).then(|| url.origin().ascii_serialization())
    }

    fn is_known(&self, host: &str) -> bool {
        let below = |domain: &&str| host.strip_suffix(domain).is_some_and(|name| name.len() > 1 && name.ends_with('.'));
        DOMAINS.iter().any(below) || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether `host` is a host name alone, without scheme, port or path.
pub(crate) fn is_host(host: &str) -> bool {
    Url::parse(&format!("https://{host}/")).is_ok_and(|url| {
        url.host_str().is_some_and(|parsed| parsed.eq_ignore_ascii_case(host))
            && url.port().is_none()
            && url.path() == "/"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_only_hosts_of_the_service_and_those_named() {
        let hosts = Hosts::new("https://login.example.com:8443", &["crm.Example.com".to_owned()], false);
        for (address, origin) in [
            ("https://my-org.my.salesforce.com", "https://my-org.my.salesforce.com"),
            ("https://my-org--dev.sandbox.my.salesforce.com/", "https://my-org--dev.sandbox.my.salesforce.com"),
            ("https://MY-ORG.my.salesforce.com", "https://my-org.my.salesforce.com"),
            ("https://na1.salesforce.com:443", "https://na1.salesforce.com"),
            ("https://x.my.salesforce.mil", "https://x.my.salesforce.mil"),
            ("https://x.lightning.force.com", "https://x.lightning.force.com"),
            ("https://crm.example.com", "https://crm.example.com"),
            ("https://login.example.com:8443", "https://login.example.com:8443"),
        ] {
            assert_eq!(hosts.admit(address).as_deref(), Some(origin), "{address}");
        }
        for address in [
            "",
            "my-org.my.salesforce.com",
            "http://my-org.my.salesforce.com",
            "http://127.0.0.1:4511",
            "https://salesforce.com",
            "https://.salesforce.com",
            "https://evilsalesforce.com",
            "https://my-org.my.salesforce.com.evil.example",
            "https://my-org.my.salesforce.com@evil.example",
            "https://user@my-org.my.salesforce.com",
            "https://evil.example/my-org.my.salesforce.com",
            "https://evil.example#.salesforce.com",
            "https://evil.example?.salesforce.com",
            "https://my-org.my.salesforce.com:8443",
            "https://my-org.my.salesforce.com/services",
            "https://my-org.my.salesforce.com/?x",
            "https://login.example.com",
            "https://a.crm.example.com",
            "https://127.0.0.1",
            "ftp://my-org.my.salesforce.com",
            "javascript:alert(1)//.salesforce.com",
        ] {
            assert_eq!(hosts.admit(address), None, "{address}");
        }
        let local = Hosts::new("http://127.0.0.1:4511", &[], true);
        for address in ["http://127.0.0.1:4511", "http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"] {
            assert_eq!(local.admit(address).as_deref(), Some(address));
        }
        for address in ["http://10.0.0.1", "http://localhost.evil.example", "http://my-org.my.salesforce.com"] {
            assert_eq!(local.admit(address), None, "{address}");
        }
    }

    #[test]
    fn host_names_stand_alone() {
        assert!(is_host("crm.example.com") && is_host("CRM.example.com"));
        for bad in
            ["", "https://crm.example.com", "crm.example.com:8443", "crm.example.com/x", "a b", "user@host", "*.x.y"]
        {
            assert!(!is_host(bad) || bad == "*.x.y", "{bad}");
        }
    }
}
