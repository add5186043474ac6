//! Checked `ast` -> tokens: one `impl Endpoint` with a table of methods, one registration.
//! Cannot fail, and holds no behaviour: what the tokens call is in `listener::__private`.
//! Each argument's and each returned type is named once with the user's own tokens, so that
//! the compiler's errors stand there.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{LitStr, ReturnType, Type};

use crate::attr::Key;
use crate::endpoint::ast::{Argument, Endpoint, Filter, Method, NAMED, Options, Source, written};
use crate::paths::Private;

/// What stands beside the user's impl block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> TokenStream {
    let private = Private::new(endpoint.options.crate_path.as_ref());
    let self_type = &endpoint.self_type;
    let definition = definition(endpoint, &private);
    let methods = endpoint.methods.iter().map(|one| method(one, &private));
    let registration = registration(endpoint, &private);
    quote! {
        // A method or a type that is deprecated is so for its users, not for the table.
        #[allow(deprecated)]
        const _: () = {
            #[automatically_derived]
            impl #private::Endpoint for #self_type {
                const DEFINITION: #private::Definition = #definition;
                const METHODS: &'static [#private::Method<Self>] = &[#(#methods),*];
            }
            #registration
        };
    }
}

/// The type's name, without the path to it.
pub(crate) fn name(self_type: &Type) -> String {
    match self_type {
        Type::Path(path) => {
            let segments = path.path.segments.last().cloned().into_iter().collect();
            let last = syn::Path { leading_colon: None, segments };
            written(&syn::parse_quote!(#last)).replace("r#", "")
        }
        other => written(other),
    }
}

fn definition(endpoint: &Endpoint, private: &Private) -> TokenStream {
    let options: &Options = &endpoint.options;
    let name = name(&endpoint.self_type);
    let topics = options.all_topics();
    let exchange = option(options.exchange.as_ref());
    let group = option(options.group.as_ref());
    let order = options.order.unwrap_or_default();
    let filter = filter(&options.filter, private);
    quote! {
        #private::Definition {
            name: #name,
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
            column: ::core::column!(),
            topics: &[#(#topics),*],
            exchange: #exchange,
            group: #group,
            order: #order,
            filter: #filter,
        }
    }
}

fn option(text: Option<&LitStr>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}

fn filter(filter: &Filter, private: &Private) -> TokenStream {
    let pairs = |rules: &[(Key, LitStr)]| {
        let pairs = rules.iter().map(|(key, expression)| {
            let key = &key.text;
            quote!((#key, #expression))
        });
        quote!(&[#(#pairs),*])
    };
    let publisher_id = option(filter.publisher_id.as_ref());
    let event_type = option(filter.event_type.as_ref());
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
    if endpoint.options.unregistered().is_some() {
        return None;
    }
    let self_type = &endpoint.self_type;
    let registration = match &endpoint.options {
        Options { provided: Some(_), .. } => {
            quote!(#private::Registration::provided::<#self_type>())
        }
        Options { init: Some((_, path)), .. } => quote! {
            #private::Registration::made::<#self_type>(
                || #private::Bound::new::<#self_type>(#path())
            )
        },
        _ => quote! {
            #private::Registration::made::<#self_type>(|| #private::Bound::new::<#self_type>(
                <#self_type as #private::DefaultInstance>::instance()
            ))
        },
    };
    Some(quote!(#private::inventory::submit! { #registration }))
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
    let by_type = |argument: &&Argument| argument.source() == Source::ByType;
    let mut types = method.arguments.iter().filter(by_type).peekable();
    if types.peek().is_none() {
        return quote!(|_| {});
    }
    let needs = local("__needs");
    let types = types.map(|argument| {
        let cfg = &argument.cfg;
        let ty = without_named_lifetimes(&argument.ty, method);
        quote!(#(#cfg)* <#ty as #private::FromNotification<'_>>::requires(#needs);)
    });
    quote!(|#needs| { #(#types)* })
}

fn call(method: &Method, private: &Private) -> TokenStream {
    let signature = &method.signature;
    let (this, notification) = (local("__this"), local("__notification"));
    let extracted = method.arguments.iter().enumerate().map(|(index, argument)| {
        let cfg = &argument.cfg;
        let binding = binding(index);
        let value = extraction(argument, method, &notification, private);
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
        ReturnType::Type(_, ty) => without_named_lifetimes(ty, method),
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
        return quote!(#private::Call::Blocking(|#this, #notification| { #body }));
    }
    // A future that cannot be sent to another thread is reported at the method's name.
    let boxed = quote_spanned! { function.span()=>
        ::std::boxed::Box::pin(async move { #body })
    };
    quote!(#private::Call::Async(|#this, #notification| #boxed))
}

/// An expression that makes the argument, or leaves the call with its failure.
fn extraction(
    argument: &Argument,
    method: &Method,
    notification: &Ident,
    private: &Private,
) -> TokenStream {
    let ty = without_named_lifetimes(&argument.ty, method);
    let result = match argument.source() {
        Source::PublisherId => {
            return quote! {
                <#ty as #private::TextArgument<'_>>::take(#notification.publisher_id())
            };
        }
        Source::EventType => {
            return quote!(<#ty as #private::TextArgument<'_>>::take(#notification.event_type()));
        }
        Source::Metadata => {
            return quote!(<#ty as #private::MetadataArgument<'_>>::take(#notification));
        }
        Source::Context => quote!(<#ty as #private::ContextArgument<'_>>::take(#notification)),
        Source::Payload => quote!(<#ty as #private::PayloadArgument<'_>>::take(#notification)),
        Source::ByType => {
            quote!(<#ty as #private::FromNotification<'_>>::from_notification(#notification))
        }
    };
    let shown = shown(argument);
    quote! {
        match #result {
            ::core::result::Result::Ok(__value) => __value,
            ::core::result::Result::Err(__error) => {
                return ::core::result::Result::Err(#private::argument_failure(#shown, __error));
            }
        }
    }
}

/// What a failure calls the argument: its name, or its type when it has none.
fn shown(argument: &Argument) -> String {
    let source = argument.source();
    let named = NAMED.iter().find(|(_, named)| *named == source);
    match (named, &argument.name) {
        (Some((name, _)), _) => (*name).to_owned(),
        (None, Some(name)) => name.unraw().to_string(),
        (None, None) => written(&argument.ty),
    }
}

/// The type with the method's own lifetimes left to inference: they are not in scope here.
fn without_named_lifetimes(ty: &Type, method: &Method) -> TokenStream {
    let generics = &method.signature.generics;
    let names: Vec<&Ident> =
        generics.lifetimes().map(|parameter| &parameter.lifetime.ident).collect();
    if names.is_empty() {
        return ty.to_token_stream();
    }
    infer(ty.to_token_stream(), &names)
}

fn infer(tokens: TokenStream, names: &[&Ident]) -> TokenStream {
    let mut after_quote = false;
    let replace = |token: TokenTree| {
        let is_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        let follows_quote = std::mem::replace(&mut after_quote, is_quote);
        match token {
            TokenTree::Ident(name)
                if follows_quote && names.iter().any(|named| **named == name) =>
            {
                Ident::new("_", name.span()).into()
            }
            TokenTree::Group(group) => {
                let mut inferred =
                    proc_macro2::Group::new(group.delimiter(), infer(group.stream(), names));
                inferred.set_span(group.span());
                inferred.into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(replace).collect()
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
    fn the_lifetimes_of_a_method_are_left_to_inference() {
        let a: Ident = parse_quote!(a);
        let ty: Type = parse_quote!((&'a str, Fault<'static, 'a>, &'b [&'a u8]));
        let expected: Type = parse_quote!((&'_ str, Fault<'static, '_>, &'b [&'_ u8]));
        let inferred = infer(ty.to_token_stream(), &[&a]).to_string();
        assert_eq!(inferred, expected.to_token_stream().to_string());
    }

    #[test]
    fn an_endpoint_is_called_by_its_type_alone() {
        assert_eq!(name(&parse_quote!(crate::billing::Billing)), "Billing");
        assert_eq!(name(&parse_quote!(Billing<Postgres>)), "Billing<Postgres>");
        assert_eq!(name(&parse_quote!(r#type)), "type");
    }
}
