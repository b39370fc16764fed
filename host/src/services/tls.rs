//! TLS settings: whom to trust, what to show, and the sessions to resume.
//!
//! A `ClientConfig` owns its session cache, and a resumed session is trusted without a certificate, so configurations
//! are shared only between equal settings, never across instances with other roots.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polylink_plugin_api::services::TlsOptions;
use rustls::client::ClientConfig;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, RootCertStore, crypto};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::clock::Clock;
use super::registry::{Refusal, locked};

/// How a connection is protected. Holds a private key: never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct TlsSetup {
    ca_pem: String,
    client_cert_pem: String,
    client_key_pem: String,
}

/// Makes and keeps `ClientConfig`s.
pub(super) struct TlsConfigs {
    clock: Clock,
    /// The youngest are at the end.
    made: Mutex<Vec<(TlsSetup, Arc<ClientConfig>)>>,
}

/// Time for the validity of certificates; see [`Clock::offer`].
#[derive(Debug)]
struct CertificateTime(Clock);

impl TlsSetup {
    /// Takes what crossed the boundary; `server_name` is the dialer's business.
    pub fn of(options: &TlsOptions<'_>) -> Self {
        Self {
            ca_pem: options.ca_pem.to_string(),
            client_cert_pem: options.client_cert_pem.to_string(),
            client_key_pem: options.client_key_pem.to_string(),
        }
    }
}

impl TlsSetup {
    /// Trusts these roots; empty: the built-in ones.
    pub fn trusting(ca_pem: &str) -> Self {
        Self { ca_pem: ca_pem.to_owned(), ..Self::default() }
    }
}

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSetup(<secret>)")
    }
}

impl TlsConfigs {
    pub fn new(clock: Clock) -> Self {
        Self { clock, made: Mutex::default() }
    }

    /// The configuration for these settings.
    ///
    /// # Errors
    /// [`polylink_plugin_api::HostRefusal::INVALID`] with a text that names the setting, never its content.
    pub fn get(&self, setup: &TlsSetup) -> Result<Arc<ClientConfig>, Refusal> {
        let mut made = locked(&self.made);
        if let Some(at) = made.iter().position(|(known, _)| known == setup) {
            let entry = made.remove(at);
            let config = Arc::clone(&entry.1);
            made.push(entry);
            return Ok(config);
        }
        let config = Arc::new(self.make(setup)?);
        if made.len() >= CONFIGS_MAX {
            made.remove(0);
        }
        made.push((setup.clone(), Arc::clone(&config)));
        Ok(config)
    }

    fn make(&self, setup: &TlsSetup) -> Result<ClientConfig, Refusal> {
        let provider = Arc::new(crypto::ring::default_provider());
        let time = Arc::new(CertificateTime(self.clock.clone()));
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .map_err(|error| Refusal::invalid(format!("no TLS version to use: {error}")))?
            .with_root_certificates(roots(&setup.ca_pem)?);
        if setup.client_cert_pem.is_empty() && setup.client_key_pem.is_empty() {
            return Ok(builder.with_no_client_auth());
        }
        let chain = certificates("client_cert_pem", &setup.client_cert_pem)?;
        let key = PrivateKeyDer::from_pem_slice(setup.client_key_pem.as_bytes()).map_err(|_| {
            Refusal::invalid(
                "tls.client_key_pem: no private key that can be read; expected a PEM block of PKCS#8, RSA or EC",
            )
        })?;
        builder.with_client_auth_cert(chain, key).map_err(|error| {
            Refusal::invalid(format!("tls.client_cert_pem and tls.client_key_pem do not go together: {error}"))
        })
    }
}

/// What went wrong, so that who reads the log knows where to look.
pub(super) fn explain(error: &rustls::Error) -> String {
    match error {
        // A root of the right name and another key is the wrong root, too.
        rustls::Error::InvalidCertificate(why @ (CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            format!("the server's certificate is not signed by any root that is trusted here ({why:?})")
        }
        error => error.to_string(),
    }
}

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().wall.unix_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn roots(ca_pem: &str) -> Result<RootCertStore, Refusal> {
    if ca_pem.is_empty() {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_pem", ca_pem)? {
        roots.add(certificate).map_err(|error| Refusal::invalid(format!("tls.ca_pem: not a usable root: {error}")))?;
    }
    Ok(roots)
}

fn certificates(name: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|_| Refusal::invalid(format!("tls.{name}: a PEM block that cannot be read")))?;
    if certificates.is_empty() {
        let expected = "expected blocks that begin with `-----BEGIN CERTIFICATE-----`";
        return Err(Refusal::invalid(format!("tls.{name}: no certificate in it; {expected}")));
    }
    Ok(certificates)
}

/// Most configurations kept; beyond, the one not used for longest is dropped, and only its sessions are lost. Chosen by
/// us: five clouds with a broker and an HTTP host each.
const CONFIGS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::clock::Zone;
    use super::*;

    fn check(ca: &str, cert: &str, key: &str, says: &str) {
        let configs = TlsConfigs::new(Clock::new(Zone::Fixed(0)));
        let setup = TlsSetup { ca_pem: ca.into(), client_cert_pem: cert.into(), client_key_pem: key.into() };
        let refusal = configs.get(&setup).unwrap_err();
        assert_eq!(refusal.code, polylink_plugin_api::HostRefusal::INVALID);
        assert!(refusal.text.contains(says), "{}", refusal.text);
        assert!(!refusal.text.contains("hunter2"), "{}", refusal.text);
    }

    #[test]
    fn pem_that_cannot_be_used_is_named_and_not_shown() {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        check("hunter2", "", "", "tls.ca_pem: no certificate");
        check("-----BEGIN CERTIFICATE-----\nhunter2", "", "", "tls.ca_pem: a PEM block");
        check("", "hunter2", &signing_key.serialize_pem(), "tls.client_cert_pem: no certificate");
        check("", &cert.pem(), "hunter2", "tls.client_key_pem: no private key");
        check("", &cert.pem(), &other, "do not go together");
        check("", "", &other, "tls.client_cert_pem: no certificate");
    }

    #[test]
    fn equal_settings_share_a_configuration_and_others_never_do() {
        let configs = TlsConfigs::new(Clock::new(Zone::Fixed(0)));
        let ca = || rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap().cert.pem();
        let usual = configs.get(&TlsSetup::default()).unwrap();
        assert!(Arc::ptr_eq(&usual, &configs.get(&TlsSetup::default()).unwrap()));
        for _ in 0..2 * CONFIGS_MAX {
            let own = configs.get(&TlsSetup { ca_pem: ca(), ..TlsSetup::default() }).unwrap();
            assert!(!Arc::ptr_eq(&usual, &own));
        }
        assert_eq!(locked(&configs.made).len(), CONFIGS_MAX);
    }

    #[test]
    fn settings_are_never_shown() {
        let setup = TlsSetup { client_key_pem: "hunter2".into(), ..TlsSetup::default() };
        assert!(!format!("{setup:?}").contains("hunter2"));
    }
}
