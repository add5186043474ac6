//! Checks the tokens of an argument. The compiler checks, at the type, whether the type can be
//! extracted; rejected here are types that only a named argument can have.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

use crate::diagnostic::Diagnostics;
use crate::endpoint::ast::{Argument, Source, type_text};
use crate::endpoint::{lifetimes, tokens, type_path};

/// All errors in an argument of an endpoint of type `self_type`.
pub(crate) fn check(argument: &Argument, self_type: &Type, diagnostics: &mut Diagnostics) {
    let ty = &argument.ty;
    let source = argument.source();
    if names_impl(ty) {
        diagnostics.on(
            ty,
            "an argument of an endpoint method cannot be `impl Trait`",
            "use a concrete type",
        );
    } else if is_endpoint(ty, self_type) {
        let name =
            argument.name.as_ref().map_or("this argument".to_owned(), |name| format!("`{name}`"));
        diagnostics.on(
            ty,
            format_args!("{name} is the endpoint, but not the receiver"),
            "take `&self`: the listener passes the instance as the receiver only",
        );
    } else if matches!(ty, Type::Reference(reference) if reference.mutability.is_some()) {
        let message = "an argument of an endpoint method cannot be `&mut`";
        diagnostics.on(ty, message, accepted(source));
    } else if source != Source::ByType && is_static_reference(ty) {
        diagnostics.on(
            ty,
            "an argument of an endpoint method cannot be `&'static`: it borrows from the notification",
            "remove `'static`, or take an owned value",
        );
    } else if is_static_notification(ty) {
        diagnostics.on(
            ty,
            "an argument cannot borrow for `'static`: it borrows from its notification",
            "leave `'static` out: `&Notification<'_>`",
        );
    } else if source == Source::ByType
        && let Some(candidates) = named_candidates(ty)
    {
        misnamed(argument, candidates, diagnostics);
    }
}

/// Reports a named argument that is taken twice: with and without `_`. Two of the very same name are an
/// error of rustc.
pub(crate) fn check_all(arguments: &[Argument], diagnostics: &mut Diagnostics) {
    for (at, second) in arguments.iter().enumerate() {
        let is_first = |first: &&Argument| {
            first.source() != Source::ByType
                && first.source() == second.source()
                && first.name != second.name
                && first.cfg.is_empty()
                && second.cfg.is_empty()
        };
        if let Some(first) = arguments[..at].iter().find(is_first) {
            let (first, second) = (&first.name, &second.name);
            let message = format!("duplicate argument `{}`", second.to_token_stream());
            let help = format!(
                "remove one of the two: `{}` is the same part of the notification",
                first.to_token_stream()
            );
            diagnostics.on(second, message, help);
        }
    }
}

/// What an argument may be instead.
fn accepted(source: Source) -> &'static str {
    match source {
        Source::Context => {
            "take `ctxt: &Context`, or a type that implements `Deserialize`, by value"
        }
        Source::PublisherId | Source::EventType => {
            "take `&str`, `Option<&str>`, `String` or `Option<String>`"
        }
        Source::Payload => "take a type that implements `Deserialize`, by value",
        Source::Metadata => "take `metadata: &Metadata`",
        Source::Batch => "take `batch: Batch<'_, T>`, where `T` is the type of the payload",
        Source::ByType => "take a value or a shared reference",
    }
}

/// Whether a type is a reference to the endpoint.
fn is_endpoint(ty: &Type, self_type: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let is_self = matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self"));
    is_self || type_text(&reference.elem) == type_text(self_type)
}

/// Whether a type is `&'static T`, or consists of such values: nothing can be deserialized into it.
fn is_static_reference(ty: &Type) -> bool {
    const OF_VALUES: &[&str] = &["BTreeMap", "Box", "HashMap", "Option", "Result", "Vec"];
    match ty {
        Type::Reference(reference) => {
            reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
        }
        Type::Tuple(tuple) => tuple.elems.iter().any(is_static_reference),
        Type::Array(array) => is_static_reference(&array.elem),
        Type::Path(_) => {
            type_path::last_name(ty).is_some_and(|name| OF_VALUES.contains(&name.as_str()))
                && type_path::all_arguments(ty).into_iter().any(is_static_reference)
        }
        _ => false,
    }
}

/// Whether a type is `&Notification<'static>`, alone or in an `Option`: an elided lifetime next to `'static`,
/// which the compiler cannot judge.
fn is_static_notification(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => {
            type_path::last_name(&reference.elem).is_some_and(|name| name == "Notification")
                && lifetimes::has_static(&reference.elem)
        }
        _ => type_path::arguments(ty, "Option").into_iter().any(is_static_notification),
    }
}

/// The named arguments that can have this type, if no extractor can have it.
fn named_candidates(ty: &Type) -> Option<&'static [&'static str]> {
    const TEXT: &[&str] = &["publisher_id", "event_type", "payload"];
    match ty {
        Type::Reference(reference) => match type_path::last_name(&reference.elem)?.as_str() {
            "Context" => Some(&["ctxt"]),
            "Metadata" => Some(&["metadata"]),
            "RawValue" | "Value" => Some(&["payload"]),
            "str" => Some(TEXT),
            _ => None,
        },
        Type::Path(_) => match type_path::last_name(ty)?.as_str() {
            "String" => Some(TEXT),
            "Batch" => Some(&["batch"]),
            "Option" => named_candidates(type_path::first_argument(ty, "Option")?)
                .filter(|names| *names == TEXT),
            _ => None,
        },
        _ => None,
    }
}

fn misnamed(argument: &Argument, candidates: &'static [&str], diagnostics: &mut Diagnostics) {
    let ty = &argument.ty;
    let similar = argument.similar_name().filter(|similar| candidates.contains(similar));
    let help = match (similar, candidates) {
        (Some(name), _) | (None, &[name]) => format!("did you mean `{name}`?"),
        (None, names) => format!("name the argument {}", alternatives(names)),
    };
    let name = match &argument.name {
        Some(name) => format!("`{name}` is not a named argument"),
        None => "this argument has no name".to_owned(),
    };
    let at = argument.name.as_ref().map_or_else(|| ty.to_token_stream(), ToTokens::to_token_stream);
    diagnostics.on(at, format_args!("{name}, and `{}` is not an extractor", type_text(ty)), help);
}

/// `a`, `b` or `c`, each in backticks.
fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether a value of a type cannot be an argument, because its size is not known.
pub(crate) fn is_unsized(ty: &Type) -> bool {
    match ty {
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Path(path) => path.path.is_ident("str"),
        _ => false,
    }
}

/// Whether `_` occurs as a type anywhere in a type.
pub(crate) fn has_placeholder(ty: &Type) -> bool {
    let tokens = tokens::flat(ty.to_token_stream());
    let is_name = |at: usize| at > 0 && tokens::is_punct(tokens.get(at - 1), '\'');
    let is_placeholder = |(at, token)| tokens::is_word(Some(token), "_") && !is_name(at);
    tokens.iter().enumerate().any(is_placeholder)
}

/// Whether `impl Trait` occurs anywhere in a type.
pub(crate) fn names_impl(ty: &Type) -> bool {
    any(ty.to_token_stream(), &|token, _| matches!(token, TokenTree::Ident(word) if word == "impl"))
}

/// Whether a lifetime other than `'static` occurs anywhere in a type.
pub(crate) fn names_lifetime(ty: &Type) -> bool {
    any(ty.to_token_stream(), &|token, next| {
        matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\'')
            && !matches!(next, Some(TokenTree::Ident(name)) if name == "static")
    })
}

/// Whether any token, with the token after it, satisfies the predicate; groups are searched too.
fn any(tokens: TokenStream, predicate: &impl Fn(&TokenTree, Option<&TokenTree>) -> bool) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| {
        predicate(token, tokens.get(at + 1))
            || matches!(token, TokenTree::Group(group) if any(group.stream(), predicate))
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn check(ty: &Type, expected: Option<&[&str]>) {
        assert_eq!(named_candidates(ty), expected, "{}", type_text(ty));
    }

    #[test]
    fn a_type_of_named_arguments_only_is_recognised() {
        check(&parse_quote!(&Context), Some(&["ctxt"]));
        check(&parse_quote!(&listener::Metadata), Some(&["metadata"]));
        let text: &[&str] = &["publisher_id", "event_type", "payload"];
        check(&parse_quote!(&str), Some(text));
        check(&parse_quote!(Option<&'a str>), Some(text));
        check(&parse_quote!(&serde_json::Value), Some(&["payload"]));
    }

    #[test]
    fn any_other_type_may_be_an_extractor() {
        check(&parse_quote!(&Notification<'_>), None);
        check(&parse_quote!(State<Db>), None);
        check(&parse_quote!(Context), None);
        check(&parse_quote!(Option<Tenant>), None);
    }

    #[test]
    fn only_values_of_static_references_are_rejected() {
        assert!(is_static_reference(&parse_quote!(&'static str)));
        assert!(is_static_reference(&parse_quote!(Option<Vec<(u8, &'static str)>>)));
        assert!(!is_static_reference(&parse_quote!(Tagged<&'static str>)));
        assert!(!is_static_reference(&parse_quote!(Cow<'static, str>)));
    }

    #[test]
    fn a_reference_to_the_endpoint_is_recognized() {
        let billing = parse_quote!(Billing<u8>);
        assert!(is_endpoint(&parse_quote!(&Self), &billing));
        assert!(is_endpoint(&parse_quote!(&'a Billing<u8>), &billing));
        assert!(!is_endpoint(&parse_quote!(&Billing<u16>), &billing));
        assert!(!is_endpoint(&parse_quote!(Arc<Self>), &billing));
    }

    #[test]
    fn impl_and_lifetimes_are_found_at_any_depth() {
        assert!(names_impl(&parse_quote!(Vec<(u8, impl Copy)>)));
        assert!(!names_impl(&parse_quote!(Vec<Implement>)));
        assert!(names_lifetime(&parse_quote!(Billing<(&'a str,)>)));
        assert!(!names_lifetime(&parse_quote!(Billing<&'static str>)));
    }
}
