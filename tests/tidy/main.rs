//! Checks of the sources against the rules of the project: imports (`layers.rs`), file headers
//! (`headers.rs`), the map in ARCHITECTURE.md (`map.rs`), dependencies (`dependencies.rs`,
//! `licences.rs`), lints (`lints.rs`), words (`language.rs`), errors (`errors.rs`), registered tests
//! (`registered.rs`), and promises (`promises.rs`). `tree.rs` finds the files. Nothing is built.

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
