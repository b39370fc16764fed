//! TLS for all services: one stack (rustls with ring), one place that decides whom to trust.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use polylink_plugin_api::HostRefusal;
use polylink_plugin_api::services::TlsOptions;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::dial::Refusal;

/// Whom to trust and what to show, owning what [`TlsOptions`] borrows. Holds a private key: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    ca_pem: String,
    client_cert_pem: String,
    client_key_pem: String,
}

impl Trust {
    /// The trust part of the options.
    pub fn of(options: &TlsOptions<'_>) -> Self {
        Self {
            ca_pem: options.ca_pem.as_str().to_owned(),
            client_cert_pem: options.client_cert_pem.as_str().to_owned(),
            client_key_pem: options.client_key_pem.as_str().to_owned(),
        }
    }
}

/// Client configurations by what they trust; sharing one shares its session cache.
#[derive(Default)]
pub struct Configs(Mutex<HashMap<Trust, Arc<ClientConfig>>>);

impl Configs {
    /// The configuration that trusts and shows this.
    ///
    /// # Errors
    /// A PEM text is not what it should be.
    pub fn get(&self, trust: &Trust) -> Result<Arc<ClientConfig>, Refusal> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = cache.get(trust) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build(trust)?);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(trust.clone(), Arc::clone(&config));
        Ok(config)
    }
}

fn build(trust: &Trust) -> Result<ClientConfig, Refusal> {
    let mut roots = RootCertStore::empty();
    if trust.ca_pem.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        for certificate in certificates(&trust.ca_pem, "CA")? {
            roots.add(certificate).map_err(|error| invalid(format!("a CA certificate is not usable: {error}")))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(error.to_string()))?
        .with_root_certificates(roots);
    if trust.client_cert_pem.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain = certificates(&trust.client_cert_pem, "client")?;
    // The error is not quoted: it could quote the key.
    let key = PrivateKeyDer::from_pem_slice(trust.client_key_pem.as_bytes())
        .map_err(|_| invalid("the client's private key is not a PEM private key".to_owned()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| invalid(format!("client certificate and private key do not go together: {error}")))
}

fn certificates(pem: &str, whose: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(invalid(format!("there is no PEM certificate in the {whose} certificates"))),
        Err(error) => Err(invalid(format!("the {whose} certificates are not PEM: {error}"))),
    }
}

fn invalid(text: String) -> Refusal {
    Refusal { code: HostRefusal::INVALID, text }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Configurations kept; beyond that all are made anew. Chosen by us: a product has one or two CAs.
const CACHED_MAX: usize = 8;
