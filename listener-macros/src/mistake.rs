//! One shape for every message: what was found, then the fix. `Mistakes` gathers them, so
//! that all mistakes of a block are reported at once; a `warning` lets the block be. Which mistakes there are is said in
//! `attr.rs`, `endpoint/parse.rs` and `endpoint/check`.

use std::fmt::Display;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::Attribute;

/// A mistake at a place.
pub(crate) fn mistake(at: Span, found: impl Display, fix: impl Display) -> syn::Error {
    syn::Error::new(at, format!("{found}\nhelp: {fix}"))
}

/// A mistake that underlines all of `tokens`.
pub(crate) fn mistake_on(
    tokens: impl ToTokens,
    found: impl Display,
    fix: impl Display,
) -> syn::Error {
    syn::Error::new_spanned(tokens, format!("{found}\nhelp: {fix}"))
}

/// A warning at a place. There is no other on stable than the use of something deprecated.
/// `allowed` are the attributes that can silence it.
pub(crate) fn warning(
    at: Span,
    allowed: &[Attribute],
    found: impl Display,
    fix: impl Display,
) -> TokenStream {
    let note = format!("{found}\nhelp: {fix}");
    let name = Ident::new("called_twice", at);
    quote_spanned! {at=>
        #(#allowed)*
        const _: () = {
            #[deprecated(note = #note)]
            #[allow(non_upper_case_globals)]
            const #name: () = ();
            #name
        };
    }
}

/// The mistakes found so far, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    /// Notes a mistake at a span.
    pub(crate) fn at(&mut self, at: Span, found: impl Display, fix: impl Display) {
        self.add(mistake(at, found, fix));
    }

    /// Notes a mistake that underlines all of `tokens`.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, found: impl Display, fix: impl Display) {
        self.add(mistake_on(tokens, found, fix));
    }

    /// Notes a mistake that was put into words elsewhere.
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// Keeps the value, or notes why there is none.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Notes the mistakes of a later stage behind those of this one.
    pub(crate) fn append(&mut self, later: Self) {
        if let Some(error) = later.0 {
            self.add(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// One `compile_error!` per mistake.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.0.as_ref().map(syn::Error::to_compile_error).unwrap_or_default()
    }
}
