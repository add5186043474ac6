//! The last name of a type's path, and its first type argument: the `T` of `Option<T>` and
//! `Result<T, E>`. A type alias is not resolved: a macro sees names only.

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

/// The type arguments of a type with this name.
pub(crate) fn arguments<'t>(ty: &'t Type, named: &str) -> Vec<&'t Type> {
    match last_name(ty) {
        Some(name) if name == named => all_arguments(ty),
        _ => Vec::new(),
    }
}

/// The type arguments of a type, without those of its qualifiers.
pub(crate) fn all_arguments(ty: &Type) -> Vec<&Type> {
    let Type::Path(path) = ty else { return Vec::new() };
    let last = path.path.segments.last().map(|last| &last.arguments);
    let Some(PathArguments::AngleBracketed(arguments)) = last else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect()
}
