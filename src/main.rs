//! Wiring only: the allocator and the command line.

fn main() {}
