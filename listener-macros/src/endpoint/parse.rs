//! Tokens -> `ast`: the shape only. Which names mean something is said by `check`. Bodies of
//! methods are skipped, not parsed. What has the wrong shape is noted, and the rest read on.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, FnArg, Ident, ItemImpl, Meta, Signature, Token, Type, Visibility, token};

use crate::attr::Entries;
use crate::endpoint::ast::{Argument, Endpoint, Filter, Method, On, Options, Retry};
use crate::endpoint::elsewhere;
use crate::endpoint::original::{self, is_braces};
use crate::mistake::Mistakes;

/// Reads the attribute's options and the item; no `Endpoint` if the item is no impl block.
pub(crate) fn endpoint(attribute: TokenStream, item: &TokenStream) -> (Option<Endpoint>, Mistakes) {
    let mut mistakes = Mistakes::default();
    let options = options(attribute, &mut mistakes);
    let Some((head, body)) = head_and_body(item, &mut mistakes) else {
        return (None, mistakes);
    };
    if let Some(second) = head.attrs.iter().find(|attribute| original::is_ours(attribute.path())) {
        mistakes.on(
            second,
            "`#[notification_endpoint]` stands twice on one block",
            "keep one, with the options of both",
        );
    }
    let mut endpoint = Endpoint {
        options,
        allowed: head.attrs.into_iter().filter(|one| one.path().is_ident("allow")).collect(),
        generics: head.generics,
        of_trait: head.trait_.map(|(path, _)| path),
        self_type: ungrouped(*head.self_ty),
        methods: Vec::new(),
        macros: Vec::new(),
    };
    let read = |input: ParseStream<'_>| members(input, &mut endpoint, &mut mistakes);
    let result = read.parse2(original::flat(body.stream()));
    mistakes.keep(result);
    (Some(endpoint), mistakes)
}

/// Splits an impl block into what `syn` reads and the braces that it need not read.
fn head_and_body(item: &TokenStream, mistakes: &mut Mistakes) -> Option<(ItemImpl, Group)> {
    let mut head: Vec<TokenTree> = item.clone().into_iter().collect();
    let body = head.pop_if(|last| is_braces(last));
    head.push(Group::new(proc_macro2::Delimiter::Brace, TokenStream::new()).into());
    let head = syn::parse2::<ItemImpl>(head.into_iter().collect());
    if let (Ok(head), Some(TokenTree::Group(body))) = (head, body) {
        return Some((head, body));
    }
    let (kind, at) = kind(item);
    mistakes.at(
        at,
        format_args!("`#[notification_endpoint]` stands on {kind}"),
        "write it on the inherent impl block whose methods handle notifications: `#[notification_endpoint] impl Billing { .. }`",
    );
    None
}

/// What the item is, in words, and the keyword that says so.
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
        ("impl", "an impl block that cannot be read"),
    ];
    let named = item.clone().into_iter().find_map(|token| {
        let TokenTree::Ident(name) = token else {
            return None;
        };
        let kind = KINDS.iter().find(|(keyword, _)| name == keyword)?;
        Some((kind.1, name.span()))
    });
    named.unwrap_or(("something else than an impl block", Span::call_site()))
}

/// The type without the invisible group that `macro_rules!` puts around it.
fn ungrouped(mut ty: Type) -> Type {
    while let Type::Group(group) = ty {
        ty = *group.elem;
    }
    ty
}

fn options(attribute: TokenStream, mistakes: &mut Mistakes) -> Options {
    let mut entries = Entries::read("`#[notification_endpoint(..)]`", attribute, mistakes);
    let options = Options {
        topic: entries.text("topic", mistakes),
        topics: entries.texts("topics", mistakes),
        exchange: entries.text("exchange", mistakes),
        filter: filter(&mut entries, mistakes),
        group: entries.text("group", mistakes),
        order: entries.integer("order", i32::MIN..=i32::MAX, mistakes),
        name: entries.text("name", mistakes),
        retry: retry(&mut entries, mistakes),
        timeout: entries.time("timeout", mistakes),
        ordered_by: entries.text("ordered_by", mistakes),
        provided: entries.flag("provided", mistakes),
        init: entries.path("init", mistakes),
        instances: entries.types("instances", mistakes),
        register: entries.boolean("register", mistakes),
        crate_path: entries.path("crate", mistakes).map(|(_, path)| path),
    };
    entries.finish(elsewhere::in_endpoint, mistakes);
    options
}

fn retry(entries: &mut Entries, mistakes: &mut Mistakes) -> Option<Retry> {
    let mut entries = entries.nested("retry", "attempts = 5", "`retry(..)`", mistakes)?;
    let retry = Retry {
        attempts: entries.integer("attempts", 1..=u32::MAX, mistakes),
        pause: entries.time("pause", mistakes),
        max_pause: entries.time("max_pause", mistakes),
    };
    entries.finish(elsewhere::in_retry, mistakes);
    Some(retry)
}

fn filter(entries: &mut Entries, mistakes: &mut Mistakes) -> Filter {
    Filter {
        publisher_id: entries.text("publisher_id", mistakes),
        event_type: entries.text("event_type", mistakes),
        context: entries.table("context", mistakes),
        metadata: entries.table("metadata", mistakes),
        payload: entries.table("payload", mistakes),
    }
}

fn members(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    mistakes: &mut Mistakes,
) -> syn::Result<()> {
    Attribute::parse_inner(input)?;
    while !input.is_empty() {
        if let Err(error) = member(input, endpoint, mistakes) {
            mistakes.add(error);
            skip_member(input)?;
        }
    }
    Ok(())
}

fn member(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    mistakes: &mut Mistakes,
) -> syn::Result<()> {
    let attributes = Attribute::parse_outer(input)?;
    let on = attributes.iter().find(|attribute| attribute.path().is_ident("on"));
    input.parse::<Visibility>()?;
    if input.fork().parse::<Ident>().is_ok_and(|word| word == "default") {
        input.parse::<Ident>()?;
    }
    if is_function(input) {
        let signature = input.parse()?;
        endpoint.methods.push(method(&attributes, signature, mistakes));
    } else if let Some(on) = on {
        let fix = "write it above the method that handles these priorities";
        mistakes.on(on, "`#[on(..)]` stands on something that is no method", fix);
    } else if !input.peek(Token![const]) && !input.peek(Token![type]) {
        let rest = input.fork();
        let path: syn::Path = rest.call(syn::Path::parse_mod_style)?;
        endpoint.macros.push(quote!(#path));
    }
    skip_member(input)
}

/// Whether `fn` follows, behind the words that may stand before it.
fn is_function(input: ParseStream<'_>) -> bool {
    let rest = input.fork();
    while !rest.peek(Token![fn]) {
        let modifier = rest.peek(Token![const])
            || rest.peek(Token![async])
            || rest.peek(Token![unsafe])
            || rest.peek(Token![extern])
            || rest.peek(syn::LitStr);
        if !modifier || rest.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    true
}

/// Goes behind the end of a member: its `;`, or the braces of a body that is no value.
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

fn method(attributes: &[Attribute], signature: Signature, mistakes: &mut Mistakes) -> Method {
    let on = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("on"))
        .map(|attribute| on(attribute, mistakes))
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

fn on(attribute: &Attribute, mistakes: &mut Mistakes) -> On {
    let tokens = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        // They name no priority; `check` says so.
        Meta::Path(_) | Meta::NameValue(_) => TokenStream::new(),
    };
    let mut entries = Entries::read("`#[on(..)]`", tokens, mistakes);
    let filter = filter(&mut entries, mistakes);
    let priorities = entries.flags();
    entries.finish(elsewhere::in_on, mistakes);
    On { attribute: attribute.clone(), priorities, filter }
}

fn cfg(attributes: &[Attribute]) -> Vec<Attribute> {
    let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    attributes.iter().filter(is_cfg).cloned().collect()
}
