//! Small questions about tokens, for what `syn` does not parse: attributes and members of a block, which
//! `original.rs` copies, and lifetimes anywhere in a type, for `lifetimes.rs`.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// Whether the token is this character.
pub(crate) fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether the token is this word.
pub(crate) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(name)) if name == word)
}

/// All tokens of a type, those in groups too. Without blocks, which are expressions, and without the input of
/// macros.
pub(crate) fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flattened: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let is_input = is_punct(flattened.last(), '!');
                if group.delimiter() != Delimiter::Brace && !is_input {
                    flattened.extend(flat(group.stream()));
                }
            }
            other => flattened.push(other),
        }
    }
    flattened
}

/// The names of the lifetimes in tokens, such as `static` and `_`.
pub(crate) fn lifetimes(tokens: &[TokenTree]) -> impl Iterator<Item = &Ident> {
    tokens.windows(2).filter_map(|pair| match pair {
        [quote, TokenTree::Ident(name)] if is_punct(Some(quote), '\'') => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ty: &str, expected: &[&str]) {
        let tokens = flat(ty.parse().expect("tokens"));
        let names: Vec<String> = lifetimes(&tokens).map(Ident::to_string).collect();
        assert_eq!(names, expected, "{ty}");
    }

    #[test]
    fn lifetimes_are_found_at_any_depth_of_a_type() {
        check("&'a str", &["a"]);
        check("Vec<(Fault<'static>, [&'_ u8; 2])>", &["static", "_"]);
        check("u8", &[]);
    }

    #[test]
    fn labels_and_the_input_of_macros_are_not_lifetimes_of_a_type() {
        check("[u8; { 'l: loop { break 'l 3; } }]", &[]);
        check("ty!('x)", &[]);
    }
}
