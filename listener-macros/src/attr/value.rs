//! Reads the value of `key = value`: a string, a duration, an integer, a boolean or a path. All are
//! literals, because they are evaluated at compile time. Called by `Entries` in `mod.rs`, which
//! knows the keys.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use syn::{Expr, Lit, LitStr, Path};

use crate::attr::Duration;
use crate::attr::duration::milliseconds;
use crate::diagnostic::{by_rustc, error_on};
use crate::similar::UNIT_SYNONYMS;

pub(super) fn string(value: &Expr) -> syn::Result<LitStr> {
    literal(
        value,
        "expected a string literal",
        "write one string literal: the value is checked at compile time, so it cannot be a constant or a macro such as `concat!`",
    )
}

/// A string literal, or this error. rustc reports a literal that cannot be read, such as one with an unknown
/// escape.
fn literal(value: &Expr, message: &str, help: &str) -> syn::Result<LitStr> {
    if let Expr::Lit(literal) = ungrouped(value)
        && let Lit::Str(text) = &literal.lit
    {
        return Ok(text.clone());
    }
    if let Expr::Lit(literal) = ungrouped(value)
        && is_invalid(&literal.lit)
    {
        return Err(by_rustc(value));
    }
    Err(error_on(value, message, help))
}

/// Whether rustc rejects a literal.
pub(super) fn is_invalid(literal: &Lit) -> bool {
    matches!(literal, Lit::Verbatim(_))
}

pub(super) fn duration(value: &Expr) -> syn::Result<Duration> {
    if let Expr::Lit(literal) = ungrouped(value)
        && let Lit::Int(number) = &literal.lit
    {
        // To the compiler `30s` is a number with a suffix.
        let suffix = number.suffix();
        let unit = UNIT_SYNONYMS.iter().find(|(name, _)| *name == suffix).map(|(_, unit)| *unit);
        let help = format!("write `\"{}{}\"`", number.base10_digits(), unit.unwrap_or("s"));
        return Err(error_on(value, "expected a duration in quotes, found a number", help));
    }
    let help = "write a duration such as `\"30s\"` or `\"1m30s\"`";
    let text = literal(value, "expected a duration in quotes", help)?;
    match milliseconds(&text.value()) {
        Ok(milliseconds) => Ok(Duration { text, milliseconds }),
        Err(diagnostic) => Err(diagnostic.at(text.span())),
    }
}

pub(super) fn integer<N>(value: &Expr, range: &RangeInclusive<N>) -> syn::Result<N>
where
    N: FromStr + PartialOrd + Display,
{
    let error = |message: &str| {
        let help = format_args!("write a number from {} to {}", range.start(), range.end());
        error_on(value, message, help)
    };
    let expected = || error("expected an integer");
    let (sign, digits) = match ungrouped(value) {
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => {
            ("-", ungrouped(&unary.expr))
        }
        digits => ("", digits),
    };
    let Expr::Lit(literal) = digits else {
        return Err(expected());
    };
    let Lit::Int(number) = &literal.lit else {
        return Err(expected());
    };
    if !number.suffix().is_empty() {
        return Err(error(&format!("expected an integer, found the suffix `{}`", number.suffix())));
    }
    let number = format!("{sign}{}", number.base10_digits()).parse().ok();
    number.filter(|number| range.contains(number)).ok_or_else(|| error("number out of range"))
}

pub(super) fn boolean(value: &Expr) -> syn::Result<bool> {
    if let Expr::Lit(literal) = ungrouped(value)
        && let Lit::Bool(boolean) = &literal.lit
    {
        return Ok(boolean.value);
    }
    Err(error_on(value, "expected `true` or `false`", "write `true` or `false`, without quotes"))
}

pub(super) fn path(value: &Expr) -> syn::Result<Path> {
    match ungrouped(value) {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        Expr::Call(_) => Err(error_on(
            value,
            "expected a path, found a call",
            "write the path of the function, without `()`",
        )),
        Expr::Closure(_) => Err(error_on(
            value,
            "expected a path, found a closure",
            "define a function and write its path",
        )),
        _ => Err(error_on(
            value,
            "expected a path",
            "write a path without quotes, such as `Self::connect`",
        )),
    }
}

/// The value without the invisible group that `macro_rules!` puts around it.
fn ungrouped(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}
