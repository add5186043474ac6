//! Checked `ast` -> tokens: one `impl Endpoint` with a table of methods, and one registration.
//! Infallible. The generated code has no logic of its own: it calls `listener::__private`. A type of a
//! signature appears with the user's tokens in what reads it and what checks it, in expressions that
//! are at its place, so that the compiler reports errors there.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, ReturnType, Type};

use crate::attr::{Duration, Key};
use crate::endpoint::ast::{Argument, Endpoint, Filter, Method, NAMED, Options, Source, type_text};
use crate::endpoint::{known_types, lifetimes, static_types, type_path};
use crate::paths::Private;

/// The code next to the user's impl block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> TokenStream {
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let allowed = &endpoint.allowed;
    let definition = definition(endpoint, &private);
    let checks = static_types::checks(endpoint);
    let methods = endpoint.methods.iter().zip(&checks);
    let methods = methods.map(|(one, checks)| method(one, checks, &private));
    let items = quote! {
        const DEFINITION: #private::EndpointDefinition = #definition;
        const METHODS: &'static [#private::Method<Self>] = &[#(#methods),*];
    };
    // Only if a method of its traits is called, so that it is not an unused import.
    let looks_up =
        checks.iter().any(|checks| !checks.is_empty()) || endpoint.methods.iter().any(looks_up);
    let lookup = looks_up.then(|| quote!(use #private::lookup::*;));
    let implementation = implementation(endpoint, &items);
    let registration = registration(endpoint, &private);
    quote! {
        // The table may use deprecated methods and types, and uses absolute paths with the user's spans.
        // What the block allows is allowed here as well, as its types are written here again.
        #(#allowed)*
        #[allow(deprecated, unused_qualifications)]
        const _: () = {
            #import
            #lookup
            #implementation
            #registration
        };
    }
}

/// The impl of `Endpoint`. Its tokens have the span of the type, so that a conflicting impl is
/// reported there. A generic type implements it wherever `Self` satisfies the bounds of `Endpoint`.
pub(crate) fn implementation(endpoint: &Endpoint, items: &TokenStream) -> TokenStream {
    let self_type = &endpoint.self_type;
    // A span of generated code: rustc must not suggest type parameters for it.
    let at = Span::call_site().located_at(self_type.span());
    let private = Private::at(at);
    let mut generics = endpoint.generics.clone();
    if !generics.params.is_empty() {
        let bounds = syn::parse_quote!(Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        generics.make_where_clause().predicates.push(bounds);
    }
    let (parameters, _, clause) = generics.split_for_impl();
    // As in the block, so that rustc reports an unknown type in both with one text, and thus once.
    let keyword = endpoint.keyword;
    quote_spanned! {at=>
        #[automatically_derived]
        #keyword #parameters #private::Endpoint for #self_type #clause {
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
    // By an absolute path: a macro cannot be found through an import while an attribute is unresolved.
    // Through the import of another path, so that a wrong one is one error.
    let path = match &endpoint.options.crate_path {
        Some(_) => private.to_token_stream(),
        None => Private::path(None),
    };
    Some(quote!(#(#path::inventory::submit! { #registrations })*))
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
        _ => {
            // A type without `Default` is reported at the type.
            let by_default = generic(ty, "by_default");
            quote!(#private::Registration::made::<#ty>(#by_default))
        }
    }
}

/// The path of a function, outside of the block: `Self` is the type that is registered.
fn without_self(path: &syn::Path, ty: &Type) -> TokenStream {
    let mut tokens = path.to_token_stream().into_iter().peekable();
    let mut replaced = TokenStream::new();
    while let Some(token) = tokens.next() {
        let is_self = matches!(&token, TokenTree::Ident(name) if name == "Self");
        let is_qualifier =
            matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':');
        match (is_self, is_qualifier) {
            (true, true) => {
                let at = token.span();
                let (open, close) = (quote_spanned!(at=> <), quote_spanned!(at=> >));
                replaced.extend(quote!(#open #ty #close));
            }
            (true, false) => ty.to_tokens(&mut replaced),
            (false, _) => token.to_tokens(&mut replaced),
        }
    }
    replaced
}

fn method(method: &Method, checks: &TokenStream, private: &Private) -> TokenStream {
    let cfg = &method.cfg;
    let name = method.name();
    let priorities = method.priorities();
    let priorities = priorities.iter().map(|name| variant(name));
    let filter = match method.on.first() {
        Some(on) => filter(&on.filter, private),
        None => quote!(#private::FilterRule::ALL),
    };
    let requires = requires(method, private);
    let call = call(method, checks, private);
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
        let requires = qualified(&argument.ty, &quote!(<'_>), by_type(argument), "requires");
        quote!(#(#cfg)* #requires(#needs);)
    });
    quote!(|#needs| { #(#types)* })
}

fn call(method: &Method, checks: &TokenStream, private: &Private) -> TokenStream {
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
        Source::ByType => {
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
fn qualified(ty: &Type, parameters: &TokenStream, part: &str, function: &str) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let ty = lifetimes::inferred(ty);
    let (private, part) = (Private::at(first), Ident::new(part, first));
    let function = Ident::new(function, last);
    quote_spanned!(first=> <#ty as #private::#part #parameters>::#function)
}

/// `__private::function::<ty>`, as an expression at the type.
fn generic(ty: &Type, function: &str) -> TokenStream {
    let (first, last) = lifetimes::ends(ty);
    let ty = lifetimes::inferred(ty);
    let (private, function) = (Private::at(first), Ident::new(function, first));
    let open = quote_spanned!(first=> #private::#function::<);
    let close = quote_spanned!(last=> >);
    quote!(#open #ty #close)
}

/// Whether the form of an argument is looked up.
fn looks_up(method: &Method) -> bool {
    method.arguments.iter().any(|argument| {
        let is_read = matches!(argument.source(), Source::Context | Source::Payload);
        is_read && !known_types::is_plain(&argument.ty)
    })
}

/// A constant that stands for a type.
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
    let is_result = type_path::last_name(ty).is_some_and(|name| name == "Result");
    let form = typed(ty, if is_result { "NAMED_RESULT" } else { "OTHER_NAME" });
    let (value, function) = (typed(ty, "TYPE"), Ident::new(name, last));
    let arguments = quote_spanned!(last=> (&&#form).__listener_form(), #value, #notification);
    let arguments = parenthesized(arguments, last);
    quote_spanned!(first=> #private::#function #arguments)
}

fn parenthesized(tokens: TokenStream, span: Span) -> Group {
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
