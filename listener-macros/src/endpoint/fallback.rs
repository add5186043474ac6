//! The expansion after an error: the user's block, the errors, and an endpoint without methods, so
//! that code that uses the type as an endpoint has no second error. Nothing is registered.

use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::Endpoint;
use crate::endpoint::{check, expand, original};
use crate::paths::Private;

/// The item, all errors, and a stub of the endpoint where one is possible.
pub(crate) fn endpoint(
    endpoint: Option<&Endpoint>,
    diagnostics: &Diagnostics,
    item: &TokenStream,
) -> TokenStream {
    let duplicate_names = endpoint.map(check::duplicate_names).unwrap_or_default();
    let item = original::with_unique_names(item, &duplicate_names);
    let errors = diagnostics.to_compile_errors();
    let stub = endpoint.filter(|endpoint| check::block_is_plain(endpoint)).map(stub);
    quote!(#item #errors #stub)
}

fn stub(endpoint: &Endpoint) -> TokenStream {
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let items = quote! {
        const DEFINITION: #private::EndpointDefinition = #private::MISTAKEN;
        const METHODS: &'static [#private::Method<Self>] = &[];
    };
    let implementation = expand::implementation(endpoint, &items);
    quote!(#[allow(unused_qualifications)] const _: () = { #import #implementation };)
}
