//! No endpoint of its own; the library is linked.
#![deny(warnings)]

listener::link!(billing);

fn main() {
    shown::print();
}
