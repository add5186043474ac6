//! The form of every error and warning of the attribute: a message, then `help:` with the fix.
//! `Diagnostics` collects errors, so that all errors of a block are reported together. The errors
//! themselves are in `attr`, `endpoint/parse.rs` and `endpoint/check`.

use std::fmt::Display;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Attribute;

/// What is wrong and how to fix it, not yet tied to a span.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    message: String,
    help: String,
}

impl Diagnostic {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(crate) fn help(&self) -> &str {
        &self.help
    }

    /// The error at a span.
    pub(crate) fn at(&self, span: Span) -> syn::Error {
        error_at(span, &self.message, &self.help)
    }

    /// The error that underlines all of `tokens`.
    pub(crate) fn on(&self, tokens: impl ToTokens) -> syn::Error {
        error_on(tokens, &self.message, &self.help)
    }
}

/// An error at a span.
pub(crate) fn error_at(span: Span, message: impl Display, help: impl Display) -> syn::Error {
    syn::Error::new(span, format!("{message}\nhelp: {help}"))
}

/// An error that underlines all of `tokens`.
pub(crate) fn error_on(
    tokens: impl ToTokens,
    message: impl Display,
    help: impl Display,
) -> syn::Error {
    syn::Error::new_spanned(tokens, format!("{message}\nhelp: {help}"))
}

const BY_RUSTC: &str = "rustc reports it";

/// An error that rustc reports, so that it is not reported here.
pub(crate) fn by_rustc(tokens: impl ToTokens) -> syn::Error {
    syn::Error::new_spanned(tokens, BY_RUSTC)
}

/// A warning at a span. Stable Rust has no warnings of macros, so this is the use of a deprecated
/// constant. `allowed` are the attributes that can silence it.
pub(crate) fn warning(
    span: Span,
    allowed: &[Attribute],
    message: impl Display,
    help: impl Display,
) -> TokenStream {
    let note = format!("{message}\nhelp: {help}");
    let name = Ident::new("called_twice", span);
    quote_spanned! {span=>
        #(#allowed)*
        const _: () = {
            #[deprecated(note = #note)]
            #[allow(non_upper_case_globals)]
            const #name: () = ();
            #name
        };
    }
}

/// The errors found so far, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Diagnostics(Option<syn::Error>);

impl Diagnostics {
    /// Adds an error at a span.
    pub(crate) fn at(&mut self, span: Span, message: impl Display, help: impl Display) {
        self.add(error_at(span, message, help));
    }

    /// Adds an error that underlines all of `tokens`.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl Display, help: impl Display) {
        self.add(error_on(tokens, message, help));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// The value, or `None` after adding the error.
    pub(crate) fn handle<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Adds the errors of a later stage after those of this one.
    pub(crate) fn append(&mut self, later: Self) {
        if let Some(error) = later.0 {
            self.add(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// One `compile_error!` for each error but those of rustc.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        let errors = self.0.clone().into_iter().flatten();
        let ours = errors.filter(|error| error.to_string() != BY_RUSTC);
        ours.map(|error| error.to_compile_error()).collect()
    }
}
