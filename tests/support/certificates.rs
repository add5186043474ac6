//! Certificates for tests of TLS, made when they are needed: authorities, what they issue, and a server that
//! presents a certificate and is not a broker. The files are deleted with their folder.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A folder that is deleted when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("listener-certificates-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Who issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    Expired,
    NotYet,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Its own certificate, as a file to trust.
    pub fn write(&self, file: &Path) {
        fs::write(file, &self.certificate).unwrap();
    }

    /// Issues a certificate with these names, the first of which is the common name as well, and writes it and
    /// its key into the folder.
    pub fn issue(&self, folder: &Folder, file: &str, names: &[&str], when: Validity) -> Identity {
        let key = KeyPair::generate().unwrap();
        let identity = Identity {
            certificate: folder.path(&format!("{file}.pem")),
            key: folder.path(&format!("{file}.key")),
        };
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        fs::write(&identity.certificate, self.certificate_for(&key, names, when)).unwrap();
        identity
    }

    /// As `issue`, with an RSA key that `openssl` writes in the older form PKCS#1.
    pub fn issue_for_rsa(&self, folder: &Folder, file: &str, names: &[&str]) -> Identity {
        let (pkcs8, pkcs1) =
            (folder.path(&format!("{file}.p8")), folder.path(&format!("{file}.key")));
        let (pkcs8, pkcs1_text) = (pkcs8.display().to_string(), pkcs1.display().to_string());
        openssl(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            &pkcs8,
        ]);
        openssl(&["rsa", "-in", &pkcs8, "-traditional", "-out", &pkcs1_text]);
        let text = fs::read_to_string(&pkcs1).unwrap();
        assert!(text.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "{text}");
        let key = KeyPair::from_pem(&fs::read_to_string(&pkcs8).unwrap()).unwrap();
        let certificate = folder.path(&format!("{file}.pem"));
        fs::write(&certificate, self.certificate_for(&key, names, Validity::Now)).unwrap();
        Identity { certificate, key: pkcs1 }
    }

    /// As `issue`, with a key in the form SEC 1.
    pub fn issue_for_sec1(&self, folder: &Folder, file: &str, names: &[&str]) -> Identity {
        let identity = self.issue(folder, file, names, Validity::Now);
        let key = folder.path(&format!("{file}.ec"));
        let (pkcs8, sec1) = (identity.key.display().to_string(), key.display().to_string());
        openssl(&["pkey", "-in", &pkcs8, "-traditional", "-out", &sec1]);
        let text = fs::read_to_string(&key).unwrap();
        assert!(text.starts_with("-----BEGIN EC PRIVATE KEY-----"), "{text}");
        Identity { key, ..identity }
    }

    fn certificate_for(&self, key: &KeyPair, names: &[&str], when: Validity) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0].clone());
        match when {
            Validity::Now => {}
            Validity::Expired => {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            }
            Validity::NotYet => params.not_before = date_time_ymd(4000, 1, 1),
        }
        params.signed_by(key, &self.issuer).unwrap().pem()
    }
}

fn openssl(arguments: &[&str]) {
    let output = std::process::Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with TLS that is not a broker: after the handshake it sends something, and closes the connection in
/// order or cuts it.
pub struct TlsImpostor {
    port: u16,
    alive: Arc<()>,
}

impl TlsImpostor {
    pub fn start(identity: &Identity, words: &'static [u8], closes: bool) -> Self {
        let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let alive = Arc::new(());
        let is_alive = Arc::downgrade(&alive);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_alive.strong_count() == 0 {
                    return;
                }
                let Ok(stream) = stream else { continue };
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                // The protocol header of the client. The client may refuse the certificate.
                if stream.read_exact(&mut [0; 8]).is_ok() {
                    let _ = stream.write_all(words);
                    if closes {
                        stream.conn.send_close_notify();
                    }
                    let _ = stream.flush();
                }
            }
        });
        Self { port, alive }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TlsImpostor {
    fn drop(&mut self) {
        self.alive = Arc::new(());
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}
