//! `Shared`: the bound of states, which several threads use at once. It has a name of its own, so that the
//! compiler reports a violation once, with a fix.

/// A type that several threads can use concurrently: every `Send + Sync + 'static` type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be shared between threads",
    label = "not `Send + Sync + 'static`",
    note = "notifications are handled concurrently, on several threads: use `Arc` instead of `Rc`, an atomic instead of `Cell`, `Mutex` or `RwLock` instead of `RefCell`"
)]
pub trait Shared: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> Shared for T {}
