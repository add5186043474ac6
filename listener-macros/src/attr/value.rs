//! What stands behind `key =`: a string, a time, a number, a boolean or a path, as literals,
//! for they are needed while compiling. Called by `Entries` in `mod.rs`, which knows the keys.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use syn::{Expr, Lit, LitStr, Path};

use crate::attr::Time;
use crate::attr::duration::{Flaw, milliseconds};
use crate::mistake::{mistake, mistake_on};

pub(super) fn string(value: &Expr) -> syn::Result<LitStr> {
    if let Expr::Lit(literal) = bare(value)
        && let Lit::Str(text) = &literal.lit
    {
        return Ok(text.clone());
    }
    let fix = "write it as one string literal; it is checked while compiling, so a constant or `concat!` cannot stand here";
    Err(mistake_on(value, "expected a string literal", fix))
}

pub(super) fn time(value: &Expr) -> syn::Result<Time> {
    if let Expr::Lit(literal) = bare(value)
        && let Lit::Int(number) = &literal.lit
    {
        // `30s` is a number with a suffix to the compiler.
        let unit = if number.suffix().is_empty() { "s" } else { number.suffix() };
        let fix = format_args!("write `\"{}{unit}\"`", number.base10_digits());
        return Err(mistake_on(value, "a time stands in quotes, with its unit", fix));
    }
    let text = string(value)?;
    match milliseconds(&text.value()) {
        Ok(milliseconds) => Ok(Time { text, milliseconds }),
        Err(Flaw { found, fix }) => Err(mistake(text.span(), found, fix)),
    }
}

pub(super) fn integer<N>(value: &Expr, range: &RangeInclusive<N>) -> syn::Result<N>
where
    N: FromStr + PartialOrd + Display,
{
    let wrong = |found: &str| {
        let fix = format_args!("write a number from {} to {}", range.start(), range.end());
        mistake_on(value, found, fix)
    };
    let expected = || wrong("expected a number");
    let (sign, digits) = match bare(value) {
        Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Neg(_)) => ("-", bare(&unary.expr)),
        digits => ("", digits),
    };
    let Expr::Lit(literal) = digits else {
        return Err(expected());
    };
    let Lit::Int(number) = &literal.lit else {
        return Err(expected());
    };
    let number = format!("{sign}{}", number.base10_digits()).parse().ok();
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| wrong("the number is out of range"))
}

pub(super) fn boolean(value: &Expr) -> syn::Result<bool> {
    if let Expr::Lit(literal) = bare(value)
        && let Lit::Bool(boolean) = &literal.lit
    {
        return Ok(boolean.value);
    }
    Err(mistake_on(value, "expected `true` or `false`", "write one of the two"))
}

pub(super) fn path(value: &Expr) -> syn::Result<Path> {
    match bare(value) {
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        Expr::Call(_) => Err(mistake_on(
            value,
            "expected a path, found a call",
            "give the function itself, without `()`",
        )),
        Expr::Closure(_) => Err(mistake_on(
            value,
            "expected a path, found a closure",
            "write a function and give its path",
        )),
        _ => {
            Err(mistake_on(value, "expected a path", "write it without quotes, as in `some::path`"))
        }
    }
}

/// The value without the invisible group that `macro_rules!` puts around it.
fn bare(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}
