//! The `geoseg` program.

fn main() {}
