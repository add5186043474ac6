//! Reads certificates and keys, and makes the configuration of rustls: trusted CAs, client certificate, least
//! version, the name to verify. Nothing is kept between connections.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::explain::{Roots, Subject};
use crate::drivers::rabbit::connection::tls_problem::TlsProblem;
use crate::drivers::rabbit::options::{RabbitOptions, TlsVersion};

type Prepared = (ClientConfig, ServerName<'static>, Subject);

pub(super) fn prepare(options: &RabbitOptions, host: &str) -> Result<Prepared, TlsProblem> {
    let host = options.server_name_indication.as_deref().unwrap_or(host);
    let name = server_name(host)?;
    let (roots, trusted) = roots(given(options.ssl_ca_file.as_deref()))?;
    // Explicitly: a program may have chosen another provider for the process, or none.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(options.ssl_version))
        .map_err(|error| TlsProblem::setup(error.to_string(), "choose another `ssl_version`"))?
        .with_root_certificates(roots);
    let certificate = given(options.ssl_cert_file.as_deref());
    let key = given(options.ssl_key_file.as_deref());
    let config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), key) => {
            // The key may be in the file of the certificate.
            let key_file = key.unwrap_or(certificate);
            let chain = certificates("ssl_cert_file", certificate)?;
            let key = private_key(key_file)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let (certificate, key_file) = (certificate.display(), key_file.display());
                TlsProblem::setup(
                    format!("the key {key_file} cannot be used with the certificate {certificate}: {error}"),
                    "set `ssl_key_file` to the key that the certificate was made for",
                )
            })?
        }
        (None, Some(_)) => {
            return Err(TlsProblem::setup(
                "`ssl_key_file` is given without `ssl_cert_file`",
                "set `ssl_cert_file` to the certificate of the key",
            ));
        }
    };
    let subject =
        Subject { host: host.to_owned(), roots: trusted, has_certificate: certificate.is_some() };
    Ok((config, name, subject))
}

/// A path that is not empty: an empty one is the default of oslo.messaging.
fn given(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsProblem> {
    // The zone of an address is not part of what a certificate has.
    let bare = host.split_once('%').map_or(host, |(address, _)| address);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        TlsProblem::setup(
            format!("{host:?} is not a name that a certificate can have"),
            "write the host as a DNS name or an IP address",
        )
    })
}

static FROM_TLS12: &[&SupportedProtocolVersion] =
    &[&rustls::version::TLS13, &rustls::version::TLS12];
static FROM_TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match least {
        TlsVersion::Tls12 => FROM_TLS12,
        TlsVersion::Tls13 => FROM_TLS13,
    }
}

fn roots(file: Option<&Path>) -> Result<(RootCertStore, Roots), TlsProblem> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        let loaded = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let error = loaded.errors.first().map(|error| format!(" ({error})"));
            return Err(TlsProblem::setup(
                format!("this system has no CA certificates{}", error.unwrap_or_default()),
                "install them (package `ca-certificates`), or set `ssl_ca_file` to the CA of the broker",
            ));
        }
        return Ok((roots, Roots::System));
    };
    for certificate in certificates("ssl_ca_file", file)? {
        roots.add(certificate).map_err(|error| {
            let file = file.display();
            TlsProblem::setup(
                format!("`ssl_ca_file` {file} has a certificate that is not valid: {error}"),
                "remove it from the file, or replace the file",
            )
        })?;
    }
    Ok((roots, Roots::File(file.display().to_string())))
}

fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unreadable(option, file, &PemError::NoItemsFound, "certificate")),
        Err(error) => Err(unreadable(option, file, &error, "certificate")),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        let is_encrypted = fs::read(file).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
        });
        if is_encrypted {
            let file = file.display();
            return TlsProblem::setup(
                format!("the key `ssl_key_file` {file} is encrypted"),
                "decrypt it, as with `openssl pkey -in KEY -out DECRYPTED`, and restrict who may read it",
            );
        }
        unreadable("ssl_key_file", file, &error, "private key")
    })
}

fn unreadable(option: &str, file: &Path, error: &PemError, what: &str) -> TlsProblem {
    let file = file.display();
    match error {
        PemError::Io(error) => TlsProblem::setup(
            format!("`{option}` {file} cannot be read: {error}"),
            "correct the path, or let the user of this process read the file",
        ),
        PemError::NoItemsFound => TlsProblem::setup(
            format!("`{option}` {file} has no {what} in PEM format"),
            "convert the file to PEM: it begins with `-----BEGIN`",
        ),
        error => TlsProblem::setup(
            format!("`{option}` {file} is not valid PEM: {error}"),
            "replace the file; if it is being replaced, it is read again at the next attempt",
        ),
    }
}
