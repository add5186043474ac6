//! Checks a method that takes a batch, and `batch(..)`: the form of the argument, the other arguments, and
//! options without effect.

use syn::Type;

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Argument, Endpoint, Method, Source, type_text};
use crate::endpoint::batch;

const FORMS: &str = "take `batch: Batch<'_, T>`, `batch: &[T]` or `batch: Vec<BatchItem<'_, T>>`, where `T` is the type of the payload";

/// All errors that concern the batch of a method.
pub(crate) fn check(method: &Method, diagnostics: &mut Diagnostics) {
    let Some(argument) = method.batch() else {
        if let Some(rule) = method.batch_rule() {
            let name = method.name();
            let message = format_args!("`batch(..)` has no effect: `{name}` does not take a batch");
            let help = "add the argument `batch: Batch<'_, T>`, where `T` is the type of the payload, or remove `batch(..)`";
            diagnostics.at(rule.key.span, message, help);
        }
        return;
    };
    let is_mutable = matches!(&argument.ty, Type::Reference(ty) if ty.mutability.is_some());
    // A mutable reference is reported for every argument.
    if batch::form(&argument.ty).is_none() && !is_mutable {
        let message = format_args!("`batch` cannot be a `{}`", type_text(&argument.ty));
        diagnostics.on(&argument.ty, message, FORMS);
    } else if let Some(cfg) = argument.cfg.first() {
        let help = "write two methods, each with its own `#[cfg(..)]`";
        diagnostics.on(cfg, "the argument `batch` cannot be conditional", help);
    }
    for other in &method.arguments {
        if let Some(name) = &other.name
            && let Some(instead) = of_item(other)
        {
            let message =
                format_args!("`{name}` is not an argument of a method that takes a batch");
            diagnostics.on(name, message, format_args!("take it from each item: `{instead}`"));
        }
    }
}

/// The error in `batch(..)` of a block in which no method takes a batch.
pub(crate) fn check_block(endpoint: &Endpoint, diagnostics: &mut Diagnostics) {
    if let Some(rule) = &endpoint.options.batch
        && !endpoint.methods.is_empty()
        && endpoint.methods.iter().all(|method| method.batch().is_none())
    {
        diagnostics.at(
            rule.key.span,
            "`batch(..)` has no effect: no method takes a batch",
            "add the argument `batch: Batch<'_, T>` to a method, or remove `batch(..)`",
        );
    }
}

/// How an item has what a method for single notifications takes as this argument.
fn of_item(argument: &Argument) -> Option<&'static str> {
    match argument.source() {
        Source::Context => Some("item.ctxt()"),
        Source::PublisherId => Some("item.publisher_id()"),
        Source::EventType => Some("item.event_type()"),
        Source::Payload => Some("item.payload"),
        Source::Metadata => Some("item.metadata()"),
        Source::Batch | Source::ByType => None,
    }
}
