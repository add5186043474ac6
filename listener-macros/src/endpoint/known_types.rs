//! Names of types that are trusted, so that the compiler is not asked about them: each question costs compile
//! time. A wrong guess makes an error less clear, or refuses an alias with a name of this list.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

use crate::endpoint::type_path::last_name;

/// Types that are neither an `Option`, a `Result` nor a `Versioned`.
const PLAIN: &[&str] = &[
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32",
    "u64", "u128", "usize", "String",
];

/// Types that borrow only as their tokens show.
const KNOWN: &[&str] = &[
    "Attempt",
    "BatchOutcome",
    "BoxError",
    "Classified",
    "Context",
    "Cow",
    "DeliveryInfo",
    "HashMap",
    "Metadata",
    "Notification",
    "Option",
    "Outcome",
    "PartError",
    "Priority",
    "RawValue",
    "ReceivedAt",
    "Result",
    "Value",
    "Vec",
    "Versioned",
    "str",
];

/// Whether a type is surely plain: a reference, a tuple, an array, a number or a `String`.
pub(crate) fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .get_ident()
            .is_some_and(|name| path.qself.is_none() && PLAIN.contains(&name.to_string().as_str())),
        Type::Macro(_) | Type::Group(_) | Type::Paren(_) | Type::Verbatim(_) => false,
        _ => true,
    }
}

/// Whether a type may borrow for `'static`: by its tokens, or by the definition of a name in it that is
/// not known.
pub(crate) fn may_be_static(ty: &Type) -> bool {
    let is_state = last_name(ty).is_some_and(|name| name == "State");
    !is_state && any_name(ty.to_token_stream(), &|name| !is_known(name))
}

/// Whether a returned type may borrow.
pub(crate) fn may_borrow(ty: &Type) -> bool {
    let tokens = ty.to_token_stream();
    let has_reference = tokens.to_string().contains(['&', '\'']);
    has_reference || any_name(tokens, &|name| !is_known(name))
}

fn is_known(name: &str) -> bool {
    name == "_" || PLAIN.contains(&name) || KNOWN.contains(&name)
}

fn any_name(tokens: TokenStream, predicate: &dyn Fn(&str) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => predicate(&name.to_string()),
        TokenTree::Group(group) => any_name(group.stream(), predicate),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
