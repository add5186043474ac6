//! `#[on(..)]`: several priorities, filters, on a method named after a priority, twice the
//! same priority, beside other attributes.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct Listed;

#[notification_endpoint]
#[allow(deprecated)] // Several methods take one priority, on purpose.
impl Listed {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn everything(&self) {}

    /// Its list rules, not its name.
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
