//! Instance types and prices as values, each with its region, date and source.
//!
//! `embedded` reads the tables compiled in, `document` the file that `catalog refresh` keeps; `price_list` understands
//! the documents of AWS' price list, and `families` holds what is said of whole families.

mod document;
mod embedded;
mod families;
pub mod price_list;
mod value;

pub use document::{BadCatalog, SCHEMA};
pub use embedded::{STAND_IN_REGION, UnknownRegion};
pub use families::{
    QualifiedFamily, SMALLEST_MEMORY_MIB, ThreadSpeed, burstable_baseline, is_listed_family, max_pods,
    qualified_families, thread_speed,
};
pub use value::{Catalog, InstanceType, Price, ServicePrices};
