//! Where generated code finds what it names. Everything of ours is named through one import
//! of `::listener::__private`, or of the path that `crate = path` gives, so that a wrong path
//! is one error; everything of the standard library is written in full, so that nothing in the
//! user's scope can shadow it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

/// The name of `__private` in generated code; `#private::Endpoint` inside `quote!` names what
/// is in it.
pub(crate) struct Private(Ident);

impl Private {
    /// The name whose errors stand at `span`.
    pub(crate) fn at(span: Span) -> Self {
        Self(Ident::new("__listener", span))
    }

    /// What brings the name into scope; `crate_path` is the user's own path of `listener`.
    pub(crate) fn import(&self, crate_path: Option<&syn::Path>) -> TokenStream {
        let name = &self.0;
        match crate_path {
            Some(path) => quote!(use #path::__private as #name;),
            None => quote!(use ::listener::__private as #name;),
        }
    }
}

impl ToTokens for Private {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
