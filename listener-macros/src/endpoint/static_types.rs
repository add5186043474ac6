//! Checks that `listener::__private` makes of the types in signatures: that an argument does not borrow for
//! `'static`, and that the error of a method does not borrow. Called by `expand.rs`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, ReturnType, Type};

use crate::endpoint::ast::{Endpoint, Method, Source};
use crate::endpoint::{lifetimes, type_path};
use crate::paths::Private;

/// The checks of a block: one for each type in each role.
pub(crate) fn checks(endpoint: &Endpoint, private: &Private) -> TokenStream {
    let mut seen: Vec<String> = Vec::new();
    let checks = endpoint.methods.iter().flat_map(checked).filter_map(|checked| {
        let text =
            format!("{:?} {} {}", checked.role, checked.cfg_text(), checked.ty.to_token_stream());
        let is_new = !seen.contains(&text);
        seen.push(text);
        is_new.then(|| checked.to_tokens(private))
    });
    checks.collect()
}

/// What a type is for.
#[derive(Clone, Copy, Debug)]
enum Role {
    Context,
    Payload,
    Extractor,
    Returned,
}

struct Checked<'m> {
    cfg: Vec<&'m Attribute>,
    role: Role,
    ty: &'m Type,
}

/// The types of a method that may borrow for `'static`.
fn checked(method: &Method) -> Vec<Checked<'_>> {
    let arguments = method.arguments.iter().filter_map(|argument| {
        let role = match argument.source() {
            Source::Context => Role::Context,
            Source::Payload => Role::Payload,
            Source::ByType => Role::Extractor,
            Source::PublisherId | Source::EventType | Source::Metadata => return None,
        };
        Some(Checked {
            cfg: method.cfg.iter().chain(&argument.cfg).collect(),
            role,
            ty: &argument.ty,
        })
    });
    let returned = match &method.signature.output {
        ReturnType::Type(_, ty) => {
            Some(Checked { cfg: method.cfg.iter().collect(), role: Role::Returned, ty })
        }
        ReturnType::Default => None,
    };
    arguments.chain(returned).filter(Checked::may_fail).map(Checked::of_value).collect()
}

impl Checked<'_> {
    /// Whether the type may be refused. A `'static` in the type of a value that is deserialized becomes a
    /// bound, and those are left to the borrow checker: `Fault<'static>` is valid unless it borrows.
    fn may_fail(&self) -> bool {
        match self.role {
            Role::Returned => type_path::may_borrow(self.ty),
            Role::Extractor => type_path::may_be_static(self.ty),
            Role::Context | Role::Payload => {
                type_path::may_be_static(self.ty) && !lifetimes::has_static(self.ty)
            }
        }
    }

    /// The value that is read, in an `Option` or a `Result`.
    fn of_value(self) -> Self {
        let inner = ["Option", "Result"]
            .into_iter()
            .find_map(|name| type_path::first_argument(self.ty, name));
        match (self.role, inner) {
            (Role::Context | Role::Payload, Some(ty)) => Self { ty, ..self }.of_value(),
            _ => self,
        }
    }

    fn cfg_text(&self) -> String {
        self.cfg.iter().map(|cfg| cfg.to_token_stream().to_string()).collect()
    }

    fn to_tokens(&self, private: &Private) -> TokenStream {
        let Self { cfg, role, ty } = self;
        let ty = lifetimes::inferred(ty);
        let pointer = quote!(fn(&()) -> #ty);
        let argument = |role: &str| {
            let role = Ident::new(role, Span::call_site());
            let verdict =
                quote!((&&#private::Argument::<#private::#role, #pointer>::LIFETIME).argument());
            quote!(<#ty as #private::ArgumentLifetime<_>>::check(#verdict))
        };
        let check = match role {
            Role::Context => argument("AsContext"),
            Role::Payload => argument("AsPayload"),
            Role::Extractor => argument("AsExtractor"),
            Role::Returned => {
                let verdict = quote!((&&&&#private::Returned::<#pointer>::LIFETIME).returned());
                quote!(<#ty as #private::ReturnedLifetime<_>>::check(#verdict))
            }
        };
        quote!(#(#cfg)* #check;)
    }
}
