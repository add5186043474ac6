//! Like `library`, by a path into the library, in a function.
#![deny(warnings)]

fn main() {
    listener::link!(billing::deep, std::vec);
    shown::print();
}
