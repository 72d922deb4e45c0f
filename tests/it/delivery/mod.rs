//! Delivery from the event at the door to what stands in Pipedrive: a whole daemon over an embedded Pipedrive that fails on demand.

mod activities;
mod by_id;
mod aliases;
mod control;
mod deals;
mod failures;
mod harness;
mod identity;
mod kinds;
mod leads;
mod links;
mod lists;
mod matching;
mod observe;
mod options;
mod order;
mod plans;
mod policies;
mod present;
mod quiet;
mod reads;
mod refused;
mod store_trouble;
mod unknown;
mod values;
mod writes;
