//! What rustls reports, as the problem and its fix, in the terms of certificates and options. Pure. Called by
//! `mod.rs`; the files are read in `setup.rs`.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::drivers::rabbit::connection::tls_problem::TlsProblem;

/// The CAs that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    System,
    File(String),
}

/// When an error was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    /// Encrypted data is exchanged.
    Established,
}

/// What a connection presents and expects.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// The name that is verified.
    pub(super) host: String,
    pub(super) roots: Roots,
    /// Whether a client certificate is presented.
    pub(super) has_certificate: bool,
}

impl Subject {
    /// The problem that an error of the stream is about; none if it is one of the network.
    pub(super) fn problem(&self, error: &io::Error, phase: Phase) -> Option<TlsProblem> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(error) => self.certificate(error),
            Error::AlertReceived(alert) => self.alert(*alert),
            Error::InvalidMessage(_) if phase == Phase::Handshake => TlsProblem::of_host(
                "it answered without TLS",
                "connect to its port for TLS, 5671 unless the broker is configured otherwise, or remove `ssl=true`",
            ),
            Error::PeerIncompatible(_) => TlsProblem::of_host(
                format!("it has no version or cipher suite in common with this client: {error}"),
                "enable TLS 1.2 or 1.3 with AEAD cipher suites (AES-GCM, ChaCha20) on the broker, or lower `ssl_version`",
            ),
            // The bytes were changed on their way: another connection may work.
            Error::InvalidMessage(_) | Error::DecryptError => return None,
            error => TlsProblem::of_host(error.to_string(), "see the log of the broker"),
        })
    }

    fn certificate(&self, error: &CertificateError) -> TlsProblem {
        let host = &self.host;
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsProblem::of_host(
                    "its certificate has expired",
                    "renew the broker's certificate, and check the clock of this machine",
                )
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsProblem::of_host(
                    "its certificate is not valid yet",
                    "check the clocks of this machine and of the one that issued it",
                )
            }
            CertificateError::UnknownIssuer => match &self.roots {
                Roots::System => TlsProblem::of_host(
                    "its certificate is not issued by a CA that this system trusts",
                    "set `ssl_ca_file` to the certificate of the CA",
                ),
                Roots::File(file) => TlsProblem::of_host(
                    format!("its certificate is not issued by a CA in `ssl_ca_file` {file}"),
                    "add the certificate of the broker's CA to the file; the broker has to send intermediate certificates",
                ),
            },
            CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
                TlsProblem::of_host(
                    format!("its certificate is for {}, not for {host:?}", names.join(", ")),
                    "connect by a name of the certificate, or issue one with this name",
                )
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::of_host(
                    format!("its certificate is not for {host:?}"),
                    "issue one with this name as a subject alternative name: a common name does not count",
                )
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                TlsProblem::of_host(
                    "its certificate is that of a CA",
                    "issue a certificate for the broker, signed by that CA and without `CA:TRUE`",
                )
            }
            error => TlsProblem::of_host(
                format!("its certificate is not valid: {error}"),
                "replace the broker's certificate",
            ),
        }
    }

    fn alert(&self, alert: AlertDescription) -> TlsProblem {
        match alert {
            // With TLS 1.2 a broker that requires a certificate ends the handshake.
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure
                if !self.has_certificate =>
            {
                TlsProblem::of_host(
                    format!("it requires a client certificate ({alert:?})"),
                    "set `ssl_cert_file` and `ssl_key_file`",
                )
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => TlsProblem::of_host(
                format!("it refused the client certificate ({alert:?})"),
                "use one that is valid and issued by a CA in the broker's `ssl_options.cacertfile`",
            ),
            AlertDescription::HandshakeFailure => TlsProblem::of_host(
                "it ended the handshake (HandshakeFailure)",
                "see the log of the broker: it may not accept the client certificate, or have no cipher suite in common with this client",
            ),
            AlertDescription::ProtocolVersion => TlsProblem::of_host(
                "it supports neither TLS 1.2 nor 1.3, or less than `ssl_version`",
                "enable them on the broker (`ssl_options.versions`), or lower `ssl_version`",
            ),
            alert => TlsProblem::of_host(
                format!("it ended the handshake ({alert:?})"),
                "see the log of the broker",
            ),
        }
    }
}

/// A name of a certificate without the kind that webpki writes around it: `DnsName("host")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn subject(has_certificate: bool) -> Subject {
        Subject { host: "rabbit-1".to_owned(), roots: Roots::System, has_certificate }
    }

    #[track_caller]
    fn check(subject: &Subject, error: Error, reason: &str, fix: &str) {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        let problem = subject.problem(&error, Phase::Handshake).expect("a problem");
        assert_eq!(problem.reason, reason);
        assert!(problem.fix.contains(fix), "{}", problem.fix);
    }

    #[test]
    fn a_certificate_is_described_with_its_fix() {
        let check = |error: CertificateError, reason: &str, fix: &str| {
            check(&subject(false), Error::InvalidCertificate(error), reason, fix);
        };
        let time = UnixTime::now();
        check(
            CertificateError::ExpiredContext { time, not_after: time },
            "its certificate has expired",
            "renew",
        );
        check(
            CertificateError::UnknownIssuer,
            "its certificate is not issued by a CA that this system trusts",
            "`ssl_ca_file`",
        );
        check(
            CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("rabbit-1").expect("a name"),
                presented: vec!["DnsName(\"other\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()],
            },
            "its certificate is for other, 10.0.0.1, not for \"rabbit-1\"",
            "connect by a name",
        );
    }

    #[test]
    fn a_missing_client_certificate_differs_from_a_refused_one() {
        for alert in [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure] {
            let reason = format!("it requires a client certificate ({alert:?})");
            check(&subject(false), Error::AlertReceived(alert), &reason, "`ssl_cert_file`");
        }
        let alert = AlertDescription::UnknownCA;
        let reason = "it refused the client certificate (UnknownCA)";
        check(&subject(true), Error::AlertReceived(alert), reason, "cacertfile");
    }

    #[test]
    fn an_error_of_the_network_does_not_concern_certificates() {
        let error = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(subject(true).problem(&error, Phase::Handshake).is_none());
        let changed = io::Error::new(io::ErrorKind::InvalidData, Error::DecryptError);
        assert!(subject(true).problem(&changed, Phase::Established).is_none());
    }
}
