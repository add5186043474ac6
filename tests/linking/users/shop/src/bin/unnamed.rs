//! A program without its own endpoints; the library is a dependency that no code names.

fn main() {
    shown::print();
}
