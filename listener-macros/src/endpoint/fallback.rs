//! The expansion after an error: the user's block, the errors, and an endpoint without methods, so that
//! code that uses the type as an endpoint has no second error. Nothing is registered.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::Endpoint;
use crate::endpoint::parse::Unread;
use crate::endpoint::{check, expand, original};
use crate::paths::Private;

/// The item, all errors, and a stub of the endpoint where one is possible.
pub(crate) fn endpoint(
    endpoint: &Endpoint,
    diagnostics: &Diagnostics,
    item: &TokenStream,
) -> TokenStream {
    let attributes: Vec<String> = check::reported_attributes(endpoint)
        .map(|attribute| attribute.meta.to_token_stream().to_string())
        .collect();
    let item = original::without_reported(item, &check::duplicate_names(endpoint), &attributes);
    let errors = diagnostics.to_compile_errors();
    let stub = stub(endpoint);
    quote!(#item #errors #stub)
}

/// A block that could not be read, unchanged, because rustc reports the error. The diagnostics are those of
/// the attribute's options.
pub(crate) fn broken(
    endpoint: Option<&Endpoint>,
    diagnostics: &Diagnostics,
    item: &TokenStream,
    reason: &Unread,
) -> TokenStream {
    let crate_path = endpoint.and_then(|endpoint| endpoint.options.crate_path.as_ref());
    let on = Ident::new("on", Span::call_site());
    let private = Private::path(crate_path);
    let item = original::unchanged(item, &quote!(#private::#on));
    let errors = diagnostics.to_compile_errors();
    let stub = endpoint.map(stub);
    let unread = unread(reason);
    quote!(#item #errors #stub #unread)
}

/// An item that is not an impl block, and the error.
pub(crate) fn other(diagnostics: &Diagnostics, item: &TokenStream) -> TokenStream {
    let item = original::without_on(item);
    let errors = diagnostics.to_compile_errors();
    quote!(#item #errors)
}

/// An error if rustc accepts the block, so that no endpoint is missing unnoticed: of all errors, only
/// those of late lints are not reported next to another error. (In a dependency, cargo silences lints.) The
/// attribute is on a trait, because rust-analyzer reports an unused value of a type or a function that has
/// it, even next to a syntax error.
fn unread(Unread { what, at }: &Unread) -> TokenStream {
    let (what, at) = (*what, *at);
    let note = format!(
        "`#[notification_endpoint]` cannot read {what} here, so nothing is registered for the block\nhelp: move this member to a separate `impl` block"
    );
    quote_spanned! {at=>
        #[deny(unused_must_use)]
        const _: () = {
            #[must_use = #note]
            trait Endpoint {}
            impl Endpoint for () {}
            fn unread() -> impl Endpoint {}
            const _: fn() = || { unread(); };
        };
    }
}

fn stub(endpoint: &Endpoint) -> Option<TokenStream> {
    if !check::can_implement_endpoint(endpoint) {
        return None;
    }
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let items = quote! {
        const DEFINITION: #private::EndpointDefinition = #private::MISTAKEN;
        const METHODS: &'static [#private::Method<Self>] = &[];
    };
    let implementation = expand::implementation(endpoint, &items);
    Some(quote!(#[allow(unused_qualifications)] const _: () = { #import #implementation };))
}
