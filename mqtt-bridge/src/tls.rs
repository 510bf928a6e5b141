//! Trust and identity for the link to customs, read from PEM files.
//!
//! What must hold: only the configured CA bundle is trusted, never the web's authorities; TLS 1.2 and 1.3 with ring,
//! chosen here and not by whatever else is linked in; every fault names the file and what to do about it. The files
//! are read again for each new connection, so that a renewed certificate needs no restart. Two roots in the CA file
//! allow a change of the authority without an outage.
//!
//! It does not watch the files, and it does not judge dates: the handshake does, with the clock of that moment.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// No PEM file of ours is larger: a bundle of a hundred certificates has about 200 kB.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Our own certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM: our certificate first, then the intermediates up to customs' authority.
    pub certificate: PathBuf,
    /// PEM: the private key (PKCS#8, SEC1 or PKCS#1), readable by this user only.
    pub key: PathBuf,
}

/// Where trust and identity are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the authorities that may issue the certificate of customs' broker. Nothing else is trusted.
    pub ca: PathBuf,
    /// Who we are, if the broker asks.
    pub identity: Option<IdentityFiles>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// It cannot be read: correct the path or the rights.
    #[error("{} cannot be read ({source}): correct the path, or give this user the right to read it", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It is too large to be what it should be.
    #[error("{} is larger than {MAX_PEM_BYTES} bytes: this is not the PEM file it should be", file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
    },
    /// It is not PEM, or what is in it is not what is needed.
    #[error("{} holds no usable {wanted} ({detail}): put a PEM file there (-----BEGIN ...-----)", file.display())]
    NotPem {
        /// Which file.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What was found instead.
        detail: String,
    },
    /// Certificate and key do not belong together, or the key is of an unsupported kind.
    #[error("{} and {} cannot be used together ({detail}): the key must belong to the first certificate of the file; ECDSA P-256/P-384, Ed25519 or RSA", certificate.display(), key.display())]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The TLS library's words.
        detail: String,
    },
    /// The TLS library itself refuses; a defect of this software.
    #[error("the TLS library refuses its own parts ({0}): tell the maker of this software")]
    Library(String),
}

/// The client side for one new connection, with the files as they are now. Blocks on file input.
///
/// # Errors
/// [`TlsFault`], naming the file and the remedy.
pub fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca, "CA certificate")? {
        roots.add(certificate).map_err(|error| TlsFault::NotPem {
            file: files.ca.clone(),
            wanted: "CA certificate",
            detail: error.to_string(),
        })?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsFault::Library(error.to_string()))?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificate, "certificate")?;
            let key = private_key(&identity.key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| TlsFault::Mismatch {
                certificate: identity.certificate.clone(),
                key: identity.key.clone(),
                detail: error.to_string(),
            })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path, wanted: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let not_pem = |detail: String| TlsFault::NotPem { file: file.to_owned(), wanted, detail };
    let pem = read(file)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| not_pem(error.to_string()))?;
    if chain.is_empty() { Err(not_pem("no certificate in it".into())) } else { Ok(chain) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| TlsFault::NotPem {
        file: file.to_owned(),
        wanted: "private key",
        detail: error.to_string(),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFault> {
    let unreadable = |source| TlsFault::Unreadable { file: file.to_owned(), source };
    let mut pem = Vec::new();
    fs::File::open(file).and_then(|open| open.take(MAX_PEM_BYTES + 1).read_to_end(&mut pem)).map_err(unreadable)?;
    if pem.len() as u64 > MAX_PEM_BYTES {
        return Err(TlsFault::TooLarge { file: file.to_owned() });
    }
    Ok(pem)
}
