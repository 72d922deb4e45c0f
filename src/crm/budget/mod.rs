//! The tokens of each account: who spent them for what, how many are left today, and who has to wait for more.
//!
//! Invariants:
//! - A request is charged when it is sent, whatever becomes of it, by account, day, rule and purpose.
//! - With a budget, ordinary requests never bring what is spent from one reset to the next above `tokens_per_day` less the reserve, and
//!   nothing brings it above `tokens_per_day`, however many ask at once.
//! - What is charged is in the store a second later, and when the daemon stops: a crash forgets the last second at most.
//! - Before the budget is spent, rules with a lower priority wait for those with a higher one: once what is left is only what these will
//!   need until the reset at their present rate.
//!
//! A book is one account's part, pure, with the time as an argument; [`Ledger`] keeps the books, reads the clock and the store.

mod book;
mod day;
mod ledger;
mod rates;
mod report;

pub use book::Hold;
pub use ledger::{Clock, Ledger};
pub use report::{BudgetReport, DayReport, Forecast, Limits, Sum, Waits, grouped};
