//! Spawner
fn main() {}
