//! The queue behind the recommendation: traces replayed against hosts, and the statistics of the outcome.

pub mod cluster;
pub mod onepass;
pub mod record;
pub mod replay;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod textbook;
