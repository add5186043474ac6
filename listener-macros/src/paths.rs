//! The paths in generated code. Items of `listener` are reached through one import of
//! `::listener::__private`, or of the path in `crate = path`, so that a wrong path is one error.
//! Paths of the standard library are absolute, so that nothing in the user's scope can shadow them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};

/// The name under which `__private` is imported: `#private::Endpoint` in `quote!`.
pub(crate) struct Private(Ident);

impl Private {
    /// The name with a span: errors in what follows it are reported there.
    pub(crate) fn at(span: Span) -> Self {
        Self(Ident::new("__listener", span))
    }

    /// The import of the name. `crate_path` is the value of `crate = path`.
    pub(crate) fn import(&self, crate_path: Option<&syn::Path>) -> TokenStream {
        let (name, path) = (&self.0, Self::path(crate_path));
        quote!(use #path as #name;)
    }

    /// The path that is imported.
    pub(crate) fn path(crate_path: Option<&syn::Path>) -> TokenStream {
        match crate_path {
            Some(path) => quote!(#path::__private),
            None => quote!(::listener::__private),
        }
    }
}

impl ToTokens for Private {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
