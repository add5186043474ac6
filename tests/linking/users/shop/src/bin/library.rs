//! A program without its own endpoints; the library is linked.
#![deny(warnings)]

listener::link!(billing);

fn main() {
    shown::print();
}
