//! As `library`, by a path into the library, and from a function.
#![deny(warnings)]

fn main() {
    listener::link!(billing::deep, std::vec);
    shown::print();
}
