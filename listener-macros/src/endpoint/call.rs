//! How a method is called: an expression for each argument, in an expression that is at its type, and the
//! conversion of the returned value. Called by `expand.rs` for each method.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{ReturnType, Type};

use crate::endpoint::ast::{Argument, Method, NAMED, Source, type_text};
use crate::endpoint::{batch, known_types, lifetimes, type_path};
use crate::paths::Private;

/// What the arguments of a method need of the listener.
pub(crate) fn requires(method: &Method, private: &Private) -> TokenStream {
    let is_by_type = |argument: &&Argument| argument.source() == Source::ByType;
    let takes_batch = method.batch().is_some();
    let mut types = method.arguments.iter().filter(is_by_type).peekable();
    if types.peek().is_none() {
        return quote!(#private::requires_nothing);
    }
    let needs = local("__needs");
    let types = types.map(|argument| {
        let cfg = &argument.cfg;
        let (part, function) = match takes_batch {
            true => ("FromBatch", "batch_requires"),
            false => (by_type(argument), "requires"),
        };
        let requires = qualified(&argument.ty, &quote!(<'_>), part, function);
        quote!(#(#cfg)* #requires(#needs);)
    });
    quote!(|#needs| { #(#types)* })
}

/// The call of a method. `checks` are those of its types.
pub(crate) fn call(method: &Method, checks: &TokenStream, private: &Private) -> TokenStream {
    let signature = &method.signature;
    let (this, notification) = (local("this"), local("notification"));
    let extracted = method.arguments.iter().enumerate().map(|(index, argument)| {
        let cfg = &argument.cfg;
        let binding = binding(index);
        let value = extraction(argument, &notification, private);
        quote!(#(#cfg)* let #binding = #value;)
    });
    let bindings = method.arguments.iter().enumerate().map(|(index, argument)| {
        let cfg = &argument.cfg;
        let binding = binding(index);
        quote!(#(#cfg)* #binding)
    });
    // Never run. In one body with the call, so that the borrow checker does not report the same error again.
    let checks = (!checks.is_empty()).then(|| quote!(if false { #checks }));
    let receiver = signature.receiver().map(|_| quote!(#this,));
    let function = &signature.ident;
    let wait = signature.asyncness.map(|_| quote_spanned!(function.span()=> .await));
    let into_outcome = match &signature.output {
        ReturnType::Default => quote!(<() as #private::IntoOutcome>::into_outcome),
        ReturnType::Type(_, ty) => qualified(ty, &quote!(), "IntoOutcome", "into_outcome"),
    };
    let body = quote! {
        #(#extracted)*
        #into_outcome(Self::#function(#receiver #(#bindings),*)#wait)
    };
    let this = receiver.as_ref().map_or(quote!(_), |_| quote!(#this));
    let notification = match method.arguments.as_slice() {
        [] => quote!(_),
        _ => quote!(#notification),
    };
    if signature.asyncness.is_none() {
        return quote!(#private::Call::Blocking(|#notification, #this| { #checks #body }));
    }
    // A future that is not `Send` is reported at the method's name.
    let boxing = Private::at(function.span());
    let boxed = quote_spanned! { function.span()=>
        #boxing::boxed(async move { #body })
    };
    quote!(#private::Call::Async(|#notification, #this| { #checks #boxed }))
}

/// An expression that evaluates to the argument, or returns its failure from the call. What the borrow
/// checker reports about a call is at the type.
fn extraction(argument: &Argument, notification: &Ident, private: &Private) -> TokenStream {
    let take = |part: &str, value: TokenStream| {
        let take = qualified(&argument.ty, &quote!(<'_>), part, "take");
        let value = parenthesized(value, lifetimes::ends(&argument.ty).1);
        quote!(#take #value)
    };
    let text = |value: TokenStream| take("TextArgument", value);
    let result = match argument.source() {
        Source::PublisherId => return text(quote!(#notification.publisher_id())),
        Source::EventType => return text(quote!(#notification.event_type())),
        Source::Metadata => return take("MetadataArgument", quote!(#notification)),
        Source::Context => read(&argument.ty, "Context", "ctxt", notification),
        Source::Payload => read(&argument.ty, "Payload", "payload", notification),
        // With a batch, `batch.rs` makes the arguments.
        Source::ByType | Source::Batch => {
            let shown = display_name(argument);
            let value = take(by_type(argument), quote!(#notification));
            quote!(#private::by_name(#shown, #value))
        }
    };
    quote! {
        match #result {
            #private::Ok(__value) => __value,
            #private::Err(__failure) => return #private::Err(__failure),
        }
    }
}

/// `<ty as __private::Part>::function`, as an expression at the type.
pub(crate) fn qualified(
    ty: &Type,
    parameters: &TokenStream,
    part: &str,
    function: &str,
) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let ty = lifetimes::inferred(ty);
    let (private, part) = (Private::at(first), Ident::new(part, first));
    let function = Ident::new(function, last);
    quote_spanned!(first=> <#ty as #private::#part #parameters>::#function)
}

/// `__private::function::<ty>`, as an expression at the type.
pub(crate) fn generic(ty: &Type, function: &str) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let ty = lifetimes::inferred(ty);
    let (private, function) = (Private::at(first), Ident::new(function, first));
    let open = quote_spanned!(first=> #private::#function::<);
    let close = quote_spanned!(last=> >);
    quote!(#open #ty #close)
}

/// Whether the form of an argument is looked up.
pub(crate) fn looks_up(method: &Method) -> bool {
    method.arguments.iter().any(|argument| match argument.source() {
        Source::Context | Source::Payload => !known_types::is_plain(&argument.ty),
        Source::Batch => {
            batch::form(&argument.ty).is_some_and(|(_, payload)| !known_types::is_plain(payload))
        }
        _ => false,
    })
}

/// A constant of `Typed`, which carries the type.
fn typed(ty: &Type, constant: &str) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let ty = lifetimes::inferred(ty);
    let (private, constant) = (Private::at(first), Ident::new(constant, last));
    quote_spanned!(first=> <#ty as #private::Typed>::#constant)
}

/// Reads `payload` or `ctxt`. A type that is surely plain is read as such; the form of others is looked up.
fn read(ty: &Type, part: &str, name: &str, notification: &Ident) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let private = Private::at(first);
    let notification = Ident::new(&notification.to_string(), notification.span().located_at(last));
    if known_types::is_plain(ty) {
        let part = format!("{part}Argument");
        let take = qualified(ty, &quote_spanned!(first=> <'_, #private::Plain>), &part, "take");
        let arguments = parenthesized(quote_spanned!(last=> #private::Plain, #notification), last);
        return quote_spanned!(first=> #private::by_name(#name, #take #arguments));
    }
    let form = form_of(ty);
    let (value, function) = (typed(ty, "TYPE"), Ident::new(name, last));
    let arguments = quote_spanned!(last=> (&&#form).__listener_form(), #value, #notification);
    let arguments = parenthesized(arguments, last);
    quote_spanned!(first=> #private::#function #arguments)
}

/// Reads the payloads of a batch: those of type `ty`.
pub(crate) fn read_batch(ty: &Type, notifications: &Ident) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let private = Private::at(first);
    let form = match known_types::is_plain(ty) {
        true => quote_spanned!(first=> #private::Plain),
        false => {
            let form = form_of(ty);
            quote_spanned!(first=> (&&#form).__listener_form())
        }
    };
    let (value, function) = (typed(ty, "TYPE"), Ident::new("batch", last));
    let arguments = quote_spanned!(last=> #form, #value, #notifications);
    let arguments = parenthesized(arguments, last);
    quote_spanned!(first=> #private::#function #arguments)
}

/// The constant whose form is looked up.
fn form_of(ty: &Type) -> TokenStream {
    let is_result = type_path::last_name(ty).is_some_and(|name| name == "Result");
    typed(ty, if is_result { "NAMED_RESULT" } else { "OTHER_NAME" })
}

pub(crate) fn parenthesized(tokens: TokenStream, span: Span) -> Group {
    let mut group = Group::new(Delimiter::Parenthesis, tokens);
    group.set_span(span);
    group
}

/// The trait that makes an argument by its type. If its name is similar to that of a named argument,
/// a trait whose error suggests that name.
fn by_type(argument: &Argument) -> &'static str {
    match argument.similar_name() {
        Some("ctxt") => "MeantContext",
        Some("publisher_id") => "MeantPublisherId",
        Some("event_type") => "MeantEventType",
        Some("payload") => "MeantPayload",
        Some("metadata") => "MeantMetadata",
        _ => "Extracted",
    }
}

/// How failures name the argument: its name, or its type if it has none.
pub(crate) fn display_name(argument: &Argument) -> String {
    let source = argument.source();
    let named = NAMED.iter().find(|(_, named)| *named == source);
    match (named, &argument.name) {
        (Some((name, _)), _) => (*name).to_owned(),
        (None, Some(name)) => name.unraw().to_string(),
        (None, None) => type_text(&argument.ty),
    }
}

pub(crate) fn binding(index: usize) -> Ident {
    format_ident!("__argument_{index}", span = Span::mixed_site())
}

pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
