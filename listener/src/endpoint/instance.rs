//! How the instance of a registered endpoint is made: by `Default`, or by the function that `init` names.
//! Generated code calls this; the listener makes the instances when it starts, before it attaches.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::extract::Needs;
use crate::extract::{MissingState, State};
use crate::notification::states::States;
use crate::outcome::BoxError;

/// How an instance is made without `init`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `Default`, so the listener cannot create an instance of it",
    label = "no instance",
    note = "derive `Default`, or write `#[notification_endpoint(provided)]` and pass an instance to the builder, or `init = path` to a function that returns one"
)]
pub trait DefaultInstance: Sized {
    /// The instance.
    fn instance() -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: Default> DefaultInstance for T {
    fn instance() -> Self {
        T::default()
    }
}

/// The argument types of a function that `init` names.
#[diagnostic::on_unimplemented(
    message = "a function that `init` names cannot take `{Self}`",
    label = "not a state",
    note = "take `State<T>`: the values that the listener was given, each by its type"
)]
pub trait FromStates: Sized {
    /// Gets it from the listener's states.
    ///
    /// # Errors
    /// The listener has no such state. The builder has checked this, so only a custom extractor can get
    /// this error.
    fn from_states(states: &States) -> Result<Self, MissingState>;

    /// Adds the state that is needed.
    fn requires(needs: &mut Needs);
}

impl<T: Send + Sync + 'static> FromStates for State<T> {
    fn from_states(states: &States) -> Result<Self, MissingState> {
        Self::from_given(states)
    }

    fn requires(needs: &mut Needs) {
        needs.state::<T>();
    }
}

/// The return types of a function that `init` names, for an endpoint `E`: `E`, `Result<E, Error>`, or a
/// future of either. `Form` distinguishes them and is inferred.
#[diagnostic::on_unimplemented(
    message = "`init` must name a function that returns a `{E}`, and this one returns `{Self}`",
    label = "returns something else",
    note = "return `{E}`, or `Result<{E}, E>` with any error, from a `fn` or an `async fn`"
)]
pub trait IntoInstance<E, Form> {
    /// The instance, or the error of the function.
    fn into_instance(self) -> BoxFuture<'static, Result<E, BoxError>>;
}

/// The form of a value.
#[derive(Debug)]
pub struct Value;

/// The form of a result.
#[derive(Debug)]
pub struct Fallible;

/// The form of a future of another form.
#[derive(Debug)]
pub struct Async<Form>(Form);

impl<E: Send + 'static> IntoInstance<E, Value> for E {
    fn into_instance(self) -> BoxFuture<'static, Result<E, BoxError>> {
        std::future::ready(Ok(self)).boxed()
    }
}

impl<E: Send + 'static, Error: Into<BoxError>> IntoInstance<E, Fallible> for Result<E, Error> {
    fn into_instance(self) -> BoxFuture<'static, Result<E, BoxError>> {
        std::future::ready(self.map_err(Into::into)).boxed()
    }
}

impl<E: 'static, Form: 'static, F> IntoInstance<E, Async<Form>> for F
where
    F: Future<Output: IntoInstance<E, Form>> + Send + 'static,
{
    fn into_instance(self) -> BoxFuture<'static, Result<E, BoxError>> {
        self.then(IntoInstance::into_instance).boxed()
    }
}

/// A function that `init` names: it takes states, up to four, and makes an `E`.
#[diagnostic::on_unimplemented(
    message = "`init` must name a function that returns a `{E}`",
    label = "not such a function",
    note = "write `fn make() -> {E}`; it may be `async`, return `Result<{E}, E>`, and take up to four `State<T>`"
)]
pub trait Init<E, Form> {
    /// Adds the states that it takes.
    fn requires(needs: &mut Needs);

    /// Makes the instance.
    fn make(self, states: &States) -> BoxFuture<'static, Result<E, BoxError>>;
}

macro_rules! functions {
    ($(($($argument:ident)*))*) => {$(
        #[allow(non_snake_case, unused_variables, reason = "one text for any number of arguments")]
        impl<E: Send + 'static, Form, F, R, $($argument),*> Init<E, (Form, R, $($argument,)*)> for F
        where
            F: FnOnce($($argument),*) -> R,
            R: IntoInstance<E, Form>,
            $($argument: FromStates,)*
        {
            fn requires(needs: &mut Needs) {
                $($argument::requires(needs);)*
            }

            fn make(self, states: &States) -> BoxFuture<'static, Result<E, BoxError>> {
                $(
                    let $argument = match $argument::from_states(states) {
                        Ok(state) => state,
                        Err(error) => return std::future::ready(Err(error.into())).boxed(),
                    };
                )*
                self($($argument),*).into_instance()
            }
        }
    )*};
}

functions! {
    ()
    (A)
    (A B)
    (A B C)
    (A B C D)
}
