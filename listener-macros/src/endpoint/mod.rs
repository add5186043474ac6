//! The pipeline of `#[notification_endpoint]`: tokens -> `parse` -> `check` -> `expand`, or
//! `fallback` after an error. Called by the entry point in `lib.rs`.

mod ast;
mod batch;
mod call;
mod check;
mod conditions;
mod misplaced;
mod expand;
mod fallback;
mod known_types;
mod type_path;
mod lifetimes;
mod original;
mod static_types;
mod tokens;
mod parse;

use proc_macro2::TokenStream;

use crate::endpoint::ast::Endpoint;
use crate::endpoint::parse::{Item, Unread};

/// Expands the attribute with `options` on `item`.
pub(crate) fn notification_endpoint(options: TokenStream, item: &TokenStream) -> Expansion {
    let (parsed, mut diagnostics) = parse::item(options, item);
    let endpoint = match parsed {
        Item::Block(endpoint) => endpoint,
        Item::Broken(endpoint, reason) => {
            let tokens = fallback::broken(endpoint.as_ref(), &diagnostics, item, &reason);
            return Expansion { name: endpoint.as_ref().map(name), tokens };
        }
        Item::Other => {
            return Expansion { name: None, tokens: fallback::other(&diagnostics, item) };
        }
    };
    diagnostics.append(check::endpoint(&endpoint));
    let tokens = if !diagnostics.is_empty() {
        fallback::endpoint(&endpoint, &diagnostics, item)
    } else if let Some(method) = check::reported_by_rustc(&endpoint) {
        // Generated code would report it again.
        let reason = Unread { what: "a type", at: method.signature.ident.span() };
        fallback::broken(Some(&endpoint), &diagnostics, item, &reason)
    } else {
        block(&endpoint, item)
    };
    Expansion { name: Some(name(&endpoint)), tokens }
}

fn name(endpoint: &Endpoint) -> String {
    expand::name(&endpoint.self_type)
}

/// A block without errors, and what is generated for it.
fn block(endpoint: &Endpoint, item: &TokenStream) -> TokenStream {
    let item = original::without_on(item);
    let generated = expand::endpoint(endpoint);
    let warnings = check::warnings(endpoint);
    // The listener prescribes the signatures of methods, so these lints do not apply.
    quote::quote! {
        #[allow(
            clippy::needless_pass_by_value,
            clippy::too_many_arguments,
            clippy::trivially_copy_pass_by_ref,
            clippy::unnecessary_wraps,
            clippy::unused_async,
            clippy::unused_self
        )]
        #item
        #generated
        #warnings
    }
}

/// The emitted tokens, and the name of the endpoint's type if the item is an impl block.
pub(crate) struct Expansion {
    pub(crate) name: Option<String>,
    pub(crate) tokens: TokenStream,
}

#[cfg(test)]
mod tests {
    use proc_macro2::{Span, TokenTree};

    use super::*;

    /// A token, or the brace of a group, and its place.
    fn flat(tokens: TokenStream) -> Vec<(String, [usize; 4])> {
        let place = |span: Span| {
            let (start, end) = (span.start(), span.end());
            [start.line, start.column, end.line, end.column]
        };
        let mut flattened = Vec::new();
        for token in tokens {
            let TokenTree::Group(group) = token else {
                flattened.push((token.to_string(), place(token.span())));
                continue;
            };
            flattened.push((format!("open {:?}", group.delimiter()), place(group.span_open())));
            flattened.extend(flat(group.stream()));
            flattened.push((format!("close {:?}", group.delimiter()), place(group.span_close())));
        }
        flattened
    }

    /// The item is in the expansion, without a change of a token or a place, and no second time.
    #[track_caller]
    fn check_unchanged(item: &str) {
        let tokens: TokenStream = item.parse().expect("tokens");
        let original = flat(tokens.clone());
        let expansion = flat(notification_endpoint(TokenStream::new(), &tokens).tokens);
        let is_original = |found: &&[(String, [usize; 4])]| *found == original.as_slice();
        let places = expansion.windows(original.len()).filter(is_original).count();
        assert_eq!(places, 1, "{item}");
        let names = |tokens: &[(String, [usize; 4])]| {
            tokens.iter().filter(|(text, _)| text == "half_written").count()
        };
        assert_eq!(names(&expansion), names(&original), "{item}");
        assert!(!expansion.iter().any(|(text, _)| text == "compile_error"), "{item}");
    }

    #[test]
    fn a_half_written_block_is_emitted_once_with_its_spans() {
        for member in [
            "async fn half_written(&self, payload: ) {}",
            "async fn half_written(&self payload: Pay) {}",
            "async half_written(&self) {}",
            "async fn half_written",
            "half_written: u64,",
            "let half_written = 1;",
            "#[on(info)] async fn half_written(&self,, payload: Pay) {}",
            "#[on(info)] async fn one(&self) {} async fn half_written(&self) ->",
            "#[on(Priority::Info)] fn half_written(&self) {} ,",
            "fn half_written(&self) {} #",
        ] {
            check_unchanged(&format!("impl Billing {{\n    {member}\n}}"));
        }
        check_unchanged("impl Billing<half_written { fn info(&self) {} }");
        check_unchanged("#[allow(unused)] impl { fn half_written(&self) {} }");
    }

    #[test]
    fn options_are_checked_above_a_half_written_block() {
        let tokens: TokenStream =
            "impl Billing { fn info( }".replace('(', "").parse().expect("tokens");
        let options: TokenStream = "topik = \"a\"".parse().expect("tokens");
        let expansion = notification_endpoint(options, &tokens).tokens.to_string();
        assert!(expansion.contains("unknown option `topik`"), "{expansion}");
        assert!(!expansion.contains("no methods"), "{expansion}");
    }
}
