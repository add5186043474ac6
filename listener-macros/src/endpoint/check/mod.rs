//! `&ast` -> all mistakes of meaning at once, each with its place and its mend. What passes
//! here can be expanded. The shape was read by `parse.rs`; what only the compiler can know,
//! the traits of a type, is checked by the tokens of `expand.rs`.

mod argument;
mod filter;
mod method;
mod never;
mod options;
mod overlap;
mod regular;

use proc_macro2::TokenStream;
use syn::Type;

use crate::endpoint::ast::Endpoint;
use crate::mistake::Mistakes;

pub(crate) use self::method::PRIORITIES;
pub(crate) use self::overlap::namesakes;

/// Every mistake of the block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> Mistakes {
    let mut mistakes = Mistakes::default();
    options::check(&endpoint.options, &mut mistakes);
    never::check(&endpoint.options.filter, &mut mistakes);
    block(endpoint, &mut mistakes);
    for method in &endpoint.methods {
        method::check(method, &mut mistakes);
        for on in &method.on {
            never::check_method(&endpoint.options.filter, &on.filter, &mut mistakes);
        }
    }
    overlap::check(endpoint, &mut mistakes);
    for path in &endpoint.macros {
        mistakes.on(
            path,
            "a macro among the methods cannot be looked into",
            "move it to a plain `impl` block, and write the methods that handle notifications out here",
        );
    }
    mistakes
}

/// What may be meant and may not, of a block without mistakes.
pub(crate) fn warnings(endpoint: &Endpoint) -> TokenStream {
    overlap::warnings(endpoint)
}

/// Whether an `Endpoint` can be implemented for the type of this block at all.
pub(crate) fn block_is_plain(endpoint: &Endpoint) -> bool {
    let mut mistakes = Mistakes::default();
    head(endpoint, &mut mistakes);
    mistakes.is_empty()
}

fn block(endpoint: &Endpoint, mistakes: &mut Mistakes) {
    head(endpoint, mistakes);
    if endpoint.methods.is_empty() && endpoint.macros.is_empty() && endpoint.of_trait.is_none() {
        mistakes.on(
            &endpoint.self_type,
            "no method handles a notification",
            "write a method named after a priority (`async fn info(&self, ..)`), or one with `#[on(info)]`",
        );
    }
}

fn head(endpoint: &Endpoint, mistakes: &mut Mistakes) {
    if let Some(path) = &endpoint.of_trait {
        mistakes.on(
            path,
            "`#[notification_endpoint]` stands on the impl block of a trait",
            "move it to an inherent impl block: `impl Billing { .. }`",
        );
    }
    let generics = &endpoint.generics;
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        let mend = "write the block for one concrete type, as in `impl Billing<Postgres> { .. }`";
        let found = "an endpoint cannot be generic yet";
        match &generics.where_clause {
            Some(clause) if generics.params.is_empty() => mistakes.on(clause, found, mend),
            _ => mistakes.on(&generics.params, found, mend),
        }
    }
    self_type(&endpoint.self_type, mistakes);
}

fn self_type(ty: &Type, mistakes: &mut Mistakes) {
    if !matches!(ty, Type::Path(path) if path.qself.is_none()) {
        let mend = "write the block for a struct or an enum of yours";
        mistakes.on(ty, "this type cannot be an endpoint", mend);
        return;
    }
    if argument::names_lifetime(ty) {
        mistakes.on(
            ty,
            "an endpoint cannot borrow: it lives as long as the listener",
            "give it values that it owns, or an `Arc`",
        );
    }
}
