//! The tables compiled in: made by `tools/catalog/generate.py`, whose header explains the columns.
//!
//! They are read when a catalog is asked for, not at start-up, and only the rows of one region: a plan has no time to lose.

use std::collections::BTreeMap;

use super::value::{Catalog, InstanceType, Price, ServicePrices};
use super::{burstable_baseline, thread_speed};
use crate::domain::units::Micros;

const TYPES: &str = include_str!("instance_types.csv");
const PRICES: &str = include_str!("prices.csv");
const REGIONS: &str = include_str!("regions.csv");
const SOURCES: &str = include_str!("sources.csv");

/// Region whose prices stand in where the table has none.
pub const STAND_IN_REGION: &str = "us-east-1";

/// The embedded table holds nothing for a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownRegion {
    /// The region that was asked for.
    pub region: String,
    /// Whether AWS has such a region: then a refreshed catalog can help.
    pub exists: bool,
    /// Known regions with a similar name, the nearest first.
    pub nearest: Vec<String>,
}

impl std::fmt::Display for UnknownRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.exists {
            write!(
                f,
                "the embedded catalog has no instance types and prices of region `{}`",
                self.region
            )
        } else {
            write!(
                f,
                "there is no AWS region `{}` that the catalog knows",
                self.region
            )
        }
    }
}

impl Catalog {
    /// Reads the embedded table for a region.
    ///
    /// A region with prices of its own gets those, and a type without one stays without. A known region without
    /// any gets the prices of `us-east-1` for everything, never a mixture; `price_region` tells.
    ///
    /// # Errors
    ///
    /// Names the nearest regions if the table holds nothing for this one.
    pub fn embedded(region: &str) -> Result<Self, UnknownRegion> {
        let Some(bit) = regions().position(|(name, known)| name == region && known) else {
            return Err(unknown(region));
        };
        Ok(assemble(region, bit, price_rows(region)))
    }

    /// Returns the regions that the embedded table knows, in order.
    pub fn embedded_regions() -> impl Iterator<Item = &'static str> {
        regions().filter(|(_, known)| *known).map(|(name, _)| name)
    }
}

/// Makes the catalog of the region whose offerings are in the given bit, from its own prices if there are any.
fn assemble(region: &str, bit: usize, own: BTreeMap<&'static str, Price>) -> Catalog {
    let (price_region, prices) = if own.keys().any(|item| item.contains('.')) {
        (region, own)
    } else {
        (STAND_IN_REGION, price_rows(STAND_IN_REGION))
    };
    let types: Vec<InstanceType> = table(TYPES)
        .filter_map(|cells| instance_type(&cells, bit, &prices))
        .collect();
    Catalog {
        region: region.to_owned(),
        price_region: price_region.to_owned(),
        date: oldest(&types),
        origin: "embedded".to_owned(),
        types,
        services: service_prices(price_region),
    }
}

/// Returns the prices of services for a region; what the table has only for us-east-1 says so in its own `region`.
pub(super) fn service_prices(region: &str) -> ServicePrices {
    let (own, stand_in) = (price_rows(region), price_rows(STAND_IN_REGION));
    ServicePrices::from_items(|item| {
        // A test reads every item of the stand-in region, so the default is never seen.
        let price = own.get(item).or_else(|| stand_in.get(item));
        price.cloned().unwrap_or_else(|| Price {
            amount: Micros(0),
            region: STAND_IN_REGION.to_owned(),
            date: String::new(),
            source: "missing".to_owned(),
        })
    })
}

/// Returns the day of the oldest price of a type; empty if there is none.
pub(super) fn oldest(types: &[InstanceType]) -> String {
    types
        .iter()
        .filter_map(|row| row.price.as_ref())
        .map(|price| price.date.as_str())
        .min()
        .unwrap_or_default()
        .to_owned()
}

fn unknown(region: &str) -> UnknownRegion {
    let mut near: Vec<(usize, &str)> = regions()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, region), name))
        .filter(|(distance, _)| *distance <= 3)
        .collect();
    near.sort_unstable();
    UnknownRegion {
        region: region.to_owned(),
        exists: regions().any(|(name, _)| name == region),
        nearest: near
            .into_iter()
            .filter(|(_, name)| *name != region)
            .take(3)
            .map(|(_, name)| name.to_owned())
            .collect(),
    }
}

/// Returns the rows of a table, without comments and header.
fn table(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split(',').collect())
}

fn regions() -> impl Iterator<Item = (&'static str, bool)> {
    table(REGIONS).filter_map(|row| match row[..] {
        [name, known] => Some((name, known == "yes")),
        _ => None,
    })
}

/// Returns the prices of a region by item.
fn price_rows(region: &str) -> BTreeMap<&'static str, Price> {
    PRICES
        .lines()
        // Cheap test first: of the 3800 rows one region has 150.
        .filter(|line| {
            line.strip_prefix(region)
                .is_some_and(|rest| rest.starts_with(','))
        })
        .filter_map(|line| {
            let row: Vec<&'static str> = line.split(',').collect();
            let [_, item, amount, _, date, source] = row[..] else {
                return None;
            };
            let price = Price {
                amount: Micros::parse_dollars(amount)?,
                region: region.to_owned(),
                date: date.to_owned(),
                source: address(source).to_owned(),
            };
            Some((item, price))
        })
        .collect()
}

/// Returns what a source id stands for.
fn address(id: &'static str) -> &'static str {
    SOURCES
        .lines()
        .find_map(|line| line.strip_prefix(id)?.strip_prefix(',')?.split(',').next())
        .unwrap_or(id)
}

fn instance_type(cells: &[&str], bit: usize, prices: &BTreeMap<&str, Price>) -> Option<InstanceType> {
    let [
        name,
        vcpus,
        threads,
        memory,
        ebs,
        network,
        current,
        max_pods,
        offered,
    ] = *cells
    else {
        return None;
    };
    if u64::from_str_radix(offered, 16).ok()? >> bit & 1 == 0 {
        return None;
    }
    let mut row = InstanceType {
        name: name.to_owned(),
        vcpus: vcpus.parse().ok()?,
        threads_per_core: threads.parse().ok()?,
        memory_mib: memory.parse().ok()?,
        ebs_baseline_mbps: ebs.parse().ok()?,
        network: network.to_owned(),
        current_generation: current == "yes",
        burstable_baseline: burstable_baseline(name),
        max_pods: max_pods.parse().ok()?,
        thread_speed: None,
        price: prices.get(name).cloned(),
    };
    row.thread_speed = thread_speed(row.family()).map(|speed| speed.value);
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(catalog: &'a Catalog, name: &str) -> &'a InstanceType {
        catalog
            .get(name)
            .unwrap_or_else(|| panic!("{name} is in {}", catalog.region))
    }

    #[test]
    fn every_row_of_the_tables_is_read() {
        assert_eq!(regions().count(), REGIONS.lines().count() - 2);
        let all: usize = PRICES.lines().count() - 2;
        assert_eq!(
            regions().map(|(name, _)| price_rows(name).len()).sum::<usize>(),
            all
        );
        assert!(
            !TYPES.contains('"') && !PRICES.contains('"') && !SOURCES.contains('"'),
            "cells are split at commas"
        );
        for cells in table(TYPES) {
            let [.., offered] = cells[..] else {
                panic!("empty row")
            };
            let mask = u64::from_str_radix(offered, 16).expect("a bit mask");
            assert!(
                instance_type(&cells, mask.trailing_zeros() as usize, &BTreeMap::new()).is_some(),
                "{cells:?}"
            );
        }
        for (name, _) in regions() {
            for price in price_rows(name).values() {
                assert!(price.amount > Micros(0) && price.source.len() > 20, "{price:?}");
            }
        }
    }

    #[test]
    fn us_east_1_prices_agree_with_the_reference_table() {
        let catalog = Catalog::embedded("us-east-1").expect("known");
        assert_eq!(
            (catalog.region.as_str(), catalog.price_region.as_str()),
            ("us-east-1", "us-east-1")
        );
        assert_eq!(
            (catalog.date.as_str(), catalog.origin.as_str()),
            ("2026-02-09", "embedded")
        );
        // Second reading of the same price list, 2026-07-20.
        for (name, vcpus, gib, dollars) in [
            ("t3a.large", 2, 8, "0.0752"),
            ("t3a.xlarge", 4, 16, "0.1504"),
            ("c5.large", 2, 4, "0.085"),
            ("c5.xlarge", 4, 8, "0.17"),
            ("c5.2xlarge", 8, 16, "0.34"),
            ("c5a.xlarge", 4, 8, "0.154"),
            ("c6a.large", 2, 4, "0.0765"),
            ("c6a.xlarge", 4, 8, "0.153"),
            ("c6a.2xlarge", 8, 16, "0.306"),
            ("c6i.large", 2, 4, "0.085"),
            ("c6i.xlarge", 4, 8, "0.17"),
            ("c6i.2xlarge", 8, 16, "0.34"),
            ("c7i.large", 2, 4, "0.08925"),
            ("c7i.xlarge", 4, 8, "0.1785"),
            ("c7i.2xlarge", 8, 16, "0.357"),
            ("m5.large", 2, 8, "0.096"),
            ("m5.xlarge", 4, 16, "0.192"),
            ("m6a.large", 2, 8, "0.0864"),
            ("m6a.xlarge", 4, 16, "0.1728"),
            ("m6i.large", 2, 8, "0.096"),
            ("m6i.xlarge", 4, 16, "0.192"),
            ("m7i.xlarge", 4, 16, "0.2016"),
            ("r5.large", 2, 16, "0.126"),
            ("r5.xlarge", 4, 32, "0.252"),
        ] {
            let row = of(&catalog, name);
            assert_eq!((row.vcpus, row.memory_mib), (vcpus, gib * 1024), "{name}");
            let price = row.price.as_ref().expect("priced");
            assert_eq!(Some(price.amount), Micros::parse_dollars(dollars), "{name}");
            assert_eq!(
                (price.region.as_str(), price.date.as_str()),
                ("us-east-1", "2026-02-09")
            );
        }
    }

    #[test]
    fn facts_of_a_type_are_complete() {
        let catalog = Catalog::embedded("us-east-1").expect("known");
        let c5 = of(&catalog, "c5.xlarge");
        assert_eq!(
            (c5.threads_per_core, c5.ebs_baseline_mbps, c5.max_pods),
            (2, 1150, 58)
        );
        assert_eq!(c5.network, "Up to 10 Gigabit");
        assert!(!c5.current_generation, "AWS says so, and it stays in the table");
        assert_eq!((c5.thread_speed, c5.burstable_baseline), (Some(1.0), None));
        let c7a = of(&catalog, "c7a.large");
        assert_eq!((c7a.threads_per_core, c7a.thread_speed), (1, Some(1.35)));
        assert_eq!(of(&catalog, "t3a.xlarge").burstable_baseline, Some(0.4));
        assert_eq!(of(&catalog, "c6i.large").max_pods, 29);
        assert_eq!(
            of(&catalog, "c6i.4xlarge").max_pods,
            110,
            "234 addresses, capped below 30 vCPUs"
        );
        assert_eq!(of(&catalog, "c6i.8xlarge").max_pods, 234);
        assert!(
            of(&catalog, "c8i.large").thread_speed.is_none(),
            "nobody has measured it"
        );
        for absent in [
            "c5.metal",
            "c6g.large",
            "t2.large",
            "g5.xlarge",
            "m4.large",
            "t3.nano",
        ] {
            assert!(catalog.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn every_known_region_has_the_qualified_families_or_says_so() {
        for region in Catalog::embedded_regions() {
            let catalog = Catalog::embedded(region).expect("known");
            assert_eq!(
                catalog.price_region, region,
                "every known region has prices of its own today"
            );
            let priced = |family: &str| {
                catalog
                    .types
                    .iter()
                    .any(|row| row.family() == family && row.price.is_some())
            };
            assert!(priced("c5") || priced("c6i"), "{region}");
            for row in &catalog.types {
                assert!(
                    row.price.as_ref().is_none_or(|price| price.region == region),
                    "{region} {}",
                    row.name
                );
            }
        }
    }

    #[test]
    fn prices_of_services_say_which_region_they_are_of() {
        let home = Catalog::embedded("us-east-1").expect("known").services;
        for (item, price) in home.items() {
            assert!(price.amount > Micros(0), "{item}");
            assert_eq!(price.region, "us-east-1", "{item}");
            assert!(price.source.starts_with("https://"), "{item}");
        }
        assert_eq!(home.gp3_gib_month.amount, Micros(80_000));
        assert_eq!(home.gp3_iops_month.amount, Micros(5_000));
        assert_eq!(home.gp3_mbps_month.amount, Micros(40_000));
        assert_eq!(home.eks_control_plane_hour.amount, Micros(100_000));
        assert_eq!(home.eks_extended_hour.amount, Micros(600_000));
        assert_eq!(home.cloudwatch_alarm_month.amount, Micros(100_000));
        assert_eq!(home.cloudwatch_metric_month.amount, Micros(300_000));
        assert_eq!(home.public_ipv4_hour.amount, Micros(5_000));
        assert_eq!(home.nat_gateway_hour.amount, Micros(45_000));
        assert_eq!(home.nat_gateway_gb.amount, Micros(45_000));
        assert_eq!(home.burstable_surplus_vcpu_hour.amount, Micros(50_000));
        let london = Catalog::embedded("eu-west-2").expect("known").services;
        assert_eq!(london.gp3_gib_month.region, "us-east-1");
    }

    #[test]
    fn a_region_without_prices_gets_those_of_us_east_1_for_everything() {
        let bit = regions()
            .position(|(name, _)| name == "eu-west-2")
            .expect("known");
        let catalog = assemble("eu-west-2", bit, BTreeMap::new());
        assert_eq!(
            (catalog.region.as_str(), catalog.price_region.as_str()),
            ("eu-west-2", "us-east-1")
        );
        assert!(catalog.has_stand_in_prices());
        let home = Catalog::embedded("us-east-1").expect("known");
        for row in &catalog.types {
            assert_eq!(
                row.price,
                home.get(&row.name).and_then(|row| row.price.clone()),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn a_type_that_a_region_does_not_offer_is_not_in_its_catalog() {
        let seoul = Catalog::embedded("ap-northeast-2").expect("known");
        let home = Catalog::embedded("us-east-1").expect("known");
        assert!(home.get("c7a.large").is_some());
        assert!(seoul.get("c7a.large").is_none());
    }

    #[test]
    fn an_unknown_region_names_the_nearest() {
        let error = Catalog::embedded("eu-wset-1").expect_err("a typing error");
        assert_eq!(error.nearest.first().map(String::as_str), Some("eu-west-1"));
        assert!(!error.exists);
        let error = Catalog::embedded("us-gov-west-1").expect_err("not in the table");
        assert!(error.exists && !error.nearest.contains(&"us-gov-west-1".to_owned()));
        for odd in [
            "",
            "us-east-1,",
            "us-east-1a",
            "US-EAST-1",
            "é",
            "#",
            &"x".repeat(10_000),
        ] {
            assert!(!Catalog::embedded(odd).expect_err("unknown").exists, "{odd:.20}");
        }
    }
}
