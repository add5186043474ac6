//! Where the configuration of a deployment comes from: variables, files with secrets, the TOML file, and the
//! files of oslo.config, with what each of their options does.

#![doc = include_str!("configuration.md")]
