//! `#[on(..)]`: several priorities, filters, on a method named after a priority, for the same priority
//! twice, next to other attributes.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct Listed;

#[notification_endpoint]
#[allow(deprecated)] // Several methods intentionally handle one priority.
impl Listed {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn everything(&self) {}

    /// The list takes precedence over the name.
    #[allow(clippy::unused_self)]
    #[on(warn)]
    fn info(&self) {}

    #[on(
        info,
        publisher_id = "^a",
        event_type = "^b",
        context(c = "d"),
        metadata(message_id = "e"),
        payload(f = "g")
    )]
    #[must_use]
    fn narrow(&self) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let shown: Vec<String> = Listed::METHODS
        .iter()
        .map(|method| format!("{} {:?}", method.name, method.priorities))
        .collect();
    let expected = [
        "everything [Audit, Debug, Info, Warn, Error, Critical, Sample]",
        "info [Warn]",
        "narrow [Info]",
    ];
    assert_eq!(shown, expected);
}
