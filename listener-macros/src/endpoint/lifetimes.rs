//! Lifetimes in the types of a signature, for use outside of the method, where its lifetime parameters are
//! not in scope. Called by `expand.rs` for each argument and for the returned type, and by `signature.rs`.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Signature, Type};

/// The type with `'_` for every lifetime but `'static`. Those that the type itself declares (`for<'a>`) stay.
pub(crate) fn inferred(ty: &Type) -> TokenStream {
    let tokens = ty.to_token_stream();
    let declared = declared(tokens.clone());
    let is_kept = |name: &Ident| name == "static" || declared.iter().any(|other| other == name);
    replace(tokens, &|name| if is_kept(name) { name.clone() } else { Ident::new("_", name.span()) })
}

/// Whether a type names a lifetime that neither the method nor the type itself declares.
pub(crate) fn has_undeclared(ty: &Type, signature: &Signature) -> bool {
    let tokens = ty.to_token_stream();
    let declared = declared(tokens.clone());
    let parameters = || signature.generics.lifetimes().map(|parameter| &parameter.lifetime.ident);
    let mut found = false;
    visit(tokens, &mut |token, next| {
        let is_quote = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        if let Some(TokenTree::Ident(name)) = next.filter(|_| is_quote) {
            let is_declared = name == "static"
                || name == "_"
                || declared.iter().chain(parameters()).any(|declared| declared == name);
            found |= !is_declared;
        }
    });
    found
}

/// Whether `'static` occurs anywhere in the type.
pub(crate) fn has_static(ty: &Type) -> bool {
    let mut found = false;
    visit(ty.to_token_stream(), &mut |token, next| {
        let is_quote = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        found |= is_quote && matches!(next, Some(TokenTree::Ident(name)) if name == "static");
    });
    found
}

/// The lifetimes in `for<..>`.
fn declared(tokens: TokenStream) -> Vec<Ident> {
    let (mut declared, mut inside, mut after_for, mut after_quote) =
        (Vec::new(), false, false, false);
    visit(tokens, &mut |token, _| {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' && after_for => inside = true,
            TokenTree::Punct(punct) if punct.as_char() == '>' => inside = false,
            TokenTree::Ident(name) if inside && after_quote => declared.push(name.clone()),
            _ => {}
        }
        after_for = matches!(token, TokenTree::Ident(word) if word == "for");
        after_quote = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '\'');
    });
    declared
}

/// Calls a function for each token and the one after it; groups are searched too.
fn visit(tokens: TokenStream, each: &mut dyn FnMut(&TokenTree, Option<&TokenTree>)) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        each(&token, tokens.peek());
        if let TokenTree::Group(group) = &token {
            visit(group.stream(), each);
        }
    }
}

/// Replaces the name of each lifetime.
fn replace(tokens: TokenStream, name: &dyn Fn(&Ident) -> Ident) -> TokenStream {
    let mut after_quote = false;
    let one = |token: TokenTree| {
        let is_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
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

/// The places of the first and of the last token of a type: an expression from one to the other is reported at
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
            assert!(!has_undeclared(&ty, &signature), "{declared}");
        }
        assert!(has_undeclared(&parse_quote!(Result<(), (Fault<'b>,)>), &signature));
    }

    #[test]
    fn static_is_found_at_any_depth() {
        assert!(has_static(&parse_quote!(Vec<(Fault<'static>, u8)>)));
        assert!(!has_static(&parse_quote!(Fault<'_>)));
    }
}
