//! Checks that `listener::__private` makes of the types in signatures: that an argument does not borrow for
//! `'static`, and that the error of a method does not borrow. Called by `expand.rs`.

use std::collections::HashSet;

use proc_macro2::{Delimiter, Group, Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, FnArg, ReturnType, Signature, Type};

use crate::endpoint::ast::{Argument, Endpoint, Method, Source};
use crate::endpoint::{known_types, lifetimes, type_path};
use crate::paths::Private;

/// The checks of each method: one for each type in each role, in the first method that has it.
pub(crate) fn checks(endpoint: &Endpoint) -> Vec<TokenStream> {
    let mut seen = HashSet::new();
    let checks = |method: &Method| {
        let new = checked(method).into_iter().filter(|checked| seen.insert(checked.key(method)));
        new.map(|checked| checked.to_tokens()).collect()
    };
    endpoint.methods.iter().map(checks).collect()
}

/// What a type is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Context,
    FallibleContext,
    Payload,
    FalliblePayload,
    Extractor,
    Returned,
}

/// A type that is checked.
struct Checked<'m> {
    /// The conditions of an argument.
    cfg: &'m [Attribute],
    role: Role,
    ty: &'m Type,
}

/// The types of a method that may be refused.
fn checked(method: &Method) -> Vec<Checked<'_>> {
    let arguments = method.arguments.iter().filter_map(|argument| {
        let is_fallible = type_path::arguments(&argument.ty, "Result").len() == 2;
        let role = match argument.source() {
            Source::Context if is_fallible => Role::FallibleContext,
            Source::Context => Role::Context,
            Source::Payload if is_fallible => Role::FalliblePayload,
            Source::Payload => Role::Payload,
            Source::ByType => Role::Extractor,
            Source::PublisherId | Source::EventType | Source::Metadata | Source::Batch => {
                return None;
            }
        };
        let Argument { cfg, ty, .. } = argument;
        may_be_static(role, ty).then_some(Checked { cfg, role, ty })
    });
    let returned = match &method.signature.output {
        ReturnType::Type(_, ty) if borrows_from_reference(ty, &method.signature) => {
            Some(Checked { cfg: &[], role: Role::Returned, ty })
        }
        _ => None,
    };
    arguments.chain(returned).collect()
}

/// Whether an argument may be refused. The compiler may infer `'static` for an elided lifetime. A `'static` in a
/// type that is deserialized, or in a type argument, is a bound of an impl, which is left to the borrow
/// checker: `Fault<'static>` is valid unless it borrows.
fn may_be_static(role: Role, ty: &Type) -> bool {
    let is_direct = match ty {
        Type::Reference(reference) => !lifetimes::has_static(&reference.elem),
        _ => !type_path::all_arguments(ty).into_iter().any(lifetimes::has_static),
    };
    known_types::may_be_static(ty)
        && !lifetimes::has_elided(ty)
        && (!lifetimes::has_static(ty) || (role == Role::Extractor && is_direct))
}

/// Whether a lifetime in a returned type may be that of a reference that the method takes. If not, the
/// compiler may infer `'static` for it.
fn borrows_from_reference(ty: &Type, signature: &Signature) -> bool {
    let names = lifetimes::names(ty);
    let (mut has_reference, mut has_named_reference) = (false, false);
    for input in &signature.inputs {
        let tokens = match input {
            FnArg::Receiver(receiver) => receiver.to_token_stream(),
            FnArg::Typed(typed) => typed.ty.to_token_stream(),
        };
        for lifetime in lifetimes::of_references(tokens) {
            has_reference = true;
            has_named_reference |= lifetime.is_some_and(|name| names.contains(&name));
        }
    }
    let is_elided = names.iter().all(|name| name == "_" || name == "static");
    known_types::may_borrow(ty) && (has_named_reference || (has_reference && is_elided))
}

impl Checked<'_> {
    /// The same for the same check.
    fn key(&self, method: &Method) -> (Role, String) {
        let cfg = method.cfg.iter().chain(self.cfg);
        let cfg: TokenStream = cfg.map(ToTokens::to_token_stream).collect();
        (self.role, format!("{cfg} {}", self.ty.to_token_stream()))
    }

    /// The check, as an expression at the type.
    fn to_tokens(&self) -> TokenStream {
        let Self { cfg, role, ty } = self;
        let (first, last) = lifetimes::ends(ty);
        let private = Private::at(first);
        let ty = lifetimes::inferred(ty);
        let argument = |role: &str| {
            let role = Ident::new(role, first);
            let question = quote_spanned!(first=> #private::Argument::<#private::#role, _>::lifetime(__pointer));
            let verdict = quote_spanned!(first=> (&&#question).__listener_argument());
            ("ArgumentLifetime", verdict)
        };
        let (lifetime, verdict) = match role {
            Role::Context => argument("AsContext"),
            Role::FallibleContext => argument("AsFallibleContext"),
            Role::Payload => argument("AsPayload"),
            Role::FalliblePayload => argument("AsFalliblePayload"),
            Role::Extractor => argument("AsExtractor"),
            Role::Returned => {
                let question = quote_spanned!(first=> #private::Returned::lifetime(__pointer));
                let verdict = quote_spanned!(first=> (&&&&#question).__listener_returned());
                ("ReturnedLifetime", verdict)
            }
        };
        let (lifetime, check) = (Ident::new(lifetime, first), Ident::new("check", last));
        let mut verdict = Group::new(Delimiter::Parenthesis, verdict);
        verdict.set_span(last);
        let check = quote_spanned!(first=> <#ty as #private::#lifetime<_>>::#check #verdict);
        quote!(#(#cfg)* { let __pointer: fn(&()) -> #ty = #private::never(); #check })
    }
}
