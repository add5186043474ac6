//! The last name of a type's path, and its first type argument: the `T` of `Option<T>` and
//! `Result<T, E>`. A type alias is not resolved: a macro sees names only.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, Type};

/// The last name of a type, such as `Option` of `std::option::Option<T>`.
pub(crate) fn last_name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    Some(path.path.segments.last()?.ident.to_string())
}

/// The first type argument of a type with this name.
pub(crate) fn first_argument<'t>(ty: &'t Type, named: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == named)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

/// Types of the standard library that programs read, which are not written under another name.
const PLAIN: &[&str] = &[
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32",
    "u64", "u128", "usize", "BTreeMap", "Box", "Cow", "HashMap", "HashSet", "RawValue", "String",
    "Value", "Vec",
];

/// Whether a type is surely neither an `Option`, a `Result`, a `Versioned`, nor an alias of one.
pub(crate) fn is_plain(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => {
            path.qself.is_none() && last_name(ty).is_some_and(|name| PLAIN.contains(&name.as_str()))
        }
        Type::Macro(_) | Type::Group(_) | Type::Paren(_) | Type::Verbatim(_) => false,
        _ => true,
    }
}

/// Types of this library and of the standard library that borrow only as their tokens show.
const KNOWN: &[&str] = &[
    "Attempt",
    "BoxError",
    "Classified",
    "Context",
    "DeliveryInfo",
    "Metadata",
    "Notification",
    "Option",
    "Outcome",
    "PartError",
    "Priority",
    "ReceivedAt",
    "Result",
    "Versioned",
    "str",
];

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
