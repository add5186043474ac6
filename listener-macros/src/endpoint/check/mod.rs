//! `&ast` -> all semantic errors at once. What passes these checks can be expanded. `parse.rs`
//! reported syntax errors; the compiler checks the traits of types in the tokens of `expand.rs`.

mod argument;
mod batch;
mod duplicate;
mod filter;
mod method;
mod options;
mod policy;
mod regex;
mod unmatchable;

use proc_macro2::TokenStream;
use syn::{ReturnType, Type};

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Endpoint, Method, type_text};
use crate::endpoint::lifetimes;

pub(crate) use self::duplicate::duplicate_names;
pub(crate) use self::method::reported_attributes;

/// All errors in the block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    options::check(&endpoint.options, &mut diagnostics);
    unmatchable::check(&endpoint.options.filter, &mut diagnostics);
    instances(endpoint, &mut diagnostics);
    block(endpoint, &mut diagnostics);
    // The methods of a trait have the names that it prescribes.
    let methods = endpoint.methods.iter().filter(|_| endpoint.trait_path.is_none());
    for method in methods {
        method::check(method, &endpoint.self_type, &mut diagnostics);
        for on in &method.on {
            unmatchable::check_method(&endpoint.options.filter, &on.filter, &mut diagnostics);
        }
    }
    batch::check_block(endpoint, &mut diagnostics);
    duplicate::check(endpoint, &mut diagnostics);
    for path in &endpoint.macros {
        diagnostics.on(
            path,
            "macro invocations are not supported in an endpoint block",
            "move it to a separate `impl` block, and write the methods that handle notifications here",
        );
    }
    diagnostics
}

/// The warnings for a block without errors.
pub(crate) fn warnings(endpoint: &Endpoint) -> TokenStream {
    duplicate::warnings(endpoint)
}

/// A method with a type that rustc reports: with a lifetime that nothing declares, with `_`, without a size, or
/// of a receiver that is not the endpoint.
pub(crate) fn reported_by_rustc(endpoint: &Endpoint) -> Option<&Method> {
    // A method that may not be compiled is not reported by rustc.
    let mut compiled = endpoint.methods.iter().filter(|method| method.cfg.is_empty());
    compiled.find(|method| {
        let returned = match &method.signature.output {
            ReturnType::Type(_, ty) => Some(&**ty),
            ReturnType::Default => None,
        };
        let receiver = method.signature.receiver();
        let arguments = || method.arguments.iter().map(|argument| &argument.ty);
        receiver.is_some_and(|one| method::is_foreign_receiver(one, &endpoint.self_type))
            || arguments().any(argument::is_unsized)
            || arguments().chain(returned).any(|ty| {
                lifetimes::undeclared(ty, &method.signature).is_some()
                    || argument::has_placeholder(ty)
            })
    })
}

/// Whether `Endpoint` can be implemented for the type of this block.
pub(crate) fn can_implement_endpoint(endpoint: &Endpoint) -> bool {
    let mut diagnostics = Diagnostics::default();
    head(endpoint, &mut diagnostics);
    diagnostics.is_empty()
}

fn block(endpoint: &Endpoint, diagnostics: &mut Diagnostics) {
    head(endpoint, diagnostics);
    if endpoint.methods.is_empty() && endpoint.macros.is_empty() && endpoint.trait_path.is_none() {
        diagnostics.on(
            &endpoint.self_type,
            "this endpoint has no methods",
            "add a method named after a priority (`async fn info(&self, ..)`), or one with `#[on(info)]`",
        );
    }
}

fn head(endpoint: &Endpoint, diagnostics: &mut Diagnostics) {
    if let Some(path) = &endpoint.trait_path {
        diagnostics.on(
            path,
            "`#[notification_endpoint]` expects an inherent `impl` block, found a trait implementation",
            "apply it to an inherent block: `impl Billing { .. }`",
        );
    }
    self_type(&endpoint.self_type, diagnostics);
}

/// A generic block is registered for the types that `instances` lists, others for their one type.
fn instances(endpoint: &Endpoint, diagnostics: &mut Diagnostics) {
    let generics = &endpoint.generics;
    let is_generic =
        generics.type_params().next().is_some() || generics.const_params().next().is_some();
    let registered = endpoint.options.register_false().is_none();
    if let Some(name) = &endpoint.options.name
        && is_generic
    {
        let help = "omit it: each type in `instances(..)` has a name of its own; or write a block for each type";
        diagnostics.at(name.span(), "`name` cannot be used on a generic endpoint", help);
    }
    match &endpoint.options.instances {
        None if is_generic && registered && endpoint.options.is_complete => diagnostics.on(
            &generics.params,
            "a generic endpoint requires `instances(..)`",
            "list the types: `instances(Billing<Postgres>, Billing<Sqlite>)`, or write `register = false` and pass instances to the builder",
        ),
        Some(instances) if !is_generic => diagnostics.at(
            instances.key.span,
            "`instances` has no effect on an endpoint that is not generic",
            "omit it: the type of the block is registered",
        ),
        Some(instances) if instances.is_empty() => diagnostics.at(
            instances.key.span,
            "`instances` is empty",
            "list the types: `instances(Billing<Postgres>, Billing<Sqlite>)`",
        ),
        Some(instances) => {
            let mut seen: Vec<String> = Vec::new();
            for ty in &instances.items {
                let text = type_text(ty);
                if seen.contains(&text) {
                    let message = format_args!("duplicate type `{text}`");
                    diagnostics.on(ty, message, "remove one of the two");
                }
                seen.push(text);
            }
        }
        None => {}
    }
    if let Some(lifetime) = generics.lifetimes().next() {
        diagnostics.on(lifetime, BORROWS, "use owned values, or an `Arc`");
    }
}

const BORROWS: &str = "an endpoint cannot borrow: it lives as long as the listener";

fn self_type(ty: &Type, diagnostics: &mut Diagnostics) {
    if !matches!(ty, Type::Path(path) if path.qself.is_none()) {
        let help = "write the block for a struct or an enum of your crate";
        diagnostics.on(ty, "this type cannot be an endpoint", help);
        return;
    }
    if argument::names_lifetime(ty) {
        diagnostics.on(ty, BORROWS, "use owned values, or an `Arc`");
    }
}
