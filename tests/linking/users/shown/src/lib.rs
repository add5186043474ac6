//! Prints the endpoints of the program, or the error of building a listener.

pub fn print() {
    match listener::Listener::builder().transport_url("memory://").registered().build() {
        Ok(listener) => listener
            .endpoints()
            .for_each(|endpoint| println!("{}::{}", endpoint.module, endpoint.name)),
        Err(error) => println!("{error}"),
    }
}
