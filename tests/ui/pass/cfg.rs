//! A method that `#[cfg(..)]` removes is not in the table.

use listener::{Endpoint, notification_endpoint};

#[derive(Default)]
struct Configured;

#[cfg(all())]
#[notification_endpoint]
#[cfg(not(any()))]
impl Configured {
    #[cfg(any())]
    fn info(&self, payload: DoesNotExist) {}

    #[on(info)]
    #[cfg(all())]
    #[cfg(not(any()))]
    fn kept(&self) {}
}

fn main() {
    let names: Vec<_> = Configured::METHODS.iter().map(|method| method.name).collect();
    assert_eq!(names, ["kept"]);
}
