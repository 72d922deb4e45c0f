//! Tests of the plan layer as a whole: from a script's words to request bodies.

mod any;
mod bodies;
mod known;
mod problems;
mod shapes;
mod undo;
