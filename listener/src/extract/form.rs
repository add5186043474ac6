//! The forms of `ctxt` and `payload`: a plain type, a versioned object, `Option` or `Result`. `find_form.rs`
//! finds that of a type; the traits in `argument.rs` read each.

/// Any other type: deserialized, or `&Context`.
#[derive(Clone, Copy, Default)]
pub struct Plain;

/// `Versioned<T>`.
#[derive(Clone, Copy, Default)]
pub struct Unwrapped;

/// `Option<T>`, where `T` has the form `F`.
#[derive(Clone, Copy, Default)]
pub struct Optional<F>(pub(crate) F);

/// `Result<T, E>`, where `T` has the form `F`.
#[derive(Clone, Copy, Default)]
pub struct Fallible<F>(pub(crate) F);
