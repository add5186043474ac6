//! The user's own block, emitted as it was written but for the `#[on(..)]` of its methods:
//! bodies are passed on as tokens and never parsed, so nothing in them can be lost or
//! misread. Called for every block, whether it has mistakes or not.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The item without the `#[on]` attributes at the top level of its braces.
pub(crate) fn without_on(item: &TokenStream) -> TokenStream {
    let mut tokens: Vec<TokenTree> = item.clone().into_iter().collect();
    if let Some(TokenTree::Group(body)) = tokens.pop_if(|last| is_braces(last)) {
        let mut stripped = Group::new(Delimiter::Brace, strip(body.stream()));
        stripped.set_span(body.span());
        tokens.push(stripped.into());
    }
    tokens.into_iter().collect()
}

/// Whether the token is `{ .. }`.
pub(crate) fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn strip(body: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in body {
        let hash = matches!(kept.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#');
        if hash && is_on(&token) {
            kept.pop();
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

/// Whether the token is `[on]`, `[on(..)]` or another form of it.
fn is_on(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else {
        return false;
    };
    let mut inside = group.stream().into_iter();
    group.delimiter() == Delimiter::Bracket
        && matches!(inside.next(), Some(TokenTree::Ident(name)) if name == "on")
        && !matches!(inside.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[track_caller]
    fn check(item: TokenStream, expected: TokenStream) {
        assert_eq!(without_on(&item).to_string(), expected.to_string());
    }

    #[test]
    fn on_goes_and_all_else_stays() {
        check(
            quote! {
                #[allow(unused)]
                impl Billing {
                    /// Documented.
                    #[on(info, warn)]
                    #[cfg(test)]
                    fn f(&self) { #[on(stays)] let _ = [on(1)]; }
                    #[on] fn g() {}
                    #[on::path] const N: u8 = 1;
                }
            },
            quote! {
                #[allow(unused)]
                impl Billing {
                    /// Documented.
                    #[cfg(test)]
                    fn f(&self) { #[on(stays)] let _ = [on(1)]; }
                    fn g() {}
                    #[on::path] const N: u8 = 1;
                }
            },
        );
    }

    #[test]
    fn what_has_no_braces_stays() {
        check(
            quote!(
                struct Billing;
            ),
            quote!(
                struct Billing;
            ),
        );
    }
}
