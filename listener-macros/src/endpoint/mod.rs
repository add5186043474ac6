//! The pipeline of `#[notification_endpoint]`: tokens -> `parse` -> `check` -> `expand`, or
//! `fallback` when there is a mistake. Called by the entry point in `lib.rs`.

mod ast;
mod check;
mod expand;
mod fallback;
mod generic;
mod lifetimes;
mod original;
mod parse;

use proc_macro2::TokenStream;

/// What the attribute with `options` makes of `item`.
pub(crate) fn notification_endpoint(options: TokenStream, item: &TokenStream) -> Expansion {
    let (endpoint, mut mistakes) = parse::endpoint(options, item);
    if let Some(endpoint) = &endpoint {
        mistakes.append(check::endpoint(endpoint));
    }
    let tokens = match &endpoint {
        Some(endpoint) if mistakes.is_empty() => {
            let beside = expand::endpoint(endpoint);
            let item = original::without_on(item);
            quote::quote!(#item #beside)
        }
        _ => fallback::endpoint(endpoint.as_ref(), &mistakes, item),
    };
    Expansion { name: endpoint.map(|endpoint| expand::name(&endpoint.self_type)), tokens }
}

/// What is emitted, and the type's name when there is one.
pub(crate) struct Expansion {
    pub(crate) name: Option<String>,
    pub(crate) tokens: TokenStream,
}
