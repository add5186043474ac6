//! Mistakes of an argument that can be seen in its tokens. Whether a type can be taken at all
//! is for the compiler to say, at the type; what is rejected here are types that can be
//! nothing but an argument whose name was missed.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

use crate::endpoint::ast::{Argument, Source, written};
use crate::endpoint::generic;
use crate::mistake::Mistakes;

/// Every mistake of an argument.
pub(crate) fn check(argument: &Argument, mistakes: &mut Mistakes) {
    let ty = &argument.ty;
    if names_impl(ty) {
        mistakes.on(
            ty,
            "an argument of an endpoint method cannot be `impl Trait`",
            "write the concrete type",
        );
    } else if matches!(ty, Type::Reference(reference) if reference.mutability.is_some()) {
        mistakes.on(
            ty,
            "an argument of an endpoint method cannot be `&mut`",
            "take a value, or a shared reference",
        );
    } else if argument.source() != Source::ByType && is_static_reference(ty) {
        mistakes.on(
            ty,
            "an argument of an endpoint method cannot be `&'static`: the notification that it borrows from ends",
            "leave `'static` out, or take a value that owns what it holds",
        );
    } else if matches!(ty, Type::Infer(_)) {
        mistakes.on(ty, "the type of an argument must be written", "write it");
    } else if argument.source() == Source::ByType
        && let Some(candidates) = named_candidates(ty)
    {
        misnamed(argument, candidates, mistakes);
    }
}

/// Whether a type is `&'static T`, alone or in an `Option` or a `Result`.
fn is_static_reference(ty: &Type) -> bool {
    let inner = generic::first_of(ty, "Option").or_else(|| generic::first_of(ty, "Result"));
    match inner.unwrap_or(ty) {
        Type::Reference(reference) => {
            reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
        }
        _ => false,
    }
}

/// The arguments by name that a type can be meant for, if it can be nothing else.
fn named_candidates(ty: &Type) -> Option<&'static [&'static str]> {
    const TEXT: &[&str] = &["publisher_id", "event_type", "payload"];
    match ty {
        Type::Reference(reference) => match generic::name(&reference.elem)?.as_str() {
            "Context" => Some(&["ctxt"]),
            "Metadata" => Some(&["metadata"]),
            "RawValue" | "Value" => Some(&["payload"]),
            "str" => Some(TEXT),
            _ => None,
        },
        Type::Path(_) => match generic::name(ty)?.as_str() {
            "String" => Some(TEXT),
            "Option" => {
                named_candidates(generic::first_of(ty, "Option")?).filter(|names| *names == TEXT)
            }
            _ => None,
        },
        _ => None,
    }
}

fn misnamed(argument: &Argument, candidates: &'static [&str], mistakes: &mut Mistakes) {
    let ty = &argument.ty;
    let near = argument.meant().filter(|near| candidates.contains(near));
    let meant = match (near, candidates) {
        (Some(name), _) | (None, &[name]) => format!("did you mean `{name}`?"),
        (None, names) => format!("name it {}", alternatives(names)),
    };
    let found = match &argument.name {
        Some(name) => format!("argument `{name}` is not one that is taken by name"),
        None => "this argument has no name".to_owned(),
    };
    let at = argument.name.as_ref().map_or_else(|| ty.to_token_stream(), ToTokens::to_token_stream);
    mistakes.on(
        at,
        format_args!("{found}, and a `{}` cannot be taken by its type", written(ty)),
        format_args!("arguments are taken by name: {meant}"),
    );
}

/// `a`, `b` or `c`, each in backquotes.
fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether `impl Trait` stands anywhere in a type.
pub(crate) fn names_impl(ty: &Type) -> bool {
    any(ty.to_token_stream(), &|token, _| matches!(token, TokenTree::Ident(word) if word == "impl"))
}

/// Whether a lifetime other than `'static` stands anywhere in a type.
pub(crate) fn names_lifetime(ty: &Type) -> bool {
    any(ty.to_token_stream(), &|token, next| {
        matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\'')
            && !matches!(next, Some(TokenTree::Ident(name)) if name == "static")
    })
}

/// Whether some token, seen with the one behind it, satisfies the question.
fn any(tokens: TokenStream, question: &impl Fn(&TokenTree, Option<&TokenTree>) -> bool) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| {
        question(token, tokens.get(at + 1))
            || matches!(token, TokenTree::Group(group) if any(group.stream(), question))
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn check(ty: &Type, expected: Option<&[&str]>) {
        assert_eq!(named_candidates(ty), expected, "{}", written(ty));
    }

    #[test]
    fn a_type_that_can_only_be_taken_by_name_is_known() {
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
    fn impl_and_lifetimes_are_found_at_any_depth() {
        assert!(names_impl(&parse_quote!(Vec<(u8, impl Copy)>)));
        assert!(!names_impl(&parse_quote!(Vec<Implement>)));
        assert!(names_lifetime(&parse_quote!(Billing<(&'a str,)>)));
        assert!(!names_lifetime(&parse_quote!(Billing<&'static str>)));
    }
}
