//! What is emitted when there is a mistake: the user's block, the errors, and an endpoint
//! without methods, so that code that uses the type as one has no second error. Nothing is
//! registered.

use proc_macro2::TokenStream;
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
    let item = original::without_on(item);
    let errors = mistakes.to_compile_errors();
    let stand_in = endpoint.filter(|endpoint| check::block_is_plain(endpoint)).map(stand_in);
    quote!(#item #errors #stand_in)
}

fn stand_in(endpoint: &Endpoint) -> TokenStream {
    let private = Private::new(endpoint.options.crate_path.as_ref());
    let head = expand::head(endpoint, &private);
    quote! {
        #[automatically_derived]
        #head {
            const DEFINITION: #private::Definition = #private::MISTAKEN;
            const METHODS: &'static [#private::Method<Self>] = &[];
        }
    }
}
