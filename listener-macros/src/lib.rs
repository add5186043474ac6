//! The macros of `listener`. Use them through that crate: they are paired by exact version,
//! and what they generate names its paths. Entry points and their documentation are here; the
//! work is done in `endpoint`.

mod attr;
mod endpoint;
mod mistake;
mod near;
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
///     /// Handles the priorities of its list, and what its own filter lets through of them.
///     #[on(warn, critical, event_type = r"^instance\.")]
///     fn alarm(event_type: &str, metadata: &Metadata, priority: Priority) {
///         println!("{priority} {event_type} {:?}", metadata.message_id());
///     }
/// }
/// ```
///
/// The impl block is emitted as it was written. Every method in it handles notifications;
/// helpers live in a plain impl block. All mistakes of form in a block are reported at once; those of
/// types follow once there is none.
///
/// # Methods
///
/// A method named `audit`, `debug`, `info`, `warn`, `error`, `critical` or `sample` handles
/// that priority. `#[on(priority, .., filters)]` on a method of any name handles the
/// priorities that it lists, and only those. Two methods may handle the same priority, each with
/// its own filter: both run. A `#[cfg(..)]` on a method holds for its registration too.
///
/// A method is an `async fn`, or a `fn` that may block. It takes `&self` or no receiver. It
/// returns `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, where `E` is any error
/// type, a `String`, or a `Box<dyn Error + Send + Sync>`: `listener::BoxError`, or
/// `anyhow::Error`.
///
/// # Arguments
///
/// These are taken by name, with or without one leading `_`, any of them in any order:
///
/// | argument | its type |
/// |---|---|
/// | `ctxt` | `&Context`, any type that implements `Deserialize`, `Option` of one, or `Result<T, PartError>` |
/// | `publisher_id`, `event_type` | `&str`, `Option<&str>`, `String` or `Option<String>` |
/// | `payload` | any type that implements `Deserialize`, borrowed ones included (texts as `Cow<str>` with `#[serde(borrow)]`: a `&str` takes no escapes); `Versioned<T>`; `Option` of one (null is `None`), or `Result<T, PartError>` |
/// | `metadata` | `&Metadata` |
///
/// Every other argument is taken by its type, which implements `FromNotification`:
/// `&Notification<'_>`, `State<T>`, `Priority`, `&DeliveryInfo`, `Attempt`, `ReceivedAt`, a type of
/// your own, or `Option<T>` or `Result<T, T::Error>` of one. Such an argument may be a pattern.
///
/// # Options
///
/// | option | |
/// |---|---|
/// | `topic = "t"`, `topics("t", "u")` | the topics it takes, instead of the listener's |
/// | `exchange = "x"` | the exchange of those topics; no filter: what comes to their queues from an exchange that no endpoint names is for all endpoints of the topic |
/// | `group = "g"` | the group by which a listener may choose it |
/// | `order = -1` | endpoints run in (`order`, module path, line) order; 0 if not given |
/// | `name = "n"` | what notifications that it still owes call it, instead of module and type: it stays when the type moves |
/// | `retry(attempts = 5, pause = "1s", max_pause = "1m")` | how often a method is called for one notification, the first call included, and the pauses between: they double from `pause` up to `max_pause`. What is not given is the listener's |
/// | `timeout = "30s"` | how long one call may take; the listener's if not given |
/// | `ordered_by = "payload.k"` | notifications that have the same value there are worked on one after the other: `payload.KEY`, `context.KEY`, `publisher_id` or `event_type` |
/// | `provided` | the program hands the instance to the builder |
/// | `init = path` | the function at `path` makes the instance when the listener starts; without it, `Default` does. It is a `fn` or an `async fn`, takes up to four `State<T>`, and returns the endpoint or a `Result` of it |
/// | `instances(E<A>, E<B>)` | the types that a generic impl block is registered for |
/// | `register = false` | it runs only in listeners that are handed an instance; excludes `provided`, `init`, `instances` and `group` |
/// | `crate = path` | the path of `listener`, if it is not `::listener` |
///
/// Times are whole numbers with units, `ms`, `s`, `m` and `h`: `500ms`, `1m30s`; above zero, and a
/// week at most. To these options come the filters, which `#[on(..)]` takes too:
///
/// | filter | looks at |
/// |---|---|
/// | `publisher_id = "re"` | who sent it |
/// | `event_type = "re"` | what happened |
/// | `context(key = "re", "other-key" = "re")` | keys of the context |
/// | `metadata(message_id = "re", timestamp = "re")` | the metadata |
/// | `payload(key = "re")` | keys of the payload's top level |
///
/// A filter is a regular expression of the `regex` crate, checked while compiling. It must
/// match from the start of the text, as Python's `re.match` does; all that are given must. A
/// value that is missing or not a string does not match.
///
/// Each form, and each mistake with what the compiler says of it, is in `listener::guide`.
///
/// # What it generates
///
/// An `impl Endpoint` with a table of the methods, and a registration. To read it, set
/// `LISTENER_MACROS_DEBUG` to `1`, or to the name of one endpoint's type, and compile: it is
/// printed to stderr. Cargo does not compile again for that alone, so touch the file first:
///
/// ```sh
/// touch src/main.rs && LISTENER_MACROS_DEBUG=Billing cargo check
/// ```
#[proc_macro_attribute]
pub fn notification_endpoint(options: TokenStream, item: TokenStream) -> TokenStream {
    let expansion = endpoint::notification_endpoint(options.into(), &item.into());
    print_if_asked(&expansion);
    expansion.tokens.into()
}

/// Prints an expansion that `LISTENER_MACROS_DEBUG` asks for.
fn print_if_asked(expansion: &endpoint::Expansion) {
    let Ok(asked) = std::env::var("LISTENER_MACROS_DEBUG") else {
        return;
    };
    if asked == "1" || expansion.name.as_ref() == Some(&asked) {
        let name = expansion.name.as_deref().unwrap_or("an item");
        eprintln!("// #[notification_endpoint] of {name}:\n{}", expansion.tokens);
    }
}
