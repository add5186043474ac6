//! What the project says about itself, held against its files: the import table
//! (`layers.rs`), the header of each file (`headers.rs`), the map in ARCHITECTURE.md
//! (`map.rs`), what is drawn in (`dependencies.rs`, `licences.rs`), the lints of each crate
//! (`lints.rs`), its words (`language.rs`), what errors print (`errors.rs`), that every test is run (`registered.rs`), that the
//! promises are one list (`promises.rs`). Which files there are is found in `tree.rs`. Nothing is
//! built.

mod dependencies;
mod errors;
mod headers;
mod language;
mod layers;
mod licences;
mod lints;
mod map;
mod promises;
mod registered;
mod tree;
