//! Prints the endpoints that the program around it has, or why there is no listener.

pub fn print() {
    match listener::Listener::builder().transport_url("memory://").registered().build() {
        Ok(listener) => listener
            .endpoints()
            .for_each(|endpoint| println!("{}::{}", endpoint.module, endpoint.name)),
        Err(error) => println!("{error}"),
    }
}
