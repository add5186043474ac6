//! References in the values of oslo.config: `$option`, `${option}`, `$group.option` and `$$`. They are replaced
//! when a value is used, with the values that win over all files and variables, as oslo.config does it.

use super::parse::DEFAULT;
use crate::redact::redacted;

/// How deep references may be nested: one that leads back to itself would not end.
const DEEPEST: usize = 32;

/// How long a value may become, in bytes: each reference can double it.
const LONGEST: usize = 64 * 1024;

/// The values that references find.
pub(super) trait Lookup {
    /// The value of this option, before its own references are replaced.
    fn value(&self, section: &str, key: &str) -> Option<&str>;
}

/// The value of an option in this section with its references replaced, or what is wrong with them. Values
/// are not shown, as they may be secrets.
pub(super) fn substitute(
    value: &str,
    section: &str,
    lookup: &impl Lookup,
) -> Result<String, String> {
    replaced(value, section, lookup, DEEPEST)
}

fn replaced(
    value: &str,
    section: &str,
    lookup: &impl Lookup,
    depth: usize,
) -> Result<String, String> {
    // oslo.config takes `\$` as `$$`.
    let value = value.replace("\\$", "$$");
    let mut text = String::new();
    let mut rest = value.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        rest = match reference(after) {
            Reference::Dollar(rest) => {
                text.push('$');
                rest
            }
            Reference::None => {
                text.push('$');
                after
            }
            Reference::To(name, rest) => {
                let (section, found) = find(name, section, lookup)?;
                if depth == 0 {
                    let name = redacted(name);
                    return Err(format!("the reference `${name}` leads back to itself"));
                }
                text.push_str(&replaced(found, section, lookup, depth - 1)?);
                rest
            }
        };
        if text.len() > LONGEST {
            return Err(format!("its references make it longer than {LONGEST} bytes"));
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// What follows a dollar sign.
enum Reference<'v> {
    /// Another dollar sign, and the rest.
    Dollar(&'v str),
    /// The name of an option, and the rest.
    To(&'v str, &'v str),
    /// Nothing that is replaced.
    None,
}

fn reference(after: &str) -> Reference<'_> {
    if let Some(rest) = after.strip_prefix('$') {
        return Reference::Dollar(rest);
    }
    if let Some(inner) = after.strip_prefix('{') {
        let (name, rest) = name(inner);
        return match rest.strip_prefix('}') {
            Some(rest) if !name.is_empty() => Reference::To(name, rest),
            _ => Reference::None,
        };
    }
    match name(after) {
        ("", _) => Reference::None,
        (name, rest) => Reference::To(name, rest),
    }
}

/// The name that a text begins with: `[_a-z][._a-z0-9]*`, in any case.
fn name(text: &str) -> (&str, &str) {
    if !text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) {
        return ("", text);
    }
    let is_part = |c: char| c == '_' || c == '.' || c.is_ascii_alphanumeric();
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

/// The value that a name refers to, with its section: in the group that it names, otherwise in the section of
/// the value, and then in `DEFAULT`.
fn find<'l>(
    name: &'l str,
    section: &'l str,
    lookup: &'l impl Lookup,
) -> Result<(&'l str, &'l str), String> {
    let (group, key) = name.split_once('.').unwrap_or((section, name));
    let in_group = lookup.value(group, key).map(|value| (group, value));
    let found = in_group.or_else(|| lookup.value(DEFAULT, name).map(|value| (DEFAULT, value)));
    found.ok_or_else(|| {
        let name = redacted(name);
        format!(
            "it refers to `${name}`, which no file and no variable sets; set it, or write `$$` for a \
             dollar sign"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Values(&'static [(&'static str, &'static str, &'static str)]);

    impl Lookup for Values {
        fn value(&self, section: &str, key: &str) -> Option<&str> {
            let found = self.0.iter().find(|(group, name, _)| *group == section && *name == key);
            found.map(|(_, _, value)| *value)
        }
    }

    const VALUES: Values = Values(&[
        ("DEFAULT", "my_ip", "10.0.0.1"),
        ("DEFAULT", "password", "pa$$word"),
        ("DEFAULT", "nested", "<$my_ip>"),
        ("DEFAULT", "loop", "$other"),
        ("DEFAULT", "other", "${loop}"),
        ("DEFAULT", "twice", "$twice$twice"),
        ("keystone", "user", "nova"),
        ("keystone", "me", "$user@$my_ip"),
    ]);

    #[track_caller]
    fn check(value: &str, expected: &str) {
        assert_eq!(substitute(value, "keystone", &VALUES), Ok(expected.to_owned()), "{value}");
    }

    #[test]
    fn names_are_found_in_their_group_in_the_section_and_in_default() {
        check("$my_ip", "10.0.0.1");
        check("a${my_ip}b", "a10.0.0.1b");
        check("$user:$keystone.user", "nova:nova");
        check("$me", "nova@10.0.0.1");
        check("$nested-$password", "<10.0.0.1>-pa$word");
    }

    #[test]
    fn a_dollar_sign_without_a_name_is_kept() {
        check("$$my_ip", "$my_ip");
        check("\\$my_ip", "$my_ip");
        check("$ $1 $- ${ ${} ${my-ip} $", "$ $1 $- ${ ${} ${my-ip} $");
    }

    #[test]
    fn a_reference_without_a_value_is_an_error_that_names_it() {
        for (value, expected) in [
            ("$unknown", "it refers to `$unknown`, which no file and no variable sets"),
            ("$my_ip.", "it refers to"),
            ("$loop", "leads back to itself"),
            ("$twice", "leads back to itself"),
        ] {
            let error = substitute(value, "DEFAULT", &VALUES).expect_err(value);
            assert!(error.contains(expected), "{error}");
        }
    }
}
