//! Types of a method's signature for use outside of the method, where its lifetime parameters are
//! not in scope. Called by `expand.rs` for each argument and for the returned type.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Signature, Type};

/// The type with the method's lifetime parameters replaced by `'_`.
pub(crate) fn inferred(ty: &Type, signature: &Signature) -> TokenStream {
    let names: Vec<&Ident> =
        signature.generics.lifetimes().map(|parameter| &parameter.lifetime.ident).collect();
    if names.is_empty() {
        return ty.to_token_stream();
    }
    replace(ty.to_token_stream(), &names)
}

fn replace(tokens: TokenStream, names: &[&Ident]) -> TokenStream {
    let mut after_quote = false;
    let one = |token: TokenTree| {
        let is_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
        let follows_quote = std::mem::replace(&mut after_quote, is_quote);
        match token {
            TokenTree::Ident(name)
                if follows_quote && names.iter().any(|named| **named == name) =>
            {
                Ident::new("_", name.span()).into()
            }
            TokenTree::Group(group) => {
                let mut inferred = Group::new(group.delimiter(), replace(group.stream(), names));
                inferred.set_span(group.span());
                inferred.into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn lifetime_parameters_of_a_method_are_inferred() {
        let a: Ident = parse_quote!(a);
        let ty: Type = parse_quote!((&'a str, Fault<'static, 'a>, &'b [&'a u8]));
        let expected: Type = parse_quote!((&'_ str, Fault<'static, '_>, &'b [&'_ u8]));
        let inferred = replace(ty.to_token_stream(), &[&a]).to_string();
        assert_eq!(inferred, expected.to_token_stream().to_string());
    }
}
