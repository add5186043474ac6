//! Checks of the sources against the rules of the project: imports (`layers.rs`), circles between files
//! (`circles.rs`), file headers (`headers.rs`), the map in ARCHITECTURE.md (`map.rs`), dependencies
//! (`dependencies.rs`, `licences.rs`), lints (`lints.rs`), words (`language.rs`), errors (`errors.rs`),
//! registered tests (`registered.rs`), and the guarantees of README.md (`promises.rs`). `tree.rs` finds the
//! files, `reader.rs` reads sources. Nothing is built.

mod circles;
mod dependencies;
mod errors;
mod headers;
mod language;
mod layers;
mod licences;
mod lints;
mod map;
mod promises;
mod reader;
mod registered;
mod tree;
