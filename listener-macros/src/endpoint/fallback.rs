//! What is emitted when there is a mistake: the user's block, the errors, and an endpoint
//! without methods, so that code that uses the type as one has no second error. Nothing is
//! registered.

use proc_macro2::{Span, TokenStream};
use quote::quote;

use crate::endpoint::ast::Endpoint;
use crate::endpoint::{check, expand, original};
use crate::mistake::Mistakes;
use crate::paths::Private;

/// The item, every mistake, and a stand-in where one is possible.
pub(crate) fn endpoint(
    endpoint: Option<&Endpoint>,
    mistakes: &Mistakes,
    item: &TokenStream,
) -> TokenStream {
    let namesakes = endpoint.map(check::namesakes).unwrap_or_default();
    let item = original::with_single_names(item, &namesakes);
    let errors = mistakes.to_compile_errors();
    let stand_in = endpoint.filter(|endpoint| check::block_is_plain(endpoint)).map(stand_in);
    quote!(#item #errors #stand_in)
}

fn stand_in(endpoint: &Endpoint) -> TokenStream {
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let items = quote! {
        const DEFINITION: #private::Definition = #private::MISTAKEN;
        const METHODS: &'static [#private::Method<Self>] = &[];
    };
    let implementation = expand::implementation(endpoint, &items);
    quote!(#[allow(unused_qualifications)] const _: () = { #import #implementation };)
}
