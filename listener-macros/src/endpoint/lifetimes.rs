//! Lifetimes in the types of a signature, for use outside of the method, where its lifetime parameters are
//! not in scope. Called by `expand.rs` and `static_types.rs` for each type, and by `check`.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Signature, Type};

use crate::endpoint::tokens;

/// The type with `'_` for every lifetime but `'static`. Those that the type itself declares (`for<'a>`) stay.
pub(crate) fn inferred(ty: &Type) -> TokenStream {
    let tokens = ty.to_token_stream();
    let declared = declared(tokens.clone());
    let is_kept = |name: &Ident| name == "static" || declared.iter().any(|other| other == name);
    replace(tokens, &|name| if is_kept(name) { name.clone() } else { Ident::new("_", name.span()) })
}

/// The names of the lifetimes in a type that it does not declare itself.
pub(crate) fn names(ty: &Type) -> Vec<String> {
    let tokens = tokens::flat(ty.to_token_stream());
    let declared = declared(ty.to_token_stream());
    let free = tokens::lifetimes(&tokens).filter(|name| !declared.contains(name));
    free.map(Ident::to_string).collect()
}

/// A lifetime of a type that neither the method nor the type itself declares.
pub(crate) fn undeclared(ty: &Type, signature: &Signature) -> Option<String> {
    let parameters = || signature.generics.lifetimes().map(|parameter| &parameter.lifetime.ident);
    let is_declared = |name: &str| {
        name == "static" || name == "_" || parameters().any(|parameter| parameter == name)
    };
    names(ty).into_iter().find(|name| !is_declared(name))
}

/// Whether `'static` occurs anywhere in the type.
pub(crate) fn has_static(ty: &Type) -> bool {
    names(ty).iter().any(|name| name == "static")
}

/// Whether another lifetime than `'static` occurs in the type, by name or in `&T`.
pub(crate) fn has_elided(ty: &Type) -> bool {
    let elided = of_references(ty.to_token_stream()).iter().any(Option::is_none);
    elided || names(ty).iter().any(|name| name != "static")
}

/// The lifetime of each reference, `None` if it is elided.
pub(crate) fn of_references(tokens: TokenStream) -> Vec<Option<String>> {
    let tokens = tokens::flat(tokens);
    let lifetime = |(at, _): (usize, &TokenTree)| {
        let named = tokens::is_punct(tokens.get(at + 1), '\'');
        let name = tokens.get(at + 2).filter(|_| named);
        name.map(ToString::to_string).filter(|name| name != "_")
    };
    let references =
        tokens.iter().enumerate().filter(|(_, token)| tokens::is_punct(Some(token), '&'));
    references.map(lifetime).collect()
}

/// The lifetimes in `for<..>`.
fn declared(tokens: TokenStream) -> Vec<Ident> {
    let tokens = tokens::flat(tokens);
    let (mut declared, mut inside) = (Vec::new(), false);
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => {
                inside |= tokens::is_word(before, "for");
            }
            TokenTree::Punct(punct) if punct.as_char() == '>' => inside = false,
            TokenTree::Ident(name) if inside && tokens::is_punct(before, '\'') => {
                declared.push(name.clone());
            }
            _ => {}
        }
    }
    declared
}

/// Replaces the name of each lifetime.
fn replace(tokens: TokenStream, name: &dyn Fn(&Ident) -> Ident) -> TokenStream {
    let mut after_quote = false;
    let one = |token: TokenTree| {
        let is_quote = tokens::is_punct(Some(&token), '\'');
        let follows_quote = std::mem::replace(&mut after_quote, is_quote);
        match token {
            TokenTree::Ident(word) if follows_quote => name(&word).into(),
            TokenTree::Group(group) => {
                let mut replaced = Group::new(group.delimiter(), replace(group.stream(), name));
                replaced.set_span(group.span());
                replaced.into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(one).collect()
}

/// Spans at the first and at the last token of a type: an expression from one to the other is reported at
/// the type. They are spans of generated code, to which rustc does not suggest changes.
pub(crate) fn ends(ty: &Type) -> (Span, Span) {
    let mut tokens = ty.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (Span::call_site().located_at(first), Span::call_site().located_at(last))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[track_caller]
    fn check(replaced: &TokenStream, expected: &Type) {
        assert_eq!(replaced.to_string(), expected.to_token_stream().to_string());
    }

    #[test]
    fn lifetimes_of_a_signature_are_inferred() {
        let ty: Type = parse_quote!((&'a str, Fault<'static, 'a>, &'b [&'_ u8]));
        check(&inferred(&ty), &parse_quote!((&'_ str, Fault<'static, '_>, &'_ [&'_ u8])));
    }

    #[test]
    fn lifetimes_that_a_type_declares_are_kept() {
        let ty: Type = parse_quote!(State<Box<dyn for<'x> Fn(&'x str, &'a u8)>>);
        check(&inferred(&ty), &parse_quote!(State<Box<dyn for<'x> Fn(&'x str, &'_ u8)>>));
    }

    #[test]
    fn lifetimes_that_nothing_declares_are_found() {
        let signature: Signature = parse_quote!(fn f<'a>(&self));
        for declared in ["&'a u8", "Fault<'_>", "&'static u8", "Box<dyn for<'x> Fn(&'x u8)>", "u8"]
        {
            let ty = syn::parse_str(declared).expect("a type");
            assert_eq!(undeclared(&ty, &signature), None, "{declared}");
        }
        let ty = parse_quote!(Result<(), (Fault<'b>,)>);
        assert_eq!(undeclared(&ty, &signature), Some("b".to_owned()));
    }

    #[test]
    fn lifetimes_other_than_static_are_found() {
        assert!(has_elided(&parse_quote!(&str)));
        assert!(has_elided(&parse_quote!(Fault<'_>)));
        assert!(!has_elided(&parse_quote!(&'static str)));
        assert!(!has_elided(&parse_quote!(State<Box<dyn for<'x> Fn(Key<'x>)>>)));
        let references = of_references(parse_quote!(&'a mut (Fault<'b>, &u8, &'_ u8)));
        assert_eq!(references, [Some("a".to_owned()), None, None]);
    }

    #[test]
    fn static_is_found_at_any_depth() {
        assert!(has_static(&parse_quote!(Vec<(Fault<'static>, u8)>)));
        assert!(!has_static(&parse_quote!(Fault<'_>)));
    }
}
