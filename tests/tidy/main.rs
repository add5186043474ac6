//! Checks of the sources against the rules of the project: imports (`layers.rs`), circles between files
//! (`circles.rs`), file headers (`headers.rs`), the map in ARCHITECTURE.md (`map.rs`), dependencies
//! (`dependencies.rs`, `licences.rs`), lints (`lints.rs`), words (`language.rs`), errors (`errors.rs`),
//! registered tests (`registered.rs`), the guarantees of README.md (`promises.rs`), and the tests that the
//! comparison with oslo.messaging names (`checklist.rs`). `tree.rs` finds the files, `reader.rs` reads
//! sources. Nothing is built.

mod checklist;
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
