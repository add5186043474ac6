//! Routing: passes each notification to the outputs whose rules accept its event type and priority. `rule.rs`
//! has the rules, `yaml.rs` reads them from oslo.messaging's file.

#[cfg(feature = "routing")]
use std::path::Path;

use crate::notification::priority::Priority;
use crate::notifier::outputs::rule::Rule;
#[cfg(feature = "routing")]
use crate::notifier::outputs::yaml::{self, RoutingError};
use crate::notifier::outputs::{Output, UnknownOutput};

/// Outputs, each with rules: which event types and priorities it accepts.
///
/// A notification goes to every output with a matching rule, once, even if several match. With the feature
/// `routing`, `read` and `read_file` take the rules from the file of
/// oslo.messaging's option `routing_config`.
///
/// ```
/// use listener::output::{Rule, Routing, TestOutput};
/// use listener::{Context, Notifier, Priority, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let errors = TestOutput::new();
/// let rule = Rule::new().events(["compute.*"]).priorities(["error", "crit*"]);
/// let routing = Routing::new().route(errors.clone(), rule).route_to("log", Rule::new())?;
/// let notifier =
///     Notifier::builder(Transport::open("memory://doc-routing")?).routing(routing).build()?;
/// for priority in [Priority::Info, Priority::Critical] {
///     notifier.notify(priority, &Context::new(), "compute.host.state", &()).await?;
/// }
/// assert_eq!(errors.notifications().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// Those that rules may name, and those with rules.
    outputs: Vec<Output>,
    routes: Vec<Route>,
}

#[derive(Clone, Debug)]
struct Route {
    /// The index of the output.
    output: usize,
    rule: Rule,
}

impl Routing {
    /// No output, so notifications go nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An output that rules can name, in addition to `messaging`, `messagingv2`, `log`, `noop` and `test`. It
    /// is found by its name; one of those five names hides the output of this crate.
    #[must_use]
    pub fn known(mut self, output: impl Into<Output>) -> Self {
        self.add(output.into());
        self
    }

    /// Adds a rule for an output.
    #[must_use]
    pub fn route(mut self, output: impl Into<Output>, rule: Rule) -> Self {
        let output = self.add(output.into());
        self.routes.push(Route { output, rule });
        self
    }

    /// Adds a rule for the output with this name.
    ///
    /// # Errors
    /// There is none with this name.
    pub fn route_to(mut self, name: &str, rule: Rule) -> Result<Self, UnknownOutput> {
        let known = self.outputs.iter().position(|output| output.name() == name);
        let output = match known {
            Some(output) => output,
            None => self.add(name.parse()?),
        };
        self.routes.push(Route { output, rule });
        Ok(self)
    }

    #[cfg(feature = "routing")]
    /// Adds the rules of a YAML text, in the form of oslo.messaging's `routing_config`:
    ///
    /// ```
    /// use listener::output::Routing;
    ///
    /// let routing = Routing::new().read(
    ///     "
    /// group_1:
    ///   messagingv2:
    ///     accepted_events: ['compute.*', 'volume.?pdate']
    ///   log:
    ///     accepted_events: ['*']
    ///     accepted_priorities: [error, critical]
    /// group_2:
    ///   messagingv2:
    /// ",
    /// )?;
    /// # Ok::<(), listener::error::RoutingError>(())
    /// ```
    ///
    /// The names of groups have no meaning. An output without rules accepts everything; an empty text
    /// adds nothing. Unlike in oslo.messaging, an unknown key and a pattern that is not a text are errors.
    ///
    /// # Errors
    /// It is not YAML of this form, larger than 1 MiB, or names an unknown output.
    pub fn read(self, text: &str) -> Result<Self, RoutingError> {
        let add = |routing: Self, read: yaml::Read| {
            let yaml::Read { group, output, rule } = read;
            let added = routing.route_to(&output, rule);
            added.map_err(|error| RoutingError::Output { group, error })
        };
        yaml::read(text)?.into_iter().try_fold(self, add)
    }

    #[cfg(feature = "routing")]
    /// Adds the rules of a file; see [`read`](Self::read). It is read now, and changes of it have no effect.
    ///
    /// # Errors
    /// As `read`, and if the file cannot be read.
    pub fn read_file(self, path: impl AsRef<Path>) -> Result<Self, RoutingError> {
        self.read(&yaml::load(path.as_ref())?)
    }

    fn add(&mut self, output: Output) -> usize {
        self.outputs.push(output);
        self.outputs.len() - 1
    }

    /// The outputs that accept a notification, each once.
    pub(crate) fn accepting(
        &self,
        event_type: &str,
        priority: Priority,
    ) -> impl Iterator<Item = &Output> {
        let accepts = move |route: &Route| route.rule.accepts(event_type, priority);
        self.outputs.iter().enumerate().filter_map(move |(index, output)| {
            let mut routes = self.routes.iter().filter(|route| route.output == index);
            routes.any(accepts).then_some(output)
        })
    }
}
