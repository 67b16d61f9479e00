//! TLS: the certificate and its key, followed while the server runs. A new pair counts for the handshakes after it;
//! connections that are there go on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::files::{self, FileVersion};

/// The files of a certificate, as PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate of the server, then those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
}

/// A certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be looked at.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A file has not the PEM that it should.
    #[error("{} has no {expected}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The block that is missing.
        expected: &'static str,
        /// The place in the file.
        #[source]
        source: pem::Error,
    },
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate {} and the key {} cannot be used together", certificate.display(), key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
}

/// The name of HTTP/2 in a handshake (RFC 9113, section 3.2).
const HTTP2: &[u8] = b"h2";

/// Chooses the cryptography of this process for libraries that choose none. Several are compiled in, so without a choice they end
/// in a panic. Once is enough; a choice that was made before stays.
pub fn choose_cryptography() {
    // An error: it was chosen before.
    let _ = ring::default_provider().install_default();
}

/// True if the handshake has agreed on HTTP/2.
pub(crate) fn is_http2<T>(secured: &TlsStream<T>) -> bool {
    secured.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// The versions of both files.
type Versions = [Option<FileVersion>; 2];

/// The certificate of a running server.
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
    read: Mutex<Versions>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let read = versions(&files)?;
        let config = RwLock::new(Arc::new(config(&files)?));
        Ok(Self { files, config, read: Mutex::new(read) })
    }

    /// Accepts handshakes with the certificate as it is now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().clone().into()
    }

    /// Follows the files until nobody needs them any more.
    pub(crate) async fn follow(tls: Weak<Self>) {
        let kept = "the certificate cannot be read; the one before stays in use";
        files::follow(tls, kept, Self::read_files).await;
    }

    /// Reads the files again if they have changed.
    fn read_files(&self) -> Result<(), TlsError> {
        let now = versions(&self.files)?;
        let mut read = self.read.lock();
        if *read != now {
            // Both are replaced one after the other: until the second one is, they do not fit.
            let config = config(&self.files)?;
            *self.config.write() = Arc::new(config);
            *read = now;
            tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read");
        }
        Ok(())
    }
}

fn versions(files: &TlsFiles) -> Result<Versions, TlsError> {
    let of = |path: &Path| {
        FileVersion::of(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
    };
    Ok([of(&files.certificate)?, of(&files.key)?])
}

fn config(TlsFiles { certificate, key }: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let unreadable = |path: &Path, expected| {
        let path = path.to_owned();
        move |source| match source {
            pem::Error::Io(source) => TlsError::Read { path, source },
            source => TlsError::Pem { path, expected, source },
        }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(unreadable(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "certificate")(pem::Error::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "private key"))?;
    let unfit = |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(unfit)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(unfit)?;
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
