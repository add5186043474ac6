//! Checks a method: its name or `#[on(..)]` must name priorities, and a listener must be able to call
//! its signature. `argument.rs` checks its arguments, `filter.rs` its filter.

use quote::ToTokens;
use syn::{Attribute, GenericParam, Receiver, ReceiverKind, ReturnType, Safety, Signature, Type};

use crate::attr::Key;
use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Endpoint, Method, On, PRIORITIES};
use crate::endpoint::check::{argument, batch, filter};
use crate::endpoint::{misplaced, original, tokens, type_path};
use crate::similar::{PRIORITY_SYNONYMS, similar, similar_priority};

const HELPERS: &str = "helper methods belong in a separate `impl` block";

/// All errors in a method of an endpoint of type `self_type`.
pub(crate) fn check(method: &Method, self_type: &Type, diagnostics: &mut Diagnostics) {
    if let Some(attribute) = &method.conditional_on {
        diagnostics.on(
            attribute,
            "`#[on(..)]` is not supported in `cfg_attr`",
            "write two methods, each with its own `#[cfg(..)]` and `#[on(..)]`",
        );
    } else if let Some(attribute) = misnamed_attribute(method) {
        let tokens = attribute.meta.to_token_stream();
        let meant = original::meant_as(&tokens).unwrap_or_default();
        let name = attribute.path().to_token_stream().to_string().replace(' ', "");
        let message = match PRIORITIES.contains(&name.as_str()) {
            true => format!("`{name}` is a priority, not an attribute"),
            false => format!("`{name}` is not an attribute of a method"),
        };
        diagnostics.on(attribute, message, format_args!("write `{meant}`"));
    } else if method.on.is_empty() && !handles_by_name(method, diagnostics) {
        // A helper method: other errors in it would be noise.
        return;
    }
    for on in &method.on {
        list(on, diagnostics);
    }
    if let Some(second) = method.on.get(1) {
        diagnostics.on(
            &second.attribute,
            "duplicate `#[on(..)]`",
            "merge the two lists; for a second filter, write a second method",
        );
    }
    qualifiers(&method.signature, diagnostics);
    generics(&method.signature, diagnostics);
    if let Some(self_argument) = method.signature.receiver()
        && !is_foreign_receiver(self_argument, self_type)
    {
        receiver(self_argument, diagnostics);
    }
    for argument in &method.arguments {
        argument::check(argument, self_type, diagnostics);
    }
    argument::check_all(&method.arguments, diagnostics);
    batch::check(method, diagnostics);
    returned(method, diagnostics);
}

/// The attributes that are reported here, and must not be reported again by rustc.
pub(crate) fn reported_attributes(endpoint: &Endpoint) -> impl Iterator<Item = &Attribute> {
    endpoint.methods.iter().filter_map(misnamed_attribute)
}

/// An attribute such as `#[info]` above a method that would otherwise not handle a priority. Above another
/// method it may be a macro of the program.
fn misnamed_attribute(method: &Method) -> Option<&Attribute> {
    let handles = !method.on.is_empty() || PRIORITIES.contains(&method.name().as_str());
    method.misnamed_attribute.as_ref().filter(|_| !handles)
}

/// Whether the method is named after a priority, or similarly.
fn handles_by_name(method: &Method, diagnostics: &mut Diagnostics) -> bool {
    let name = method.name();
    if PRIORITIES.contains(&name.as_str()) {
        return true;
    }
    let similar = similar_priority(&name, PRIORITIES);
    let help = match similar {
        Some(similar) => format!(
            "did you mean `{similar}`? rename it to `{similar}`, or write `#[on({similar})]` above it; {HELPERS}"
        ),
        None => format!(
            "write `#[on(..)]` above it with one or more of {}; {HELPERS}",
            PRIORITIES.join(", ")
        ),
    };
    let message = format_args!("method `{name}` is not named after a priority");
    diagnostics.at(method.signature.ident.span(), message, help);
    similar.is_some()
}

fn list(on: &On, diagnostics: &mut Diagnostics) {
    if original::is_qualified_on(&on.attribute.meta.to_token_stream()) {
        let path = on.attribute.path();
        let help = "write `#[on(..)]`: the attribute of the block reads it, so it is not imported";
        diagnostics.on(path, "`on` is written without a path", help);
    }
    if on.priorities.is_empty() && on.is_complete {
        diagnostics.on(
            &on.attribute,
            "missing priority in `#[on(..)]`",
            format_args!(
                "list one or more of {}, as in `#[on(info, warn)]`",
                PRIORITIES.join(", ")
            ),
        );
    }
    for key in &on.priorities {
        priority(key, diagnostics);
    }
    filter::check(&on.filter, diagnostics);
}

fn priority(key: &Key, diagnostics: &mut Diagnostics) {
    let Key { text, span, quoted } = key;
    if let Some(diagnostic) = misplaced::in_on(text) {
        diagnostics.add(diagnostic.at(*span));
    } else if PRIORITIES.contains(&text.as_str()) {
        if *quoted {
            let help = format_args!("write `{text}` without quotes");
            diagnostics.at(*span, "expected a priority, found a string literal", help);
        }
    } else {
        let help = match similar(text, PRIORITIES, PRIORITY_SYNONYMS) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => format!("the priorities are {}", PRIORITIES.join(", ")),
        };
        diagnostics.at(*span, format_args!("unknown priority `{text}`"), help);
    }
}

fn qualifiers(signature: &Signature, diagnostics: &mut Diagnostics) {
    if let Safety::Unsafe(token) = &signature.safety {
        let help = "make it safe: the listener cannot uphold the requirements of an unsafe method";
        diagnostics.on(token, "an endpoint method cannot be `unsafe`", help);
    }
    if let Some(abi) = &signature.abi {
        let help = "write a plain `fn` or `async fn`";
        diagnostics.on(abi, "an endpoint method cannot be `extern`", help);
    }
}

fn generics(signature: &Signature, diagnostics: &mut Diagnostics) {
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            diagnostics.on(
                parameter,
                "an endpoint method cannot have type or const parameters",
                "use concrete types",
            );
        }
    }
}

/// Whether a receiver has a type that is not the endpoint's in any form, which rustc reports.
pub(crate) fn is_foreign_receiver(receiver: &Receiver, self_type: &Type) -> bool {
    let ReceiverKind::Typed(_, ty) = &receiver.kind else { return false };
    let is_self =
        |name: &str| name == "Self" || type_path::last_name(self_type).as_deref() == Some(name);
    !tokens::flat(ty.to_token_stream()).iter().any(|token| is_self(&token.to_string()))
}

fn receiver(receiver: &Receiver, diagnostics: &mut Diagnostics) {
    let help = match &receiver.kind {
        ReceiverKind::Reference(_, Some(lifetime), None) if lifetime.ident == "static" => STATIC,
        ReceiverKind::Reference(_, _, None) => return,
        ReceiverKind::Reference(_, _, Some(_)) => {
            "take `&self`: methods are called concurrently; keep mutable state in a `Mutex` or an atomic"
        }
        ReceiverKind::Typed(_, ty) if is_shared_self(ty) => return,
        ReceiverKind::Typed(..) => "take `&self`, and put what must be shared into an `Arc` field",
        _ => "take `&self`: the listener keeps the instance",
    };
    diagnostics.on(receiver, "an endpoint method must take `&self` or no receiver", help);
}

const STATIC: &str = "take `&self` without `'static`: the instance is dropped with its listener; put what must live longer into an `Arc` field";

/// Whether a receiver's type is `&Self`.
fn is_shared_self(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_none()
        && reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident != "static")
        && matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self")))
}

/// Whether a type is a boxed future, by its name.
fn is_boxed_future(ty: &Type) -> bool {
    let named = |name: &str| ["BoxFuture", "LocalBoxFuture"].contains(&name);
    type_path::last_name(ty).as_deref().is_some_and(named)
        || ty.to_token_stream().to_string().contains("dyn Future")
}

fn returned(method: &Method, diagnostics: &mut Diagnostics) {
    let ReturnType::Type(_, ty) = &method.signature.output else {
        return;
    };
    let forms = match method.batch() {
        None => "return `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`",
        Some(_) => "return `()`, `Outcome`, `BatchOutcome`, or a `Result` of one of these",
    };
    if matches!(&**ty, Type::Never(_)) {
        diagnostics.on(ty, "an endpoint method must return", forms);
    } else if argument::names_impl(ty) {
        let help = format_args!("write an `async fn` instead of returning a future; {forms}");
        diagnostics.on(ty, "an endpoint method cannot return `impl Trait`", help);
    } else if is_boxed_future(ty) {
        let help = format_args!("write an `async fn` instead of returning a future; {forms}");
        diagnostics.on(ty, "an endpoint method cannot return a boxed future", help);
    }
}
