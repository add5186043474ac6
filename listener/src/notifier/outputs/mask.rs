//! Replaces passwords with `***`, as `mask_dict_password` and `mask_password` of oslo.utils do, with their
//! keys and their patterns. Used by the output `log`.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

const SECRET: &str = "***";

/// A key that contains one of these, in any case, has a secret value.
const KEYS: [&str; 35] = [
    "adminpass",
    "admin_pass",
    "password",
    "admin_password",
    "auth_token",
    "new_pass",
    "auth_password",
    "secret_uuid",
    "secret",
    "sys_pswd",
    "token",
    "configdrive",
    "chappassword",
    "encrypted_key",
    "private_key",
    "fernetkey",
    "sslkey",
    "passphrase",
    "cephclusterfsid",
    "octaviaheartbeatkey",
    "rabbitcookie",
    "cephmanilaclientkey",
    "pacemakerremoteauthkey",
    "designaterndckey",
    "cephadminkey",
    "heatauthencryptionkey",
    "cephclientkey",
    "keystonecredential",
    "barbicansimplecryptokek",
    "cephrgwkey",
    "swifthashsuffix",
    "migrationsshkey",
    "cephmdskey",
    "cephmonkey",
    "chapsecret",
];

/// The patterns of a key, with `KEY` in its place, in the order in which they are applied. The secret is
/// between the first group and the second, if there is one.
const PATTERNS: [&str; 11] = [
    r#"(KEY[0-9]*\s*[=]\s*["'])[^"']*(["'])"#,
    r#"(KEY[0-9]*\s*[=]\s*["])[^"]*(["])"#,
    r"(KEY[0-9]*\s*[=]\s*['])[^']*(['])",
    r#"(KEY[0-9]*\s+["'])[^"']*(["'])"#,
    r#"([-]{2}KEY[0-9]*\s+)[^'^"^=^\s]+([\s]*)"#,
    r"(<KEY[0-9]*>)[^<]*(</KEY[0-9]*>)",
    r#"(["']KEY[0-9]*["']\s*:\s*["'])[^"']*(["'])"#,
    r#"(['"][^"']*KEY[0-9]*['"]\s*:\s*u?['"])[^"']*(['"])"#,
    r#"(['"][^'"]*KEY[0-9]*['"]\s*,\s*'--?[A-z]+'\s*,\s*u?['"])[^"']*(['"])"#,
    r"(KEY[0-9]*\s*--?[A-z]+\s*)\S+(\s*)",
    r#"(KEY[0-9]*\s*[=]\s*)[^\s^'^"]+"#,
];

/// Applied last: what follows the first group is removed.
const WILDCARD: &str = r#"(['"][^"']*KEY[0-9]*['"]\s*:\s*u?['"].*['"])[^"']*(['"])"#;

/// The expressions of one key. They are compiled when a text contains the key.
static EXPRESSIONS: [LazyLock<Vec<Regex>>; KEYS.len()] = {
    macro_rules! lazily {
        ($($index:literal)*) => { [$(LazyLock::new(|| compiled(KEYS[$index]))),*] };
    }
    lazily!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34)
};

fn compiled(key: &str) -> Vec<Regex> {
    let patterns = PATTERNS.iter().chain([&WILDCARD]);
    let compile = |pattern: &&str| Regex::new(&format!("(?si){}", pattern.replace("KEY", key)));
    patterns.map(|pattern| compile(pattern).expect("a constant")).collect()
}

/// The value, with secrets masked in all objects, lists and texts.
pub(super) fn mask(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let masked = object.iter().map(|(key, value)| {
                let is_secret = !value.is_object() && is_secret(key);
                (key.clone(), if is_secret { SECRET.into() } else { mask(value) })
            });
            Value::Object(masked.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(mask).collect()),
        Value::String(text) => Value::String(mask_text(text)),
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    KEYS.iter().any(|secret| key.contains(secret))
}

/// A text with secrets masked, as they occur in command lines, JSON, XML and the like.
pub(super) fn mask_text(text: &str) -> String {
    let mut text = text.to_owned();
    for (key, expressions) in KEYS.iter().zip(&EXPRESSIONS) {
        if !text.to_lowercase().contains(key) {
            continue;
        }
        for (index, expression) in expressions.iter().enumerate() {
            let replaced = expression.replace_all(&text, |found: &Captures<'_>| {
                let secret = if index < PATTERNS.len() { SECRET } else { "" };
                let end = if index < PATTERNS.len() { found.get(2) } else { None };
                format!("{}{secret}{}", &found[1], end.map(|end| end.as_str()).unwrap_or_default())
            });
            text = replaced.into_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The results are those of oslo.utils 10, its oddities included.
    #[test]
    fn secrets_in_texts_are_masked_as_in_python() {
        for (text, expected) in [
            (r#"--password d81juxmEW_"#, r#"--password ***"#),
            (r#"adminPass = 'x' and more"#, r#"adminPass = '***' and more"#),
            (r#"admin_pass="a b" c"#, r#"admin_pass="***" c"#),
            (r#"<password>abc</password>"#, r#"<password>***</password>"#),
            (r#"{'my_password': 'it''s'}"#, r#"{'my_password': '***''}"#),
            (r#"{"auth_token": "a", "b": 1}"#, r#"{"auth_token": "***": 1}"#),
            (r#"{'token': u'x', 'k': 'v'}"#, r#"{'token': u'***', 'k': '}"#),
            (r#"password1 = foo bar"#, r#"password1 = *** bar"#),
            (r#"passphrase 'quoted'"#, r#"passphrase '***'"#),
            (r#"{'password': '"quoted"'}"#, r#"{'password': '***"quoted"}"#),
            (r#"('fernetkey', '--x', 'abc')"#, r#"('fernetkey', '--x', '***')"#),
            (r#"a token --flag value rest"#, r#"a token --flag *** rest"#),
            (r#"nothing here"#, r#"nothing here"#),
            (r#"secret=é b"#, r#"secret=*** b"#),
            (r#"PASSWORD=A&b=c"#, r#"PASSWORD=***"#),
        ] {
            assert_eq!(mask_text(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_masked_at_every_depth_as_in_python() {
        let value = json!({
            "a": {"password": {"x": "y", "token": 5}},
            "l": [1, null, "--password x", ["secret = z"], {"sslkey": [1]}],
            "n": 1.5, "secrets": null, "UserAuth_Token": ["a"],
        });
        let masked = json!({
            "a": {"password": {"x": "y", "token": "***"}},
            "l": [1, null, "--password ***", ["secret = ***"], {"sslkey": "***"}],
            "n": 1.5, "secrets": "***", "UserAuth_Token": "***",
        });
        assert_eq!(mask(&value), masked);
    }
}
