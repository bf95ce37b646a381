//! The command `convodb`.
fn main() {}
