//! The pipeline of `#[notification_endpoint]`: tokens -> `parse` -> `check` -> `expand`, or
//! `fallback` when there is a mistake. Called by the entry point in `lib.rs`.

mod ast;
mod check;
mod elsewhere;
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
            let item = original::without_on(item);
            let beside = expand::endpoint(endpoint);
            let warnings = check::warnings(endpoint);
            // The listener says what a method takes and how, so clippy cannot ask for another
            // signature.
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
                #beside
                #warnings
            }
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
