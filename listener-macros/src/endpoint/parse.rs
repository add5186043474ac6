//! Tokens -> `ast`: syntax only; `check` knows which names are valid. Bodies of methods are skipped,
//! not parsed. `attr` reads the options of attributes. A block that rustc cannot read either is broken:
//! rustc has reported that before the attribute was expanded, so nothing is reported here.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, FnArg, Ident, ItemImpl, Meta, Signature, Token, Type, Visibility, token};

use crate::attr::{Entries, Expected};
use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Argument, BatchRule, Endpoint, Filter, Method, On, Options, Retry};
use crate::endpoint::original::{self, is_braces};
use crate::endpoint::{conditions, misplaced};

/// The item below the attribute.
pub(crate) enum Item {
    /// An impl block. Its members are as written.
    Block(Endpoint),
    /// An impl block that cannot be read: the endpoint without its members, if the head can be read, and
    /// the reason.
    Broken(Option<Endpoint>, Unread),
    /// Another item, which is reported.
    Other,
}

/// What cannot be read, and where.
pub(crate) struct Unread {
    pub(crate) what: &'static str,
    pub(crate) at: Span,
}

impl Unread {
    const fn syntax(at: Span) -> Self {
        Self { what: "the syntax", at }
    }
}

/// Reads the attribute's options and the item.
pub(crate) fn item(attribute: TokenStream, item: &TokenStream) -> (Item, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let options = options(attribute, &mut diagnostics);
    let (head, body) = match head_and_body(item) {
        Ok(parts) => parts,
        Err(NotABlock::Broken(at)) => return (Item::Broken(None, Unread::syntax(at)), diagnostics),
        Err(NotABlock::Other(kind, span)) => {
            let message = format_args!(
                "`#[notification_endpoint]` expects an inherent `impl` block, found {kind}"
            );
            let help = "apply it to the block whose methods handle notifications: `#[notification_endpoint] impl Billing { .. }`";
            diagnostics.at(span, message, help);
            return (Item::Other, diagnostics);
        }
    };
    let second = head.attrs.iter().find(|attribute| original::is_ours(attribute.path())).cloned();
    let mut endpoint = Endpoint {
        options,
        allowed: head.attrs.into_iter().filter(|one| one.path().is_ident("allow")).collect(),
        keyword: head.impl_token,
        generics: head.generics,
        trait_path: head.trait_.map(|(path, _)| path),
        self_type: ungrouped(*head.self_ty),
        methods: Vec::new(),
        macros: Vec::new(),
    };
    let (mut in_members, mut unread) = (Diagnostics::default(), None);
    let read = |input: ParseStream<'_>| {
        unread = members(input, &mut endpoint, &mut in_members).err();
        // The rest was read, or does not matter.
        input.parse::<TokenStream>().map(drop)
    };
    let read = read.parse2(original::flat(body.stream()));
    if let Some(unread) = unread.or_else(|| read.err().map(|error| Unread::syntax(error.span()))) {
        return (Item::Broken(Some(endpoint), unread), diagnostics);
    }
    if let Some(second) = second {
        diagnostics.on(
            second,
            "`#[notification_endpoint]` is applied twice to this block",
            "keep one, with the options of both",
        );
    }
    diagnostics.append(in_members);
    (Item::Block(endpoint), diagnostics)
}

enum NotABlock {
    /// An impl block with a syntax error in its head.
    Broken(Span),
    /// The kind of the item in words, and its keyword.
    Other(&'static str, Span),
}

/// Splits an impl block into its head, which `syn` parses, and its braces.
fn head_and_body(item: &TokenStream) -> Result<(ItemImpl, Group), NotABlock> {
    let mut head: Vec<TokenTree> = item.clone().into_iter().collect();
    let body = head.pop_if(|last| is_braces(last));
    head.push(Group::new(proc_macro2::Delimiter::Brace, TokenStream::new()).into());
    let head = syn::parse2::<ItemImpl>(head.into_iter().collect());
    match (head, body) {
        (Ok(head), Some(TokenTree::Group(body))) => Ok((head, body)),
        (head, _) => Err(match kind(item) {
            ("impl", span) => NotABlock::Broken(head.err().map_or(span, |error| error.span())),
            (kind, span) => NotABlock::Other(kind, span),
        }),
    }
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
        ("impl", "impl"),
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
    let expected = Expected {
        attribute: "`#[notification_endpoint(..)]`",
        explain: misplaced::not_an_option,
        quotes_keys: false,
    };
    let before = diagnostics.len();
    let mut entries = Entries::read(expected, attribute, diagnostics);
    let mut options = Options {
        is_complete: false,
        topic: entries.string("topic", diagnostics),
        topics: entries.strings("topics", diagnostics),
        exchange: entries.string("exchange", diagnostics),
        filter: filter(&mut entries, diagnostics),
        group: entries.string("group", diagnostics),
        order: entries.integer("order", i32::MIN..=i32::MAX, diagnostics),
        name: entries.string("name", diagnostics),
        retry: retry(&mut entries, diagnostics),
        batch: batch(&mut entries, diagnostics),
        timeout: entries.duration("timeout", diagnostics),
        ordered_by: entries.string("ordered_by", diagnostics),
        provided: entries.flag("provided", diagnostics),
        init: entries.path("init", diagnostics),
        instances: entries.types("instances", diagnostics),
        register: entries.boolean("register", diagnostics),
        crate_path: entries.path("crate", diagnostics).map(|(_, path)| path),
    };
    entries.finish(misplaced::in_endpoint, diagnostics);
    options.is_complete = diagnostics.len() == before;
    options
}

fn retry(entries: &mut Entries, diagnostics: &mut Diagnostics) -> Option<Retry> {
    let expected =
        Expected { attribute: "`retry(..)`", explain: misplaced::not_of_retry, quotes_keys: false };
    let (_, mut entries) = entries.nested("retry", "attempts = 5", expected, diagnostics)?;
    let retry = Retry {
        attempts: entries.integer("attempts", 1..=u32::MAX, diagnostics),
        delay: entries.duration("delay", diagnostics),
        max_delay: entries.duration("max_delay", diagnostics),
    };
    entries.finish(misplaced::in_retry, diagnostics);
    Some(retry)
}

fn batch(entries: &mut Entries, diagnostics: &mut Diagnostics) -> Option<BatchRule> {
    let expected =
        Expected { attribute: "`batch(..)`", explain: misplaced::not_of_batch, quotes_keys: false };
    let (key, mut entries) = entries.nested("batch", "size = 100", expected, diagnostics)?;
    let batch = BatchRule {
        key,
        size: entries.integer("size", 1..=u16::MAX, diagnostics),
        timeout: entries.duration("timeout", diagnostics),
        bytes: entries.integer("bytes", 1..=usize::MAX, diagnostics),
    };
    entries.finish(misplaced::in_batch, diagnostics);
    Some(batch)
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

/// Reads the members. What is wrong in an attribute is reported; what cannot be read ends the block.
fn members(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    diagnostics: &mut Diagnostics,
) -> Result<(), Unread> {
    let mut at = input.span();
    let syntax = |at| move |_| Unread::syntax(at);
    Attribute::parse_inner(input).map_err(syntax(at))?;
    while !input.is_empty() {
        at = input.span();
        if is_statement(input) {
            return Err(Unread { what: "a macro invocation", at });
        }
        member(input, endpoint, diagnostics).map_err(syntax(at))?;
    }
    Ok(())
}

fn member(
    input: ParseStream<'_>,
    endpoint: &mut Endpoint,
    diagnostics: &mut Diagnostics,
) -> syn::Result<()> {
    let attributes = Attribute::parse_outer(input)?;
    input.parse::<Visibility>()?;
    if is_word(input, "default") && !input.peek2(Token![!]) {
        input.parse::<Ident>()?;
    }
    if is_function(input) {
        let signature: Signature = input.parse()?;
        body(input)?;
        if signature.variadic.is_some() {
            // rustc reports it.
            return Err(input.error("variadic"));
        }
        endpoint.methods.push(method(&attributes, signature, diagnostics));
        return Ok(());
    }
    if input.peek(Token![const]) || input.peek(Token![type]) {
        constant_or_type(input)?;
    } else {
        let path = invocation(input)?;
        endpoint.macros.push(quote!(#path));
    }
    if let Some(on) =
        attributes.iter().find(|attribute| original::is_on(&attribute.meta.to_token_stream()))
    {
        let help = "move it above the method that handles these priorities";
        diagnostics.on(on, "`#[on(..)]` can only be applied to methods", help);
    }
    Ok(())
}

/// The braces of a method's body, or the `;` instead of them, which rustc reports.
fn body(input: ParseStream<'_>) -> syn::Result<()> {
    if input.parse::<Option<Token![;]>>()?.is_none() {
        if !input.peek(token::Brace) {
            return Err(input.error("expected a body"));
        }
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// `const NAME: Type = value;` or `type Name = Type;`, to its `;`.
fn constant_or_type(input: ParseStream<'_>) -> syn::Result<()> {
    input.parse::<TokenTree>()?;
    input.call(Ident::parse_any)?;
    if !input.peek(Token![:]) && !input.peek(Token![<]) && !input.peek(Token![=]) {
        return Err(input.error("expected a type"));
    }
    while input.parse::<Option<Token![;]>>()?.is_none() {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// Whether a macro of the standard library follows that cannot expand to methods: rustc reports it.
fn is_statement(input: ParseStream<'_>) -> bool {
    const STATEMENTS: &[&str] = &[
        "assert",
        "assert_eq",
        "assert_ne",
        "dbg",
        "eprint",
        "eprintln",
        "format",
        "panic",
        "print",
        "println",
        "todo",
        "unimplemented",
        "unreachable",
        "vec",
        "write",
        "writeln",
    ];
    input.peek2(Token![!]) && STATEMENTS.iter().any(|name| is_word(input, name))
}

/// `path!(..);` or `path! { .. }`: its path.
fn invocation(input: ParseStream<'_>) -> syn::Result<syn::Path> {
    let path: syn::Path = input.call(syn::Path::parse_mod_style)?;
    input.parse::<Token![!]>()?;
    let TokenTree::Group(group) = input.parse()? else {
        return Err(input.error("expected a delimiter"));
    };
    if !is_braces(&TokenTree::Group(group)) {
        input.parse::<Token![;]>()?;
    }
    Ok(path)
}

fn is_word(input: ParseStream<'_>, word: &str) -> bool {
    input.fork().parse::<Ident>().is_ok_and(|other| other == word)
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

fn method(attributes: &[Attribute], signature: Signature, diagnostics: &mut Diagnostics) -> Method {
    let on = attributes
        .iter()
        .filter(|attribute| original::is_on(&attribute.meta.to_token_stream()))
        .map(|attribute| on(attribute, diagnostics))
        .collect();
    let arguments = signature
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(typed) => Some(typed),
        })
        .map(|typed| {
            let ty = ungrouped((*typed.ty).clone());
            Argument::new(conditions::of(&typed.attrs), &typed.pat, ty)
        })
        .collect();
    let find = |is: fn(&TokenStream) -> bool| {
        attributes.iter().find(|attribute| is(&attribute.meta.to_token_stream())).cloned()
    };
    Method {
        cfg: conditions::of(attributes),
        conditional_on: find(original::is_conditional_on),
        misnamed_attribute: find(|attribute| original::meant_as(attribute).is_some()),
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
    let expected = Expected {
        attribute: "`#[on(..)]`",
        explain: misplaced::not_a_priority,
        quotes_keys: false,
    };
    let before = diagnostics.len();
    let mut entries = Entries::read(expected, tokens, diagnostics);
    let filter = filter(&mut entries, diagnostics);
    let batch = batch(&mut entries, diagnostics);
    let priorities = entries.flags();
    entries.finish(misplaced::in_on_with_value, diagnostics);
    let is_complete = diagnostics.len() == before;
    On { attribute: attribute.clone(), priorities, filter, batch, is_complete }
}
