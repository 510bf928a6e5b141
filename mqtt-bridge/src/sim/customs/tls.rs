//! The server side of TLS for customs' broker.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::CustomsError;
use super::words::CustomsTls;

pub(super) fn acceptor(tls: &CustomsTls) -> Result<TlsAcceptor, CustomsError> {
    let fault = |error: &dyn std::fmt::Display| CustomsError::Tls(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(tls.certificate.as_bytes()).collect::<Result<_, _>>().map_err(|error| fault(&error))?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).map_err(|error| fault(&error))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(|error| fault(&error))?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| fault(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| fault(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
