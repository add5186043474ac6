//! The macros of `listener`. Use them through that crate: both have the same version, and generated
//! code uses its paths. The entry point and its documentation are here, the implementation in
//! `endpoint`.

mod attr;
mod endpoint;
mod diagnostic;
mod similar;
mod paths;

use proc_macro::TokenStream;

/// Makes the methods of an impl block handle notifications.
///
/// ```
/// # use listener::{Context, Metadata, Outcome, Priority};
/// use listener::notification_endpoint;
/// # #[derive(serde::Deserialize)] struct Instance { uuid: String }
/// # #[derive(serde::Deserialize)] struct Fault<'a> { #[serde(borrow)] code: std::borrow::Cow<'a, str> }
///
/// #[derive(Default)]
/// struct Billing;
///
/// #[notification_endpoint(publisher_id = r"^compute\.")]
/// impl Billing {
///     /// Handles the priority that it is named after.
///     async fn info(&self, ctxt: &Context, payload: Instance) -> Result<(), String> {
///         let tenant = ctxt.get_str("project_id").ok_or("no tenant")?;
///         println!("{tenant} runs {}", payload.uuid);
///         Ok(())
///     }
///
///     /// A payload may borrow from the notification.
///     async fn error(&self, payload: Fault<'_>) -> Outcome {
///         if payload.code == "again" { Outcome::retry() } else { Outcome::Handled }
///     }
///
///     /// Handles the priorities in its list, if the filter matches.
///     #[on(warn, critical, event_type = r"^instance\.")]
///     fn alarm(event_type: &str, metadata: &Metadata, priority: Priority) {
///         println!("{priority} {event_type} {:?}", metadata.message_id());
///     }
/// }
/// ```
///
/// The impl block is emitted without `#[on(..)]`, otherwise unchanged. Every method in it handles
/// notifications; helper methods belong in a separate impl block. All errors that the attribute finds are
/// reported at once, type errors once there are none. While the block has a syntax error of Rust, only
/// rustc reports.
///
/// # Methods
///
/// A method named `audit`, `debug`, `info`, `warn`, `error`, `critical` or `sample` handles
/// that priority. With `#[on(priority, .., filters)]` a method of any name handles the priorities
/// listed there, and only those. Several methods may handle the same priority with different filters:
/// all whose filters match are called. A `#[cfg(..)]` on a method applies to its registration too.
///
/// A method is an `async fn`, or a `fn`, which may block. It takes `&self` or no receiver, and
/// returns `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, where `E` is any error
/// type that does not borrow, a `String`, or a `Box<dyn Error + Send + Sync>`: `listener::BoxError`, or
/// `anyhow::Error`.
///
/// # Arguments
///
/// These are recognised by name, with or without one leading `_`. All are optional, in any order:
///
/// | argument | type |
/// |---|---|
/// | `ctxt` | `&Context`, any type that implements `Deserialize`, `Option` of one, or `Result<T, PartError>` |
/// | `publisher_id`, `event_type` | `&str`, `Option<&str>`, `String` or `Option<String>` |
/// | `payload` | any type that implements `Deserialize`, which may borrow, but not for `'static` (a `Cow<str>` with `#[serde(borrow)]`: a `&str` cannot hold text with escapes); `Versioned<T>`; `Option` of one (null is `None`), or `Result<T, PartError>` |
/// | `metadata` | `&Metadata` |
///
/// Every other argument is an extractor, a type that implements `FromNotification`:
/// `&Notification<'_>`, `State<T>`, `Priority`, `&DeliveryInfo`, `Attempt`, `ReceivedAt`, a type of
/// your own, or `Option<T>` or `Result<T, T::Error>` of one. It may be a pattern.
///
/// # Options
///
/// | option | |
/// |---|---|
/// | `topic = "t"`, `topics("t", "u")` | the topics of the endpoint, instead of the listener's |
/// | `exchange = "x"` | the exchange of those topics. It is not a filter: a message in their queues from an exchange that no endpoint names is for all endpoints of the topic |
/// | `group = "g"` | the group by which a listener selects endpoints |
/// | `order = -1` | endpoints run in the order of (`order`, module path, line); default 0 |
/// | `name = "n"` | identifies the endpoint in the headers of retries and dead letters, instead of module and type: it stays the same when the type moves |
/// | `retry(attempts = 5, delay = "1s", max_delay = "1m")` | how often a method is called for one notification, including the first call, and the delays between calls, which double from `delay` up to `max_delay`; each delay is random, between half of its length and the whole; defaults are the listener's |
/// | `timeout = "30s"` | how long one call may take; default: the listener's |
/// | `ordered_by = "payload.k"` | notifications with the same value are handled in sequence: `payload.KEY`, `context.KEY`, `publisher_id` or `event_type` |
/// | `provided` | the program passes the instance to the builder |
/// | `init = path` | the function that creates the instance when the listener starts, such as `Self::connect`; without it, `Default` does. It is a `fn` or an `async fn`, takes up to four `State<T>`, and returns the endpoint or a `Result` of it |
/// | `instances(E<A>, E<B>)` | the types for which a generic impl block is registered |
/// | `register = false` | the endpoint runs only in listeners to which an instance is passed; excludes `provided`, `init`, `instances` and `group` |
/// | `crate = path` | the path of `listener`, if it is not `::listener` |
///
/// Durations are whole numbers with the units `ms`, `s`, `m` and `h`, such as `500ms` or `1m30s`:
/// greater than zero, at most one week. The other options are filters, which `#[on(..)]` takes too:
///
/// | filter | matches |
/// |---|---|
/// | `publisher_id = "re"` | the sender |
/// | `event_type = "re"` | the type of the event |
/// | `context(key = "re", "other-key" = "re")` | keys of the context |
/// | `metadata(message_id = "re", timestamp = "re")` | the metadata |
/// | `payload(key = "re")` | top-level keys of the payload |
///
/// A filter is a regular expression of the `regex` crate, checked at compile time, including its size. It must match from
/// the start of the text, like Python's `re.match`; if several are given, all must match. A value that
/// is missing or not a string does not match.
///
/// `listener::guide` shows every form, and every error with its message.
///
/// # Generated code
///
/// An `impl Endpoint` with a table of the methods, and a registration. To print it to stderr, set
/// `LISTENER_MACROS_DEBUG` to `1`, or to the name of an endpoint's type, and compile. Cargo does not
/// recompile for a changed variable alone, so touch the file first:
///
/// ```sh
/// touch src/main.rs && LISTENER_MACROS_DEBUG=Billing cargo check
/// ```
#[proc_macro_attribute]
pub fn notification_endpoint(options: TokenStream, item: TokenStream) -> TokenStream {
    let expansion = endpoint::notification_endpoint(options.into(), &item.into());
    print_if_requested(&expansion);
    expansion.tokens.into()
}

/// Does nothing: while a block has a syntax error, rustc resolves `#[on(..)]` in it to this.
#[doc(hidden)]
#[proc_macro_attribute]
pub fn on(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Prints an expansion that `LISTENER_MACROS_DEBUG` requests.
fn print_if_requested(expansion: &endpoint::Expansion) {
    let Ok(requested) = std::env::var("LISTENER_MACROS_DEBUG") else {
        return;
    };
    if requested == "1" || expansion.name.as_ref() == Some(&requested) {
        let name = expansion.name.as_deref().unwrap_or("an item");
        eprintln!("// #[notification_endpoint] of {name}:\n{}", expansion.tokens);
    }
}
