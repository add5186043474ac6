//! Transport URLs in oslo.messaging's form,
//! `driver://[user:password@]host[:port][,host2..]/virtual_host?option=value`, and in RabbitMQ's,
//! `amqp://..`, which differs in the path: without one the virtual host is `/`, and `/` alone is the
//! virtual host with an empty name. Each driver interprets its options; passwords are never shown.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// A parsed transport URL. `Display` and `Debug` hide the passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportUrl {
    scheme: String,
    hosts: Vec<Host>,
    virtual_host: Option<String>,
    query: Vec<(String, String)>,
}

/// One of the hosts of a transport URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address; an IPv6 address without brackets.
    pub name: String,
    /// The port, if one was given.
    pub port: Option<u16>,
    /// The user, if one was given.
    pub username: Option<String>,
    password: Option<String>,
}

/// The text is not a transport URL. The error does not contain the text, as that may contain a password.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The text is empty or only white space.
    #[error(
        "it is empty; expected one like `amqp://user:password@host:5672` or `rabbit://user:password@host:5672`"
    )]
    Empty,
    /// A quotation mark or a byte order mark before the URL.
    #[error("it begins with a {0}; remove it, and the closing one at the end")]
    Quoted(&'static str),
    /// Another URL follows the first one.
    #[error(
        "several URLs; expected one URL with all hosts, like `rabbit://user:password@host1:5672,user:password@host2:5672/vhost`"
    )]
    SeveralUrls,
    /// `scheme://` is missing.
    #[error(
        "no scheme; expected a URL like `amqp://user:password@host:5672` or `rabbit://user:password@host:5672`"
    )]
    NoScheme,
    /// The port is not a number from 1 to 65535. It is not shown: it may be a password without a host
    /// after it.
    #[error(
        "invalid port; expected a number from 1 to 65535, as in `rabbit://user:password@host:5672`"
    )]
    Port,
    /// The port of a host is not a number from 1 to 65535, and may be part of a password that was not
    /// percent-encoded: an `@` follows.
    #[error(
        "invalid port; expected a number from 1 to 65535, or, if it is part of a password, `/` as %2F, `?` as %3F, `,` as %2C and `%` as %25 there"
    )]
    PortOrPassword,
    /// The URL contains a line break or another control character. At its ends they are ignored.
    #[error(
        "it contains a line break or another control character; remove it, or percent-encode it (a line break is %0A)"
    )]
    ControlCharacter,
    /// An `@` after the first `/` or `?`.
    #[error(
        "an `@` follows the hosts; in a password, write `/` as %2F and `?` as %3F, and elsewhere `@` as %40"
    )]
    AtAfterHosts,
    /// A `[` without its `]`.
    #[error("an IPv6 address has no closing bracket; expected it as in `[::1]:5672`")]
    OpenBracket,
    /// A host name is empty or contains an invalid character. It is not shown: it may be part of a
    /// password.
    #[error(
        "invalid host name; expected a name or an address, as in `rabbit://user:password@host:5672`"
    )]
    HostName,
    /// The scheme contains an invalid character.
    #[error("invalid scheme; expected a URL like `rabbit://user:password@host:5672`")]
    Scheme,
    /// A percent sign without two hexadecimal digits, or percent-encoded bytes that are not UTF-8.
    #[error("the {part} is not percent-encoded UTF-8; write `%` as `%25`")]
    Encoding {
        /// The part of the URL: user, password, virtual host or option.
        part: &'static str,
    },
    /// An option without `=`. It is not shown: it may be part of a password.
    #[error("an option has no value; expected `name=value`")]
    NoValue,
}

impl TransportUrl {
    /// A URL from its parts, without options.
    #[cfg(feature = "rabbit")]
    pub(crate) fn new(scheme: &str, hosts: Vec<Host>, virtual_host: Option<String>) -> Self {
        Self { scheme: scheme.to_owned(), hosts, virtual_host, query: Vec::new() }
    }

    /// The scheme, in lower case. It selects the driver.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The hosts, in the order in which they were written.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The virtual host, which is the path; `None` without a path. In an `amqp://` URL the path `/`
    /// is the virtual host with an empty name, in any other URL it counts as no path.
    #[must_use]
    pub fn virtual_host(&self) -> Option<&str> {
        self.virtual_host.as_deref()
    }

    /// The options. The values of an option that was given more than once are joined with commas.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }
}

impl Host {
    #[cfg(feature = "rabbit")]
    pub(crate) fn new(
        name: String,
        port: Option<u16>,
        username: Option<String>,
        password: Option<String>,
    ) -> Self {
        let password = password.filter(|password| !password.is_empty());
        Self { name, port, username, password }
    }

    /// Whether a host can have this name or address.
    pub(crate) fn can_have(name: &str) -> bool {
        !name.is_empty() && name.chars().all(is_host_character)
    }

    /// The password, if one was given. It must not reach a log or an error.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl FromStr for TransportUrl {
    type Err = UrlError;

    /// White space around the URL is ignored, as secrets are often stored with a line break, and around
    /// each host, as a list may be written over several lines.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        match text.chars().next() {
            None => return Err(UrlError::Empty),
            Some('"' | '\'') => return Err(UrlError::Quoted("quotation mark")),
            Some('\u{feff}') => return Err(UrlError::Quoted("byte order mark")),
            Some(_) => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        if scheme.is_empty() {
            return Err(UrlError::NoScheme);
        }
        if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)) {
            return Err(UrlError::Scheme);
        }
        if rest.contains(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        if has_another_url(rest) {
            return Err(UrlError::SeveralUrls);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = match rest.split_once('/') {
            Some((hosts, path)) => (hosts, Some(path)),
            None => (rest, None),
        };
        if query.contains('@') || path.is_some_and(|path| path.contains('@')) {
            return Err(UrlError::AtAfterHosts);
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            hosts: read_hosts(hosts)?,
            virtual_host: path
                .filter(|path| !path.is_empty() || is_amqp(scheme))
                .map(|path| decode(path, "virtual host"))
                .transpose()?,
            query: options(query)?,
        })
    }
}

/// Whether another URL begins after a comma or a space in what follows the scheme.
fn has_another_url(rest: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    rest.match_indices("://").any(|(at, _)| {
        let before = rest[..at].trim_end_matches(is_name);
        before.len() < at && before.ends_with([',', ';', ' '])
    })
}

/// Whether the path is interpreted as in RabbitMQ's URI specification.
fn is_amqp(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("amqp") || scheme.eq_ignore_ascii_case("amqps")
}

fn read_hosts(text: &str) -> Result<Vec<Host>, UrlError> {
    let mut hosts = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (first, others) = match text.split_once(',') {
            Some((first, others)) => (first, Some(others)),
            None => (text, None),
        };
        let first = first.trim();
        if !first.is_empty() {
            hosts.push(host(first).map_err(|error| match error {
                // The comma may be part of a password.
                UrlError::Port
                    if !first.contains('@') && others.is_some_and(|o| o.contains('@')) =>
                {
                    UrlError::PortOrPassword
                }
                error => error,
            })?);
        }
        rest = others;
    }
    Ok(hosts)
}

fn host(text: &str) -> Result<Host, UrlError> {
    // Credentials end at the last `@`: a password may contain one.
    let (login, address) = match text.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, text),
    };
    let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
    {
        Some((username, "")) => (Some(decode(username, "user")?), None),
        Some((username, password)) => {
            (Some(decode(username, "user")?), Some(decode(password, "password")?))
        }
        None => (None, None),
    };
    let (name, port) = if let Some(rest) = address.strip_prefix('[') {
        let (name, port) = rest.split_once(']').ok_or(UrlError::OpenBracket)?;
        match port.strip_prefix(':') {
            None if !port.is_empty() => return Err(UrlError::Port),
            port => (name, port),
        }
    } else if address.matches(':').count() > 1 {
        // A bare IPv6 address has no port.
        (address, None)
    } else {
        match address.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (address, None),
        }
    };
    if !Host::can_have(name) {
        return Err(UrlError::HostName);
    }
    let port = port
        .filter(|port| !port.is_empty())
        .map(|port| match port.parse() {
            Ok(0) | Err(_) => Err(UrlError::Port),
            Ok(port) => Ok(port),
        })
        .transpose()?;
    Ok(Host { name: name.to_owned(), port, username, password })
}

/// Letters of any script, and the other characters of names and addresses, including zones (`%eth0`).
fn is_host_character(character: char) -> bool {
    character.is_alphanumeric() || "-._:%".contains(character)
}

fn options(query: &str) -> Result<Vec<(String, String)>, UrlError> {
    let mut options: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(UrlError::NoValue)?;
        let (name, value) = (decode(name, "option")?, decode(value, "option")?);
        match options.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => options.push((name, value)),
        }
    }
    Ok(options)
}

fn decode(text: &str, part: &'static str) -> Result<String, UrlError> {
    let whole = text.match_indices('%').all(|(at, _)| {
        text.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    if !whole {
        return Err(UrlError::Encoding { part });
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| UrlError::Encoding { part })
}

/// The characters that have to be escaped in a user, a virtual host or the name of an option, so that
/// parsing returns the same text.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'%')
    .add(b'/')
    .add(b':')
    .add(b'@')
    .add(b',')
    .add(b'?')
    .add(b'#')
    .add(b'&')
    .add(b'=')
    .add(b'[')
    .add(b']');

impl fmt::Display for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        for (index, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if index == 0 { "" } else { "," })?;
        }
        if self.virtual_host.is_some() || !is_amqp(&self.scheme) {
            write!(f, "/")?;
        }
        if let Some(virtual_host) = &self.virtual_host {
            write!(f, "{}", utf8_percent_encode(virtual_host, ESCAPED))?;
        }
        // The value of an option may be a secret, such as the path of a key.
        for (index, (name, _)) in self.query.iter().enumerate() {
            let name = utf8_percent_encode(name, ESCAPED);
            write!(f, "{}{name}=..", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for TransportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportUrl({self})")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(username) = &self.username {
            write!(f, "{}", utf8_percent_encode(username, ESCAPED))?;
            write!(f, "{}@", if self.password.is_some() { ":***" } else { "" })?;
        }
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({self})")
    }
}

debug_is_the_message!(UrlError);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TransportUrl {
        text.parse().expect("a transport URL")
    }

    /// Name, port, user and password of a host.
    type Parts = (String, Option<u16>, Option<String>, Option<String>);

    fn hosts(text: &str) -> Vec<Parts> {
        let parts = |host: &Host| {
            (host.name.clone(), host.port, host.username.clone(), host.password.clone())
        };
        parse(text).hosts().iter().map(parts).collect()
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_host_has_name_port_and_credentials() {
        assert_eq!(
            hosts("rabbit://user:pass@host:5672/"),
            [("host".to_owned(), Some(5672), text("user"), text("pass"))]
        );
        assert_eq!(hosts("rabbit://host"), [("host".to_owned(), None, None, None)]);
        assert_eq!(hosts("rabbit:///vhost"), []);
    }

    #[test]
    fn several_hosts_keep_their_own_credentials() {
        assert_eq!(
            hosts("rabbit://u1:p1@h1:1,h2:2,,u3@h3"),
            [
                ("h1".to_owned(), Some(1), text("u1"), text("p1")),
                ("h2".to_owned(), Some(2), None, None),
                ("h3".to_owned(), None, text("u3"), None),
            ]
        );
    }

    #[test]
    fn credentials_are_decoded_and_end_at_the_last_at_sign() {
        assert_eq!(
            hosts("rabbit://u%40x:p@s:%2f@h/"),
            [("h".to_owned(), None, text("u@x"), text("p@s:/"))]
        );
    }

    #[test]
    fn ipv6_addresses_may_be_in_brackets_or_bare() {
        assert_eq!(hosts("rabbit://[::1]:5672/"), [("::1".to_owned(), Some(5672), None, None)]);
        assert_eq!(hosts("rabbit://::1/"), [("::1".to_owned(), None, None, None)]);
    }

    #[test]
    fn the_path_is_the_virtual_host() {
        let vhost = |text| parse(text).virtual_host().map(str::to_owned);
        assert_eq!(vhost("rabbit://h"), None);
        assert_eq!(vhost("rabbit://h/"), None);
        assert_eq!(vhost("rabbit://h/nova"), text("nova"));
        assert_eq!(vhost("rabbit://h//"), text("/"));
        assert_eq!(vhost("rabbit://h/%2Fnova"), text("/nova"));
    }

    /// The examples of RabbitMQ's page "URI Specification".
    #[test]
    fn the_path_of_an_amqp_url_is_interpreted_as_rabbitmq_does() {
        let vhost = |text| parse(text).virtual_host().map(str::to_owned);
        assert_eq!(vhost("amqp://"), None);
        assert_eq!(vhost("amqp://host"), None);
        assert_eq!(vhost("amqp://host/"), text(""));
        assert_eq!(vhost("amqp://host/%2F"), text("/"));
        assert_eq!(vhost("amqp://host/vhost"), text("vhost"));
        assert_eq!(vhost("AMQP://:@host/?heartbeat=10"), text(""));
        assert_eq!(
            hosts("amqp://user%61:%61pass@[::1]:10000/v%2fhost"),
            [("::1".to_owned(), Some(10000), text("usera"), text("apass"))]
        );
        for url in ["amqp://h", "amqp://h/", "amqp://h/%2F", "amqps://h?verify=.."] {
            assert_eq!(parse(url).to_string(), url);
        }
    }

    #[test]
    fn white_space_around_the_url_is_ignored() {
        for url in
            ["rabbit://u:p@h:5672/v\n", " rabbit://u:p@h:5672/v", "\trabbit://u:p@h:5672/v\r\n"]
        {
            assert_eq!(parse(url), parse("rabbit://u:p@h:5672/v"));
        }
        assert_eq!(parse("rabbit://u:p@h:5672\n"), parse("rabbit://u:p@h:5672"));
        for url in
            ["rabbit://u:p\n@h", "rabbit://h/v\n?a=b", "rabbit://h:56\r72", "rabbit://h/?a=\t1"]
        {
            assert_eq!(url.parse::<TransportUrl>(), Err(UrlError::ControlCharacter), "{url:?}");
        }
    }

    #[test]
    fn options_given_twice_are_joined() {
        assert_eq!(
            parse("rabbit://h/?a=1&b=x%20y&a=2").query(),
            [("a".to_owned(), "1,2".to_owned()), ("b".to_owned(), "x y".to_owned())]
        );
    }

    #[test]
    fn the_scheme_is_whole_and_in_lower_case() {
        assert_eq!(parse("Kombu+Memory://h").scheme(), "kombu+memory");
    }

    #[test]
    fn a_displayed_url_parses_to_the_same_url() {
        let shown = "rabbit://u%3A:***@[::1%25]:1/v%26?a%26b=..";
        let url = parse("rabbit://u%3A:p@[::1%25]:1/v%26?a%26b=1");
        assert_eq!((url.to_string().as_str(), parse(shown).to_string().as_str()), (shown, shown));
    }

    #[test]
    fn passwords_and_option_values_are_never_shown() {
        let url = parse("rabbit://guest:secret1@h:1,u:secret2@[::1]/v%2Fh?ssl_key_file=secret3");
        let shown = format!("{url} {url:?} {:?}", url.hosts());
        assert_eq!(url.to_string(), "rabbit://guest:***@h:1,u:***@[::1]/v%2Fh?ssl_key_file=..");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn white_space_around_a_host_is_ignored() {
        let expected = parse("rabbit://u:p@h1:5672,u:p@h2:5672,h3/v");
        assert_eq!(parse("rabbit://u:p@h1:5672, u:p@h2:5672 ,  h3/v"), expected);
    }

    #[test]
    fn errors_do_not_contain_the_text() {
        let error = |text: &str| text.parse::<TransportUrl>().expect_err("a mistake").to_string();
        for text in ["", " \n"] {
            assert_eq!(
                error(text),
                "it is empty; expected one like `amqp://user:password@host:5672` or `rabbit://user:password@host:5672`"
            );
        }
        for (text, mark) in [
            ("\"rabbit://u:secret@h/\"", "quotation mark"),
            ("'rabbit://u:secret@h/'", "quotation mark"),
            ("\u{feff}rabbit://u:secret@h/", "byte order mark"),
        ] {
            assert_eq!(
                error(text),
                format!("it begins with a {mark}; remove it, and the closing one at the end")
            );
        }
        for text in [
            "rabbit://u:secret@h1/nova,rabbit://u:secret@h2/nova",
            "rabbit://h1,rabbit://h2",
            "rabbit://u:secret@h1:5672, amqp://u:secret@h2:5672",
            "rabbit://h1/?ssl=0 rabbit://h2/",
        ] {
            assert_eq!(
                error(text),
                "several URLs; expected one URL with all hosts, like `rabbit://user:password@host1:5672,user:password@host2:5672/vhost`"
            );
        }
        for text in ["rabbit://[::1]5672", "rabbit://[::1]x:1"] {
            assert_eq!(
                error(text),
                "invalid port; expected a number from 1 to 65535, as in `rabbit://user:password@host:5672`"
            );
        }
        assert_eq!(
            error("h:5672"),
            "no scheme; expected a URL like `amqp://user:password@host:5672` or `rabbit://user:password@host:5672`"
        );
        assert_eq!(
            error("rabbit://u:sec,ret@h/"),
            "invalid port; expected a number from 1 to 65535, or, if it is part of a password, `/` as %2F, `?` as %3F, `,` as %2C and `%` as %25 there"
        );
        for url in ["rabbit://u:p@h:56x/", "rabbit://h:0", "rabbit://h:65536", "rabbit://u:secret"]
        {
            assert_eq!(
                error(url),
                "invalid port; expected a number from 1 to 65535, as in `rabbit://user:password@host:5672`"
            );
        }
        assert_eq!(
            error("rabbit://u:sec/ret@h/"),
            "an `@` follows the hosts; in a password, write `/` as %2F and `?` as %3F, and elsewhere `@` as %40"
        );
        assert_eq!(
            error("rabbit://u:sec%zz@h/"),
            "the password is not percent-encoded UTF-8; write `%` as `%25`"
        );
        assert_eq!(
            error("rabbit://[::1/"),
            "an IPv6 address has no closing bracket; expected it as in `[::1]:5672`"
        );
        for text in ["rabbit://u:secret@", "rabbit://:1/", "rabbit://u:secret@a b", "rabbit://a]b"]
        {
            assert_eq!(
                error(text),
                "invalid host name; expected a name or an address, as in `rabbit://user:password@host:5672`"
            );
        }
        assert_eq!(
            error("r b://h"),
            "invalid scheme; expected a URL like `rabbit://user:password@host:5672`"
        );
        assert_eq!(error("rabbit://u:12?secret@h/"), error("rabbit://u:sec/ret@h/"));
        assert_eq!(error("rabbit://h/?ssl"), "an option has no value; expected `name=value`");
    }
}
