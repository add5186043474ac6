//! Tokens -> `ast`: syntax only; `check` knows which names are valid. Bodies of methods are skipped,
//! not parsed. A syntax error is reported, and parsing continues after it.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, FnArg, Ident, ItemImpl, Meta, Signature, Token, Type, Visibility, token};

use crate::attr::Entries;
use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Argument, Endpoint, Filter, Method, On, Options, Retry};
use crate::endpoint::misplaced;
use crate::endpoint::original::{self, is_braces};

/// Reads the attribute's options and the item; no `Endpoint` if the item is not an impl block.
pub(crate) fn endpoint(
    attribute: TokenStream,
    item: &TokenStream,
) -> (Option<Endpoint>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let options = options(attribute, &mut diagnostics);
    let Some((head, body)) = head_and_body(item, &mut diagnostics) else {
        return (None, diagnostics);
    };
    if let Some(second) = head.attrs.iter().find(|attribute| original::is_ours(attribute.path())) {
        diagnostics.on(
            second,
            "`#[notification_endpoint]` is applied twice to this block",
            "keep one, with the options of both",
        );
    }
    let mut endpoint = Endpoint {
        options,
        allowed: head.attrs.into_iter().filter(|one| one.path().is_ident("allow")).collect(),
        generics: head.generics,
        trait_path: head.trait_.map(|(path, _)| path),
        self_type: ungrouped(*head.self_ty),
        methods: Vec::new(),
        macros: Vec::new(),
    };
    let read = |input: ParseStream<'_>| members(input, &mut endpoint, &mut diagnostics);
    let result = read.parse2(original::flat(body.stream()));
    diagnostics.handle(result);
    (Some(endpoint), diagnostics)
}

/// Splits an impl block into its head, which `syn` parses, and its braces.
fn head_and_body(item: &TokenStream, diagnostics: &mut Diagnostics) -> Option<(ItemImpl, Group)> {
    let mut head: Vec<TokenTree> = item.clone().into_iter().collect();
    let body = head.pop_if(|last| is_braces(last));
    head.push(Group::new(proc_macro2::Delimiter::Brace, TokenStream::new()).into());
    let head = syn::parse2::<ItemImpl>(head.into_iter().collect());
    if let (Ok(head), Some(TokenTree::Group(body))) = (head, body) {
        return Some((head, body));
    }
    let (kind, span) = kind(item);
    diagnostics.at(
        span,
        format_args!("`#[notification_endpoint]` expects an inherent `impl` block, found {kind}"),
        "apply it to the block whose methods handle notifications: `#[notification_endpoint] impl Billing { .. }`",
    );
    None
}

/// The kind of the item in words, and the span of its keyword.
fn kind(item: &TokenStream) -> (&'static str, Span) {
    const KINDS: &[(&str, &str)] = &[
        ("struct", "a struct"),
        ("enum", "an enum"),
        ("union", "a union"),
        ("trait", "a trait"),
        ("fn", "a function"),
        ("mod", "a module"),
        ("type", "a type alias"),
        ("const", "a constant"),
        ("static", "a static"),
        ("use", "an import"),
        ("impl", "an `impl` block that cannot be parsed"),
    ];
    let named = item.clone().into_iter().find_map(|token| {
        let TokenTree::Ident(name) = token else {
            return None;
        };
        let kind = KINDS.iter().find(|(keyword, _)| name == keyword)?;
        Some((kind.1, name.span()))
    });
    named.unwrap_or(("another item", Span::call_site()))
}

/// The type without the invisible group that `macro_rules!` puts around it.
fn ungrouped(mut ty: Type) -> Type {
    while let Type::Group(group) = ty {
        ty = *group.elem;
    }
    ty
}

fn options(attribute: TokenStream, diagnostics: &mut Diagnostics) -> Options {
    let mut entries = Entries::read("`#[notification_endpoint(..)]`", attribute, diagnostics);
    let options = Options {
        topic: entries.string("topic", diagnostics),
        topics: entries.strings("topics", diagnostics),
        exchange: entries.string("exchange", diagnostics),
        filter: filter(&mut entries, diagnostics),
        group: entries.string("group", diagnostics),
        order: entries.integer("order", i32::MIN..=i32::MAX, diagnostics),
        name: entries.string("name", diagnostics),
        retry: retry(&mut entries, diagnostics),
        timeout: entries.duration("timeout", diagnostics),
        ordered_by: entries.string("ordered_by", diagnostics),
        provided: entries.flag("provided", diagnostics),
        init: entries.path("init", diagnostics),
        instances: entries.types("instances", diagnostics),
        register: entries.boolean("register", diagnostics),
        crate_path: entries.path("crate", diagnostics).map(|(_, path)| path),
    };
    entries.finish(misplaced::in_endpoint, diagnostics);
    options
}

fn retry(entries: &mut Entries, diagnostics: &mut Diagnostics) -> Option<Retry> {
    let mut entries = entries.nested("retry", "attempts = 5", "`retry(..)`", diagnostics)?;
    let retry = Retry {
        attempts: entries.integer("attempts", 1..=u32::MAX, diagnostics),
        delay: entries.duration("delay", diagnostics),
        max_delay: entries.duration("max_delay", diagnostics),
    };
    entries.finish(misplaced::in_retry, diagnostics);
    Some(retry)
}

fn filter(entries: &mut Entries, diagnostics: &mut Diagnostics) -> Filter {
    Filter {
        publisher_id: entries.string("publisher_id", diagnostics),
        event_type: entries.string("event_type", diagnostics),
        context: entries.table("context", diagnostics),
        metadata: entries.table("metadata", diagnostics),
        payload: entries.table("payload", diagnostics),
    }
}

fn members(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    diagnostics: &mut Diagnostics,
) -> syn::Result<()> {
    Attribute::parse_inner(input)?;
    while !input.is_empty() {
        if let Err(error) = member(input, endpoint, diagnostics) {
            diagnostics.add(error);
            skip_member(input)?;
        }
    }
    Ok(())
}

fn member(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    diagnostics: &mut Diagnostics,
) -> syn::Result<()> {
    let attributes = Attribute::parse_outer(input)?;
    let on = attributes.iter().find(|attribute| attribute.path().is_ident("on"));
    input.parse::<Visibility>()?;
    if input.fork().parse::<Ident>().is_ok_and(|word| word == "default") {
        input.parse::<Ident>()?;
    }
    if is_function(input) {
        let signature = input.parse()?;
        endpoint.methods.push(method(&attributes, signature, diagnostics));
    } else if let Some(on) = on {
        let help = "move it above the method that handles these priorities";
        diagnostics.on(on, "`#[on(..)]` can only be applied to methods", help);
    } else if !input.peek(Token![const]) && !input.peek(Token![type]) {
        let rest = input.fork();
        let path: syn::Path = rest.call(syn::Path::parse_mod_style)?;
        endpoint.macros.push(quote!(#path));
    }
    skip_member(input)
}

/// Whether `fn` follows, after optional qualifiers such as `async`.
fn is_function(input: ParseStream<'_>) -> bool {
    let rest = input.fork();
    while !rest.peek(Token![fn]) {
        let is_qualifier = rest.peek(Token![const])
            || rest.peek(Token![async])
            || rest.peek(Token![unsafe])
            || rest.peek(Token![extern])
            || rest.peek(syn::LitStr);
        if !is_qualifier || rest.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    true
}

/// Skips to the end of a member: its `;`, or the braces of its body. Braces after a `=` are a value.
fn skip_member(input: ParseStream<'_>) -> syn::Result<()> {
    let mut is_value = false;
    while !input.is_empty() {
        if input.parse::<Option<Token![;]>>()?.is_some() {
            return Ok(());
        }
        is_value |= input.peek(Token![=]);
        let ends = input.peek(token::Brace) && !is_value;
        input.parse::<TokenTree>()?;
        if ends {
            return Ok(());
        }
    }
    Ok(())
}

fn method(attributes: &[Attribute], signature: Signature, diagnostics: &mut Diagnostics) -> Method {
    let on = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("on"))
        .map(|attribute| on(attribute, diagnostics))
        .collect();
    let arguments = signature
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(typed) => Some(typed),
        })
        .map(|typed| Argument::new(cfg(&typed.attrs), &typed.pat, ungrouped((*typed.ty).clone())))
        .collect();
    Method {
        cfg: cfg(attributes),
        conditional_on: attributes
            .iter()
            .find(|attribute| original::is_conditional_on(&attribute.meta.to_token_stream()))
            .cloned(),
        on,
        signature,
        arguments,
    }
}

fn on(attribute: &Attribute, diagnostics: &mut Diagnostics) -> On {
    let tokens = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        // No list: `check` reports the missing priority.
        Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
    };
    let mut entries = Entries::read("`#[on(..)]`", tokens, diagnostics);
    let filter = filter(&mut entries, diagnostics);
    let priorities = entries.flags();
    entries.finish(misplaced::in_on, diagnostics);
    On { attribute: attribute.clone(), priorities, filter }
}

fn cfg(attributes: &[Attribute]) -> Vec<Attribute> {
    let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    attributes.iter().filter(is_cfg).cloned().collect()
}
