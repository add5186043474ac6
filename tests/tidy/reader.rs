//! Reads a source of `listener` as tokens, so that comments, documentation and texts are not
//! mistaken for code. Finds its paths into the crate and its inherent impls. Code for tests
//! (`#[cfg(test)]`) is skipped. `layers.rs` and `circles.rs` decide what is allowed.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Is given what a source contains, in the order of the source.
pub(crate) trait Visitor {
    /// A path into the crate: an import, or one in an expression.
    fn path(&mut self, found: &Found<'_>);

    /// A token that is not part of such a path.
    fn token(&mut self, _tokens: &[TokenTree], _at: usize) {}

    /// An `impl` of no trait, with the name of its type.
    fn inherent_impl(&mut self, _name: &str, _line: usize) {}
}

/// A path into the crate.
pub(crate) struct Found<'p> {
    /// Its segments from the root of the crate.
    pub(crate) path: &'p [String],
    pub(crate) line: usize,
    /// Whether it is of a `pub use`, of whatever visibility.
    pub(crate) is_exported: bool,
}

/// Shows a file of `listener/src` to a visitor.
pub(crate) fn read(path: &str, text: &str, visitor: &mut impl Visitor) {
    let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let module = if path == "lib.rs" { Vec::new() } else { module(path) };
    let children = children(tokens.clone());
    let mut reader = Reader { file: module.clone(), module, children, is_exported: false, visitor };
    reader.read(tokens, true);
}

/// Whether a file has only tests.
pub(crate) fn is_of_tests(path: &str) -> bool {
    path.ends_with("/tests.rs")
}

/// The module that a file of `listener/src` is: `runtime/mod.rs` is `[runtime]`.
pub(crate) fn module(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// The modules that a file declares.
fn children(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let declared = tokens.windows(3).filter_map(|tokens| match tokens {
        [TokenTree::Ident(word), TokenTree::Ident(name), end]
            if word == "mod" && is_punct(Some(end), ';') =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    declared.collect()
}

struct Reader<'v, V> {
    /// The module of the file.
    file: Vec<String>,
    /// The module of the current token: the file's, or one inside the file.
    module: Vec<String>,
    children: Vec<String>,
    is_exported: bool,
    visitor: &'v mut V,
}

impl<V: Visitor> Reader<'_, V> {
    /// `has_items`: the tokens are those of a file or of braces, where items may be.
    fn read(&mut self, tokens: TokenStream, has_items: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.read_at(&tokens, at, has_items);
        }
    }

    /// Reads from `at`, and returns where the next token is.
    fn read_at(&mut self, tokens: &[TokenTree], at: usize, has_items: bool) -> usize {
        if let Some((attribute, end)) = attribute(tokens, at) {
            if is_for_tests(&attribute) {
                return end_of_item(tokens, end);
            }
            if !is_documentation(&attribute) {
                self.read(attribute, false);
            }
            return end;
        }
        match &tokens[at] {
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    self.module.push(name.to_string());
                    self.read(body.stream(), true);
                    self.module.pop();
                    return at + 3;
                }
            }
            TokenTree::Ident(word) if word == "use" => self.is_exported = is_public(tokens, at),
            TokenTree::Punct(sign) if sign.as_char() == ';' => self.is_exported = false,
            TokenTree::Ident(word) if word == "crate" => {
                return self.read_path(tokens, at + 1, &[]);
            }
            TokenTree::Ident(word) if word == "self" && is_path(tokens, at + 1) => {
                let module = self.module.clone();
                return self.read_path(tokens, at + 1, &module);
            }
            TokenTree::Ident(word) if word == "super" && is_path(tokens, at + 1) => {
                let mut above = self.module.clone();
                above.pop();
                let mut at = at + 1;
                while is_path(tokens, at) && is_word(tokens.get(at + 2), "super") {
                    above.pop();
                    at += 3;
                }
                return self.read_path(tokens, at, &above);
            }
            TokenTree::Ident(word) if self.is_child(&word.to_string(), tokens, at) => {
                let mut path = self.module.clone();
                path.push(word.to_string());
                return self.read_path(tokens, at + 1, &path);
            }
            TokenTree::Ident(word) if word == "impl" && has_items && begins_item(tokens, at) => {
                if let Some(name) = inherent(&tokens[at + 1..]) {
                    self.visitor.inherent_impl(&name, tokens[at].span().start().line);
                }
            }
            TokenTree::Group(group) => {
                self.read(group.stream(), group.delimiter() == Delimiter::Brace);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        self.visitor.token(tokens, at);
        at + 1
    }

    /// Whether a path begins here with a module that the file declares.
    fn is_child(&self, word: &str, tokens: &[TokenTree], at: usize) -> bool {
        self.module == self.file
            && is_path(tokens, at + 1)
            && !(at > 1 && is_path(tokens, at - 2))
            && self.children.iter().any(|child| child == word)
    }

    /// Reads the rest of a path after the segments `path`; `at` is where `::` may follow.
    fn read_path(&mut self, tokens: &[TokenTree], at: usize, path: &[String]) -> usize {
        if !is_path(tokens, at) {
            if !path.is_empty() {
                self.found(path, tokens.get(at.saturating_sub(1)));
            }
            return at;
        }
        let next = at + 2;
        match tokens.get(next) {
            Some(TokenTree::Ident(name)) => {
                let mut path = path.to_vec();
                if name != "self" {
                    path.push(name.to_string());
                }
                self.read_path(tokens, next + 1, &path)
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                self.read_list(group.stream(), path);
                next + 1
            }
            // A `*`, or the generics of an expression.
            _ => {
                self.found(path, tokens.get(next));
                next
            }
        }
    }

    /// Reads `{self, a, b::c}` behind `path`.
    fn read_list(&mut self, list: TokenStream, path: &[String]) {
        let tokens: Vec<TokenTree> = list.into_iter().collect();
        for item in tokens.split(|token| is_punct(Some(token), ',')) {
            match item.first() {
                Some(TokenTree::Ident(name)) => {
                    let mut path = path.to_vec();
                    if name != "self" {
                        path.push(name.to_string());
                    }
                    self.read_path(item, 1, &path);
                }
                Some(TokenTree::Group(inner)) => self.read_list(inner.stream(), path),
                Some(other) => self.found(path, Some(other)),
                None => {}
            }
        }
    }

    fn found(&mut self, path: &[String], at: Option<&TokenTree>) {
        let line = at.map_or(0, |token| token.span().start().line);
        self.visitor.path(&Found { path, line, is_exported: self.is_exported });
    }
}

/// Whether the `use` at `at` has a visibility.
fn is_public(tokens: &[TokenTree], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at));
    is_word(before(1), "pub")
        || (matches!(before(1), Some(TokenTree::Group(_))) && is_word(before(2), "pub"))
}

/// Whether an item can begin at `at`, and not a type such as `-> impl Trait`.
fn begins_item(tokens: &[TokenTree], at: usize) -> bool {
    match at.checked_sub(1).and_then(|before| tokens.get(before)) {
        None => true,
        Some(TokenTree::Group(group)) => {
            matches!(group.delimiter(), Delimiter::Brace | Delimiter::Bracket)
        }
        before => is_punct(before, ';'),
    }
}

/// The type of an inherent impl, from what follows `impl`; `None` for the impl of a trait, and for a
/// type that a macro names.
fn inherent(tokens: &[TokenTree]) -> Option<String> {
    let mut depth = 0_usize;
    let mut name = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '<' => depth += 1,
            // Not that of `->`.
            TokenTree::Punct(sign) if sign.as_char() == '>' => {
                let is_arrow = at > 0 && is_punct(tokens.get(at - 1), '-');
                depth = depth.saturating_sub(usize::from(!is_arrow));
            }
            TokenTree::Punct(sign) if sign.as_char() == '$' => return None,
            TokenTree::Ident(word) if depth == 0 && word == "for" => return None,
            TokenTree::Ident(word) if depth == 0 && word == "where" => break,
            TokenTree::Ident(word) if depth == 0 => name = Some(word.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    name
}

/// The content of the attribute at `at`, and where the next token is.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(TokenStream, usize)> {
    if !is_punct(tokens.get(at), '#') {
        return None;
    }
    let at = at + 1 + usize::from(is_punct(tokens.get(at + 1), '!'));
    match tokens.get(at)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            Some((group.stream(), at + 1))
        }
        _ => None,
    }
}

fn is_documentation(attribute: &TokenStream) -> bool {
    is_word(attribute.clone().into_iter().next().as_ref(), "doc")
}

/// Whether it is `cfg(test)` or `cfg(all(test, ..))`.
fn is_for_tests(attribute: &TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Where the item that begins at `at` is over: behind its braces or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let braces =
            matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if braces || is_punct(Some(token), ';') {
            break;
        }
    }
    at
}

pub(crate) fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

pub(crate) fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

pub(crate) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}
