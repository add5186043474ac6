//! Methods that take a batch: the forms of the argument `batch`, and the call in generated code. `call.rs` has
//! that of a method for single notifications.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{GenericArgument, PathArguments, ReturnType, Type};

use crate::endpoint::ast::{Argument, BatchRule, Endpoint, Method, Source};
use crate::endpoint::call::{self, binding, local};
use crate::endpoint::expand::{duration, option};
use crate::endpoint::lifetimes;
use crate::paths::Private;

/// How a method takes its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `Batch<'_, T>`.
    Batch,
    /// `Vec<BatchItem<'_, T>>`.
    Items,
    /// `&[T]`.
    Payloads,
}

/// The form of the argument `batch`, and the type of a payload.
pub(crate) fn form(ty: &Type) -> Option<(Form, &Type)> {
    if let Type::Reference(reference) = ty {
        let Type::Slice(slice) = &*reference.elem else { return None };
        return reference.mutability.is_none().then_some((Form::Payloads, &slice.elem));
    }
    if let Some(payload) = only_type(ty, "Batch") {
        return Some((Form::Batch, payload));
    }
    let item = only_type(ty, "Vec")?;
    only_type(item, "BatchItem").map(|payload| (Form::Items, payload))
}

/// The `T` of `Name<'_, T>` or `Name<T>`.
fn only_type<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    let first = types.next()?;
    types.next().is_none().then_some(first)
}

/// The call of a method that takes a batch. `checks` are those of its types.
pub(crate) fn call(
    endpoint: &Endpoint,
    method: &Method,
    batch: &Argument,
    checks: &TokenStream,
    private: &Private,
) -> TokenStream {
    let signature = &method.signature;
    let (this, notifications) = (local("this"), local("notifications"));
    let (read, unread) = (local("__batch"), local("__unread"));
    let (form, payload) = form(&batch.ty).unwrap_or((Form::Batch, &batch.ty));
    let reading = call::read_batch(payload, &notifications);
    let extracted = method.arguments.iter().enumerate().map(|(index, argument)| {
        let (cfg, binding) = (&argument.cfg, binding(index));
        let value = match argument.source() {
            Source::Batch => taken(form, &read),
            _ => extraction(argument, &notifications, &unread, private),
        };
        quote!(#(#cfg)* let #binding = #value;)
    });
    let bindings = method.arguments.iter().enumerate().map(|(index, argument)| {
        let (cfg, binding) = (&argument.cfg, binding(index));
        let is_slice = argument.source() == Source::Batch && form == Form::Payloads;
        let reference = is_slice.then(|| quote!(&));
        quote!(#(#cfg)* #reference #binding)
    });
    let checks = (!checks.is_empty()).then(|| quote!(if false { #checks }));
    let receiver = signature.receiver().map(|_| quote!(#this,));
    let function = &signature.ident;
    let wait = signature.asyncness.map(|_| quote_spanned!(function.span()=> .await));
    let into_outcome = match &signature.output {
        ReturnType::Default => quote!(<() as #private::IntoBatchOutcome>::into_batch_outcome),
        ReturnType::Type(_, ty) => {
            call::qualified(ty, &quote!(), "IntoBatchOutcome", "into_batch_outcome")
        }
    };
    let body = quote! {
        let (#read, #unread) = #reading;
        if #unread.is_all() {
            return #unread.alone();
        }
        #(#extracted)*
        #unread.and(#into_outcome(Self::#function(#receiver #(#bindings),*)#wait))
    };
    let this = receiver.as_ref().map_or(quote!(_), |_| quote!(#this));
    let rule = rule(method.batch_rule().or(endpoint.options.batch.as_ref()), private);
    if signature.asyncness.is_none() {
        return quote!(#private::Call::BlockingBatch(#rule, |#notifications, #this| { #checks #body }));
    }
    let boxing = Private::at(function.span());
    let boxed = quote_spanned! { function.span()=>
        #boxing::boxed_batch(async move { #body })
    };
    quote!(#private::Call::AsyncBatch(#rule, |#notifications, #this| { #checks #boxed }))
}

/// The batch in the form that the method takes.
fn taken(form: Form, read: &Ident) -> TokenStream {
    match form {
        Form::Batch => quote!(#read),
        Form::Items => quote!(#read.into_items()),
        Form::Payloads => quote!(#read.into_payloads()),
    }
}

/// An expression that evaluates to an argument next to the batch, or returns its failure from the call.
fn extraction(
    argument: &Argument,
    notifications: &Ident,
    unread: &Ident,
    private: &Private,
) -> TokenStream {
    let shown = call::display_name(argument);
    let take = call::qualified(&argument.ty, &quote!(<'_>), "FromBatch", "from_batch");
    let last = lifetimes::ends(&argument.ty).1;
    let value = call::parenthesized(quote!(&#notifications[0]), last);
    quote! {
        match #private::by_name(#shown, #take #value) {
            #private::Ok(__value) => __value,
            #private::Err(__failure) => return #unread.and_failure(__failure),
        }
    }
}

fn rule(rule: Option<&BatchRule>, private: &Private) -> TokenStream {
    let Some(BatchRule { size, timeout, bytes, .. }) = rule else {
        return quote!(#private::BatchRule::DEFAULT);
    };
    let (size, bytes) = (option(size.as_ref(), private), option(bytes.as_ref(), private));
    let timeout = duration(timeout.as_ref(), private);
    quote!(#private::BatchRule { size: #size, timeout: #timeout, bytes: #bytes })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;
    use crate::endpoint::ast::type_text;

    #[track_caller]
    fn check(ty: &Type, expected: Option<(Form, &str)>) {
        let found = form(ty).map(|(form, payload)| (form, type_text(payload)));
        assert_eq!(found, expected.map(|(form, payload)| (form, payload.to_owned())));
    }

    #[test]
    fn the_form_of_a_batch_is_recognised_by_its_type() {
        check(&parse_quote!(Batch<'_, Sample>), Some((Form::Batch, "Sample")));
        check(&parse_quote!(listener::Batch<Fault<'_>>), Some((Form::Batch, "Fault<'_>")));
        check(&parse_quote!(Vec<BatchItem<'_, u8>>), Some((Form::Items, "u8")));
        check(&parse_quote!(&[Sample]), Some((Form::Payloads, "Sample")));
        check(&parse_quote!(&mut [Sample]), None);
        check(&parse_quote!(Vec<Sample>), None);
        check(&parse_quote!(Batch), None);
        check(&parse_quote!(Batch<'_, A, B>), None);
    }
}
