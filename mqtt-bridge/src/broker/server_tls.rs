//! The broker's own certificate and key, read from PEM files.
//!
//! TLS 1.2 and 1.3 by rustls with ring, named explicitly so that no process-wide default is needed. No session is
//! remembered: a monitor reconnects seldom and the memory is better spent elsewhere. Clients prove themselves by
//! password, not by certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};

/// Why the broker cannot offer TLS; each names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file cannot be read at all.
    #[error("cannot read {}; check the path and that the service may read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// There is no certificate in the certificate file.
    #[error("no certificate in {}; it must hold the chain in PEM form, this gate's certificate first", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, where known.
        #[source]
        cause: Option<pem::Error>,
    },
    /// There is no private key in the key file.
    #[error("no private key in {}; it must hold one unencrypted key in PEM form (PKCS#8, SEC1 or PKCS#1)", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: pem::Error,
    },
    /// Both can be read, but do not make a pair or are of a kind that is not supported.
    #[error("{} and {} do not make a usable pair; take the key the certificate was issued for (RSA, ECDSA or Ed25519)", .certificate.display(), .key.display())]
    Pair {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What rustls said.
        #[source]
        cause: rustls::Error,
    },
}

/// The TLS side of a broker from two PEM files.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServerTlsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|cause| ServerTlsError::Unreadable { path: path.to_owned(), cause });
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| ServerTlsError::Certificate { path: certificate.to_owned(), cause: Some(cause) })?;
    if chain.is_empty() {
        return Err(ServerTlsError::Certificate { path: certificate.to_owned(), cause: None });
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|cause| ServerTlsError::Key { path: key.to_owned(), cause })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|cause| ServerTlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), cause })?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = rcgen::generate_simple_self_signed(vec!["gate.local".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["gate.local".to_owned()]).unwrap();
        let certificate = file("cert.pem", &made.cert.pem());
        let key = file("key.pem", &made.signing_key.serialize_pem());
        let foreign = file("foreign.pem", &other.signing_key.serialize_pem());
        let empty = file("empty.pem", "nothing here\n");
        let gone = folder.path().join("gone.pem");

        server_config(&certificate, &key).unwrap();
        let fault = |certificate: &Path, key: &Path| server_config(certificate, key).unwrap_err();
        assert!(matches!(fault(&gone, &key), ServerTlsError::Unreadable { path, .. } if path == gone));
        assert!(matches!(fault(&certificate, &gone), ServerTlsError::Unreadable { path, .. } if path == gone));
        assert!(matches!(fault(&empty, &key), ServerTlsError::Certificate { path, .. } if path == empty));
        assert!(matches!(fault(&certificate, &empty), ServerTlsError::Key { path, .. } if path == empty));
        assert!(matches!(fault(&certificate, &foreign), ServerTlsError::Pair { key, .. } if key == foreign));
        assert!(fault(&certificate, &foreign).to_string().contains("foreign.pem"));
    }
}
