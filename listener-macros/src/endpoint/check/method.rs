//! Mistakes of a method: a name or an `#[on(..)]` that names no priority, and a signature
//! that a listener cannot call. Its arguments are in `argument.rs`, its filter in `filter.rs`.

use quote::ToTokens;
use syn::{GenericParam, Receiver, ReceiverKind, ReturnType, Safety, Signature, Type};

use crate::attr::Elsewhere;
use crate::endpoint::ast::{Method, On};
use crate::endpoint::check::{argument, filter};
use crate::endpoint::{elsewhere, generic};
use crate::mistake::Mistakes;
use crate::near::{PRIORITY_WORDS, nearest, nearest_priority};

/// The priorities, in the order of the documentation.
pub(crate) const PRIORITIES: &[&str] =
    &["audit", "debug", "info", "warn", "error", "critical", "sample"];

const HELPERS: &str = "helpers live in a plain `impl` block";

/// Every mistake of a method.
pub(crate) fn check(method: &Method, mistakes: &mut Mistakes) {
    if let Some(attribute) = &method.conditional_on {
        mistakes.on(
            attribute,
            "`#[on(..)]` cannot stand in `cfg_attr`",
            "write two methods, each with its own `#[cfg(..)]` and `#[on(..)]`",
        );
    } else if method.on.is_empty() && !handles_by_name(method, mistakes) {
        // It is a helper: whatever else it looks like is right where it belongs.
        return;
    }
    for on in &method.on {
        list(on, mistakes);
    }
    if let Some(second) = method.on.get(1) {
        mistakes.on(
            &second.attribute,
            "a second `#[on(..)]` on one method",
            "write one list; for another filter, write a second method",
        );
    }
    modifiers(&method.signature, mistakes);
    generics(&method.signature, mistakes);
    if let Some(self_argument) = method.signature.receiver() {
        receiver(self_argument, mistakes);
    }
    for argument in &method.arguments {
        argument::check(argument, mistakes);
    }
    returned(&method.signature, mistakes);
}

/// Whether the method is meant to handle the priority that it is named after, or nearly so.
fn handles_by_name(method: &Method, mistakes: &mut Mistakes) -> bool {
    let name = method.name();
    if PRIORITIES.contains(&name.as_str()) {
        return true;
    }
    let near = nearest_priority(&name, PRIORITIES);
    let fix = match near {
        Some(near) => format!(
            "did you mean `{near}`? rename it to `{near}`, or write `#[on({near})]` above it; {HELPERS}"
        ),
        None => format!(
            "write `#[on(..)]` above it with one or more of {}; {HELPERS}",
            PRIORITIES.join(", ")
        ),
    };
    let found = format_args!("method `{name}` handles no priority");
    mistakes.at(method.signature.ident.span(), found, fix);
    near.is_some()
}

fn list(on: &On, mistakes: &mut Mistakes) {
    if on.priorities.is_empty() {
        mistakes.on(
            &on.attribute,
            "`#[on(..)]` names no priority",
            format_args!(
                "name one or more of {}, as in `#[on(info, warn)]`",
                PRIORITIES.join(", ")
            ),
        );
    }
    for key in &on.priorities {
        let known = PRIORITIES.contains(&key.text.as_str());
        let found = format_args!("unknown priority `{}`", key.text);
        let bare = format_args!("write `{}` without quotes", key.text);
        if let Some(Elsewhere { found, fix }) = elsewhere::in_on(&key.text) {
            mistakes.at(key.span, found, fix);
            continue;
        }
        match nearest(&key.text, PRIORITIES, PRIORITY_WORDS) {
            _ if known && key.quoted => mistakes.at(key.span, "a priority is no string", bare),
            _ if known => {}
            Some(near) => mistakes.at(key.span, found, format_args!("did you mean `{near}`?")),
            None => {
                let fix = format_args!("the priorities are {}", PRIORITIES.join(", "));
                mistakes.at(key.span, found, fix);
            }
        }
    }
    filter::check(&on.filter, mistakes);
}

fn modifiers(signature: &Signature, mistakes: &mut Mistakes) {
    if let Safety::Unsafe(token) = &signature.safety {
        let fix = "make it safe: the listener knows nothing of what its caller must hold";
        mistakes.on(token, "an endpoint method cannot be `unsafe`", fix);
    }
    if let Some(abi) = &signature.abi {
        let fix = "write a plain `fn` or `async fn`";
        mistakes.on(abi, "an endpoint method cannot be `extern`", fix);
    }
    if let Some(variadic) = &signature.variadic {
        let fix = "name each argument";
        mistakes.on(variadic, "an endpoint method cannot be variadic", fix);
    }
}

fn generics(signature: &Signature, mistakes: &mut Mistakes) {
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            mistakes.on(
                parameter,
                "an endpoint method cannot be generic: nothing says what it stands for",
                "write the concrete type in the arguments",
            );
        }
    }
}

fn receiver(receiver: &Receiver, mistakes: &mut Mistakes) {
    let fix = match &receiver.kind {
        ReceiverKind::Reference(_, Some(lifetime), None) if lifetime.ident == "static" => STATIC,
        ReceiverKind::Reference(_, _, None) => return,
        ReceiverKind::Reference(_, _, Some(_)) => {
            "take `&self`: several notifications are handled at a time; keep what changes in a `Mutex` or an atomic"
        }
        ReceiverKind::Typed(_, ty) if is_shared_self(ty) => return,
        ReceiverKind::Typed(..) => {
            "take `&self`; what must be shared further goes into an `Arc` field"
        }
        _ => "take `&self`: the instance stays with the listener",
    };
    mistakes.on(receiver, "an endpoint method takes `&self`, or no `self`", fix);
}

const STATIC: &str = "take `&self`, without `'static`: the instance ends with its listener; what must live longer goes into an `Arc` field";

/// Whether a receiver's type is `&Self`.
fn is_shared_self(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if reference.mutability.is_none()
        && reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident != "static")
        && matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self")))
}

/// Whether a type is a future in a box, by its name.
fn is_boxed_future(ty: &Type) -> bool {
    let named = |name: &str| ["BoxFuture", "LocalBoxFuture"].contains(&name);
    generic::name(ty).as_deref().is_some_and(named)
        || ty.to_token_stream().to_string().contains("dyn Future")
}

fn returned(signature: &Signature, mistakes: &mut Mistakes) {
    let ReturnType::Type(_, ty) = &signature.output else {
        return;
    };
    let forms = "return `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`";
    if matches!(&**ty, Type::Never(_)) {
        mistakes.on(ty, "an endpoint method must come to an end", forms);
    } else if argument::names_impl(ty) {
        let fix = format_args!("write `async fn` instead of returning a future; {forms}");
        mistakes.on(ty, "an endpoint method cannot return `impl Trait`", fix);
    } else if is_boxed_future(ty) {
        let fix = format_args!("write `async fn` instead of returning a future; {forms}");
        mistakes.on(ty, "an endpoint method cannot return a future: nobody waits for it", fix);
    }
}
