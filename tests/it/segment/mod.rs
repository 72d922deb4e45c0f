//! Coming from Segment: what `import-segment` makes of an export comes to the same in Pipedrive as what a person wrote by hand.

mod cases;
mod command;
