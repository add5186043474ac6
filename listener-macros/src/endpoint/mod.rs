//! The pipeline of `#[notification_endpoint]`: tokens -> `parse` -> `check` -> `expand`, or
//! `fallback` after an error. Called by the entry point in `lib.rs`.

mod ast;
mod check;
mod conditions;
mod misplaced;
mod expand;
mod fallback;
mod type_path;
mod lifetimes;
mod original;
mod static_types;
mod parse;

use proc_macro2::TokenStream;

use crate::endpoint::ast::Endpoint;
use crate::endpoint::parse::Item;

/// Expands the attribute with `options` on `item`.
pub(crate) fn notification_endpoint(options: TokenStream, item: &TokenStream) -> Expansion {
    let (parsed, mut diagnostics) = parse::item(options, item);
    let endpoint = match parsed {
        Item::Block(endpoint) => endpoint,
        Item::Broken(endpoint, at) => {
            let tokens = fallback::broken(endpoint.as_ref(), &diagnostics, item, at);
            return Expansion { name: endpoint.as_ref().map(name), tokens };
        }
        Item::Other => {
            return Expansion { name: None, tokens: fallback::other(&diagnostics, item) };
        }
    };
    diagnostics.append(check::endpoint(&endpoint));
    // rustc reports a lifetime that is not declared; without it, our checks of types would be wrong.
    let tokens = if diagnostics.is_empty() && !check::has_undeclared_lifetime(&endpoint) {
        block(&endpoint, item)
    } else {
        fallback::endpoint(&endpoint, &diagnostics, item)
    };
    Expansion { name: Some(name(&endpoint)), tokens }
}

fn name(endpoint: &Endpoint) -> String {
    expand::name(&endpoint.self_type)
}

/// A block without errors, and what is generated for it.
fn block(endpoint: &Endpoint, item: &TokenStream) -> TokenStream {
    let item = original::without_on(item);
    let generated = expand::endpoint(endpoint);
    let warnings = check::warnings(endpoint);
    // The listener prescribes the signatures of methods, so these lints do not apply.
    quote::quote! {
        #[allow(
            clippy::needless_pass_by_value,
            clippy::too_many_arguments,
            clippy::trivially_copy_pass_by_ref,
            clippy::unnecessary_wraps,
            clippy::unused_async,
            clippy::unused_self
        )]
        #item
        #generated
        #warnings
    }
}

/// The emitted tokens, and the name of the endpoint's type if the item is an impl block.
pub(crate) struct Expansion {
    pub(crate) name: Option<String>,
    pub(crate) tokens: TokenStream,
}
