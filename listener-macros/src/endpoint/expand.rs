//! Checked `ast` -> tokens: one `impl Endpoint` with a table of methods, and one registration.
//! Infallible. The generated code has no logic of its own: it calls `listener::__private`. A type of a
//! signature appears with the user's tokens in what reads it and what checks it, in expressions that
//! are at its place, so that the compiler reports errors there.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, Type};

use crate::attr::{Duration, Key};
use crate::endpoint::ast::{Endpoint, Filter, Method, Options, type_text};
use crate::endpoint::{batch, call, static_types};
use crate::paths::Private;

/// The code next to the user's impl block.
pub(crate) fn endpoint(endpoint: &Endpoint) -> TokenStream {
    let private = Private::at(Span::call_site());
    let import = private.import(endpoint.options.crate_path.as_ref());
    let allowed = &endpoint.allowed;
    let definition = definition(endpoint, &private);
    let checks = static_types::checks(endpoint);
    let methods = endpoint.methods.iter().zip(&checks);
    let methods = methods.map(|(one, checks)| method(endpoint, one, checks, &private));
    let items = quote! {
        const DEFINITION: #private::EndpointDefinition = #definition;
        const METHODS: &'static [#private::Method<Self>] = &[#(#methods),*];
    };
    // Only if a method of its traits is called, so that it is not an unused import.
    let looks_up = checks.iter().any(|checks| !checks.is_empty())
        || endpoint.methods.iter().any(call::looks_up);
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

pub(crate) fn duration(duration: Option<&Duration>, private: &Private) -> TokenStream {
    let duration = duration.map(
        |Duration { milliseconds, .. }| quote!(::core::time::Duration::from_millis(#milliseconds)),
    );
    option(duration, private)
}

pub(crate) fn option(value: Option<impl ToTokens>, private: &Private) -> TokenStream {
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
            let by_default = call::generic(ty, "by_default");
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

fn method(
    endpoint: &Endpoint,
    method: &Method,
    checks: &TokenStream,
    private: &Private,
) -> TokenStream {
    let cfg = &method.cfg;
    let name = method.name();
    let priorities = method.priorities();
    let priorities = priorities.iter().map(|name| variant(name));
    let filter = match method.on.first() {
        Some(on) => filter(&on.filter, private),
        None => quote!(#private::FilterRule::ALL),
    };
    let requires = call::requires(method, private);
    let call = match method.batch() {
        Some(argument) => batch::call(endpoint, method, argument, checks, private),
        None => call::call(method, checks, private),
    };
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
