//! Endpoints and methods behind a feature. Without it, `Quiet` has no method `warn`, and the type of its
//! argument does not exist.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct Quiet;

#[notification_endpoint]
impl Quiet {
    async fn info(&self) {}

    #[cfg(feature = "loud")]
    async fn warn(&self, siren: Siren) {
        let _ = siren.0;
    }
}

#[cfg(feature = "loud")]
struct Siren(u8);

#[cfg(feature = "loud")]
impl<'n> listener::FromNotification<'n> for Siren {
    type Error = std::convert::Infallible;

    fn from_notification(_: &'n listener::Notification<'n>) -> Result<Self, Self::Error> {
        Ok(Self(1))
    }
}

#[derive(Default)]
struct Loud;

#[cfg(feature = "loud")]
#[notification_endpoint]
impl Loud {
    async fn info(&self, _siren: Siren) {}
}

#[cfg_attr(feature = "loud", notification_endpoint)]
impl Tuned {
    fn info(&self) {}
}

#[derive(Default)]
struct Tuned;

fn main() {
    shown::print();
    let _ = (Loud, Tuned.info());
    let names: Vec<_> = Quiet::METHODS.iter().map(|method| method.name).collect();
    println!("Quiet: {}", names.join(", "));
}
