//! The pipeline of `#[notification_endpoint]`: tokens -> `parse` -> `check` -> `expand`, or
//! `fallback` after an error. Called by the entry point in `lib.rs`.

mod ast;
mod check;
mod misplaced;
mod expand;
mod fallback;
mod type_path;
mod lifetimes;
mod original;
mod parse;

use proc_macro2::TokenStream;

/// Expands the attribute with `options` on `item`.
pub(crate) fn notification_endpoint(options: TokenStream, item: &TokenStream) -> Expansion {
    let (endpoint, mut diagnostics) = parse::endpoint(options, item);
    if let Some(endpoint) = &endpoint {
        diagnostics.append(check::endpoint(endpoint));
    }
    let tokens = match &endpoint {
        Some(endpoint) if diagnostics.is_empty() => {
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
        _ => fallback::endpoint(endpoint.as_ref(), &diagnostics, item),
    };
    Expansion { name: endpoint.map(|endpoint| expand::name(&endpoint.self_type)), tokens }
}

/// The emitted tokens, and the name of the endpoint's type if the item is an impl block.
pub(crate) struct Expansion {
    pub(crate) name: Option<String>,
    pub(crate) tokens: TokenStream,
}
