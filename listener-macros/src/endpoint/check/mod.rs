//! `&ast` -> all mistakes of meaning at once, each with its place and a fix. What passes
//! here can be expanded. The shape was read by `parse.rs`; what only the compiler can know,
//! the traits of a type, is checked by the tokens of `expand.rs`.

mod argument;
mod filter;
mod method;
mod never;
mod options;
mod overlap;
mod policy;
mod regular;

use proc_macro2::TokenStream;
use syn::Type;

use crate::endpoint::ast::{Endpoint, written};
use crate::mistake::Mistakes;

pub(crate) use self::method::PRIORITIES;
pub(crate) use self::overlap::namesakes;

/// Every mistake of the block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> Mistakes {
    let mut mistakes = Mistakes::default();
    options::check(&endpoint.options, &mut mistakes);
    never::check(&endpoint.options.filter, &mut mistakes);
    instances(endpoint, &mut mistakes);
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
    self_type(&endpoint.self_type, mistakes);
}

/// A generic block stands for the types that `instances` lists; others have one type.
fn instances(endpoint: &Endpoint, mistakes: &mut Mistakes) {
    let generics = &endpoint.generics;
    let is_generic =
        generics.type_params().next().is_some() || generics.const_params().next().is_some();
    let registered = endpoint.options.unregistered().is_none();
    if let Some(name) = &endpoint.options.name
        && is_generic
    {
        let fix = "leave `name` out: it goes by its types, which have names of their own; or write a block for each type";
        mistakes.at(name.span(), "a generic endpoint cannot have one name for all its types", fix);
    }
    match &endpoint.options.instances {
        None if is_generic && registered => mistakes.on(
            &generics.params,
            "a generic endpoint is registered for no type",
            "list the types: `instances(Billing<Postgres>, Billing<Sqlite>)`, or write `register = false` and hand instances to the builder",
        ),
        Some((key, _)) if !is_generic => mistakes.at(
            key.span,
            "`instances` on an endpoint that is not generic",
            "leave it out: there is one type, and it is registered",
        ),
        Some((key, types)) if types.is_empty() => mistakes.at(
            key.span,
            "`instances` lists no type",
            "list the types: `instances(Billing<Postgres>, Billing<Sqlite>)`",
        ),
        Some((_, types)) => {
            let mut seen: Vec<String> = Vec::new();
            for ty in types {
                let written = written(ty);
                if seen.contains(&written) {
                    let found = format_args!("`{written}` is listed twice");
                    mistakes.on(ty, found, "keep one of the two");
                }
                seen.push(written);
            }
        }
        None => {}
    }
    if let Some(lifetime) = generics.lifetimes().next() {
        mistakes.on(
            lifetime,
            "an endpoint cannot borrow: it lives as long as the listener",
            "give it values that it owns, or an `Arc`",
        );
    }
}

fn self_type(ty: &Type, mistakes: &mut Mistakes) {
    if !matches!(ty, Type::Path(path) if path.qself.is_none()) {
        let fix = "write the block for a struct or an enum of yours";
        mistakes.on(ty, "this type cannot be an endpoint", fix);
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
