//! Where generated code finds what it names. Everything of ours is named through
//! `::listener::__private`, or through the path that `crate = path` gives; everything of the
//! standard library is written in full, so that nothing in the user's scope can shadow it.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

/// The path of `__private`; `#private::Endpoint` inside `quote!` names what is in it.
pub(crate) struct Private(TokenStream);

impl Private {
    /// `crate_path` is the user's own path of the `listener` crate.
    pub(crate) fn new(crate_path: Option<&syn::Path>) -> Self {
        Self(match crate_path {
            Some(path) => quote!(#path::__private),
            None => quote!(::listener::__private),
        })
    }
}

impl ToTokens for Private {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
