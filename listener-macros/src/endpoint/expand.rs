//! Checked `ast` -> tokens: one `impl Endpoint` with a table of methods, and one registration.
//! Infallible. The generated code has no logic of its own: it calls `listener::__private`. Each
//! argument's and each returned type appears once with the user's tokens, so that the compiler
//! reports errors there.

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, ReturnType, Type};

use crate::attr::{Duration, Key};
use crate::endpoint::ast::{Argument, Endpoint, Filter, Method, NAMED, Options, Source, type_text};
use crate::endpoint::{lifetimes, static_types, type_path};
use crate::paths::Private;

/// The code next to the user's impl block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> TokenStream {
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let definition = definition(endpoint, &private);
    let checks = static_types::checks(endpoint, &private);
    let methods = endpoint.methods.iter().map(|one| method(one, &private));
    let methods = quote!(&[#(#methods),*]);
    // In one body with the calls, so that the borrow checker does not report the same error again.
    let methods = match checks.is_empty() {
        true => methods,
        false => quote!({ let _ = || { #checks }; #methods }),
    };
    let items = quote! {
        const DEFINITION: #private::EndpointDefinition = #definition;
        const METHODS: &'static [#private::Method<Self>] = #methods;
    };
    let implementation = implementation(endpoint, &items);
    let registration = registration(endpoint, &private);
    quote! {
        // The table may use deprecated methods and types, and uses absolute paths and types with the
        // user's spans.
        #[allow(deprecated, elided_lifetimes_in_paths, unused_qualifications)]
        const _: () = {
            #import
            #[allow(unused_imports)]
            use #private::lookup::*;
            #implementation
            #registration
        };
    }
}

/// The impl of `Endpoint`. Its tokens have the span of the type, so that a conflicting impl is
/// reported there. A generic type implements it wherever `Self` satisfies the bounds of `Endpoint`.
pub(crate) fn implementation(endpoint: &Endpoint, items: &TokenStream) -> TokenStream {
    let self_type = &endpoint.self_type;
    let at = self_type.span();
    let private = Private::at(at);
    let mut generics = endpoint.generics.clone();
    if !generics.params.is_empty() {
        let bounds = syn::parse_quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        generics.make_where_clause().predicates.push(bounds);
    }
    let (parameters, _, clause) = generics.split_for_impl();
    quote_spanned! {at=>
        #[automatically_derived]
        impl #parameters #private::Endpoint for #self_type #clause {
            #items
        }
    }
}

/// The type's name without its path.
pub(crate) fn name(self_type: &Type) -> String {
    match self_type {
        Type::Path(path) => {
            let segments = path.path.segments.last().cloned().into_iter().collect();
            let last = syn::Path { leading_colon: None, segments };
            type_text(&syn::parse_quote!(#last)).replace("r#", "")
        }
        other => type_text(other),
    }
}

fn definition(endpoint: &Endpoint, private: &Private) -> TokenStream {
    let options: &Options = &endpoint.options;
    let name = name(&endpoint.self_type);
    let topics = options.all_topics();
    let exchange = option(options.exchange.as_ref(), private);
    let group = option(options.group.as_ref(), private);
    let order = options.order.unwrap_or_default();
    let filter = filter(&options.filter, private);
    let stable_name = option(options.name.as_ref(), private);
    let policy = policy(options, private);
    let generic = !endpoint.generics.params.is_empty();
    quote! {
        #private::EndpointDefinition {
            name: #name,
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
            generic: #generic,
            topics: &[#(#topics),*],
            exchange: #exchange,
            group: #group,
            order: #order,
            filter: #filter,
            stable_name: #stable_name,
            policy: #policy,
        }
    }
}

fn policy(options: &Options, private: &Private) -> TokenStream {
    if options.retry.is_none() && options.timeout.is_none() && options.ordered_by.is_none() {
        return quote!(#private::EndpointPolicy::NONE);
    }
    let retry = options.retry.as_ref();
    let attempts = option(retry.and_then(|retry| retry.attempts), private);
    let delay = duration(retry.and_then(|retry| retry.delay.as_ref()), private);
    let max_delay = duration(retry.and_then(|retry| retry.max_delay.as_ref()), private);
    let timeout = duration(options.timeout.as_ref(), private);
    let ordered_by = option(options.ordered_by.as_ref(), private);
    quote! {
        #private::EndpointPolicy {
            attempts: #attempts,
            delay: #delay,
            max_delay: #max_delay,
            timeout: #timeout,
            ordered_by: #ordered_by,
        }
    }
}

fn duration(duration: Option<&Duration>, private: &Private) -> TokenStream {
    let duration = duration.map(
        |Duration { milliseconds, .. }| quote!(::core::time::Duration::from_millis(#milliseconds)),
    );
    option(duration, private)
}

fn option(value: Option<impl ToTokens>, private: &Private) -> TokenStream {
    match value {
        Some(value) => quote!(#private::Some(#value)),
        None => quote!(#private::None),
    }
}

fn filter(filter: &Filter, private: &Private) -> TokenStream {
    if filter.rules().is_empty() {
        return quote!(#private::FilterRule::ALL);
    }
    let pairs = |rules: &[(Key, LitStr)]| {
        let pairs = rules.iter().map(|(key, expression)| {
            let key = &key.text;
            quote!((#key, #expression))
        });
        quote!(&[#(#pairs),*])
    };
    let publisher_id = option(filter.publisher_id.as_ref(), private);
    let event_type = option(filter.event_type.as_ref(), private);
    let context = pairs(&filter.context);
    let metadata = pairs(&filter.metadata);
    let payload = pairs(&filter.payload);
    quote! {
        #private::FilterRule {
            publisher_id: #publisher_id,
            event_type: #event_type,
            context: #context,
            metadata: #metadata,
            payload: #payload,
        }
    }
}

fn registration(endpoint: &Endpoint, private: &Private) -> Option<TokenStream> {
    if endpoint.options.register_false().is_some() {
        return None;
    }
    let types = match &endpoint.options.instances {
        Some(instances) => instances.items.as_slice(),
        None => std::slice::from_ref(&endpoint.self_type),
    };
    let registrations = types.iter().map(|ty| registered(ty, &endpoint.options, private));
    Some(quote!(#(#private::inventory::submit! { #registrations })*))
}

/// The registration of one type.
fn registered(ty: &Type, options: &Options, private: &Private) -> TokenStream {
    match options {
        Options { provided: Some(_), .. } => quote!(#private::Registration::provided::<#ty>()),
        Options { init: Some((_, path)), .. } => {
            // A function with another signature is reported at its path.
            let function = without_self(path, ty);
            let bound = quote_spanned!(path.span()=> #private::Bound::made::<#ty, _, _>(#function));
            quote!(#private::Registration::made::<#ty>(|| #bound))
        }
        _ => quote!(#private::Registration::made::<#ty>(#private::Bound::by_default::<#ty>)),
    }
}

/// The path of a function, outside of the block: `Self` is the type that is registered.
fn without_self(path: &syn::Path, ty: &Type) -> TokenStream {
    let mut segments = path.segments.iter();
    let first = segments.next().filter(|first| first.ident == "Self");
    match (first, path.leading_colon) {
        (Some(first), None) if path.segments.len() > 1 => {
            let (open, close) = (Punct::new('<', Spacing::Alone), Punct::new('>', Spacing::Alone));
            let at = |mut punct: Punct| {
                punct.set_span(first.ident.span());
                punct
            };
            let (open, close) = (at(open), at(close));
            quote!(#open #ty #close #(::#segments)*)
        }
        (Some(_), None) => ty.to_token_stream(),
        _ => path.to_token_stream(),
    }
}

fn method(method: &Method, private: &Private) -> TokenStream {
    let cfg = &method.cfg;
    let name = method.name();
    let priorities = method.priorities();
    let priorities = priorities.iter().map(|name| variant(name));
    let filter = match method.on.first() {
        Some(on) => filter(&on.filter, private),
        None => quote!(#private::FilterRule::ALL),
    };
    let requires = requires(method, private);
    let call = call(method, private);
    quote! {
        #(#cfg)*
        #private::Method {
            name: #name,
            priorities: &[#(#private::Priority::#priorities),*],
            filter: #filter,
            requires: #requires,
            call: #call,
        }
    }
}

/// `info` -> `Info`.
fn variant(priority: &str) -> Ident {
    let mut letters = priority.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let name: String = first.into_iter().chain(letters).collect();
    Ident::new(&name, Span::call_site())
}

fn requires(method: &Method, private: &Private) -> TokenStream {
    let is_by_type = |argument: &&Argument| argument.source() == Source::ByType;
    let mut types = method.arguments.iter().filter(is_by_type).peekable();
    if types.peek().is_none() {
        return quote!(#private::requires_nothing);
    }
    let needs = local("__needs");
    let types = types.map(|argument| {
        let cfg = &argument.cfg;
        let ty = lifetimes::inferred(&argument.ty);
        let by_type = Ident::new(by_type(argument), Span::call_site());
        quote!(#(#cfg)* <#ty as #private::#by_type<'_>>::requires(#needs);)
    });
    quote!(|#needs| { #(#types)* })
}

fn call(method: &Method, private: &Private) -> TokenStream {
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
    let receiver = signature.receiver().map(|_| quote!(#this,));
    let function = &signature.ident;
    let wait = signature.asyncness.map(|_| quote!(.await));
    let returned = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => lifetimes::inferred(ty),
    };
    let body = quote! {
        #(#extracted)*
        <#returned as #private::IntoOutcome>::into_outcome(
            Self::#function(#receiver #(#bindings),*)#wait
        )
    };
    let this = receiver.as_ref().map_or(quote!(_), |_| quote!(#this));
    let notification = match method.arguments.as_slice() {
        [] => quote!(_),
        _ => quote!(#notification),
    };
    if signature.asyncness.is_none() {
        return quote!(#private::Call::Blocking(|#notification, #this| { #body }));
    }
    // A future that is not `Send` is reported at the method's name.
    let boxing = Private::at(function.span());
    let boxed = quote_spanned! { function.span()=>
        #boxing::boxed(async move { #body })
    };
    quote!(#private::Call::Async(|#notification, #this| #boxed))
}

/// An expression that evaluates to the argument, or returns its failure from the call. What the borrow
/// checker reports about a call is at the type.
fn extraction(argument: &Argument, notification: &Ident, private: &Private) -> TokenStream {
    let ty = lifetimes::inferred(&argument.ty);
    let shown = display_name(argument);
    let at = lifetimes::ends(&argument.ty);
    let take = |part: &str, value: TokenStream| {
        let (private, part) = (Private::at(at.0), Ident::new(part, at.0));
        let take = quote_spanned!(at.0=> <#ty as #private::#part<'_>>::take);
        let arguments = parenthesized(value, at.1);
        quote!(#take #arguments)
    };
    let text = |value: TokenStream| take("TextArgument", value);
    let result = match argument.source() {
        Source::PublisherId => return text(quote!(#notification.publisher_id())),
        Source::EventType => return text(quote!(#notification.event_type())),
        Source::Metadata => return take("MetadataArgument", quote!(#notification)),
        Source::Context | Source::Payload => {
            let form = form(&argument.ty, at.0);
            let read = Ident::new(
                if argument.source() == Source::Context { "ctxt" } else { "payload" },
                at.0,
            );
            let arguments = parenthesized(quote!(#notification), at.1);
            quote!(#form.#read::<#ty>#arguments)
        }
        Source::ByType if argument.similar_name().is_none() => {
            quote!(#private::by_type::<#ty>(#shown, #notification))
        }
        Source::ByType => {
            let read = take(by_type(argument), quote!(#notification));
            quote!(#private::by_name(#shown, #read))
        }
    };
    quote! {
        match #result {
            #private::Ok(__value) => __value,
            #private::Err(__failure) => return #private::Err(__failure),
        }
    }
}

fn parenthesized(tokens: TokenStream, span: Span) -> Group {
    let mut group = Group::new(Delimiter::Parenthesis, tokens);
    group.set_span(span);
    group
}

/// The form of a type. One that is surely plain is not looked up.
fn form(ty: &Type, at: Span) -> TokenStream {
    let private = Private::at(at);
    if type_path::is_plain(ty) {
        return quote_spanned!(at=> #private::Plain);
    }
    let has_arguments = ty.to_token_stream().to_string().contains('<');
    let ty = lifetimes::inferred(ty);
    let form = quote_spanned!(at=> &#private::Form::<#ty>::OF);
    if has_arguments {
        quote_spanned!(at=> (&#form).form())
    } else {
        quote_spanned!(at=> (#form).form())
    }
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
        _ => "FromNotification",
    }
}

/// How failures name the argument: its name, or its type if it has none.
fn display_name(argument: &Argument) -> String {
    let source = argument.source();
    let named = NAMED.iter().find(|(_, named)| *named == source);
    match (named, &argument.name) {
        (Some((name, _)), _) => (*name).to_owned(),
        (None, Some(name)) => name.unraw().to_string(),
        (None, None) => type_text(&argument.ty),
    }
}

fn binding(index: usize) -> Ident {
    format_ident!("__argument_{index}", span = Span::mixed_site())
}

fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn an_endpoint_is_named_after_its_type_without_the_path() {
        assert_eq!(name(&parse_quote!(crate::billing::Billing)), "Billing");
        assert_eq!(name(&parse_quote!(Billing<Postgres>)), "Billing<Postgres>");
        assert_eq!(name(&parse_quote!(r#type)), "type");
    }
}
