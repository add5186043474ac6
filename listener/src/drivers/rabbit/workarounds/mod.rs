//! What works around lapin 4.12: one file for each problem, named in its header. Nothing here knows
//! the rest of the driver.

pub(super) mod nested_tables;
pub(super) mod ready;
