//! The catalog as a JSON document: what `catalog show` prints and what `catalog refresh` keeps in the cache.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::embedded::{oldest, service_prices};
use super::value::{Catalog, InstanceType, Price, ServicePrices};
use super::{burstable_baseline, thread_speed};
use crate::domain::units::Micros;

/// Name and version of the document.
pub const SCHEMA: &str = "dataops-infra/catalog/v1";

/// A document that cannot be used as a catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadCatalog {
    /// The file, as it was given.
    pub path: String,
    /// What is wrong, with the place in the file where there is one.
    pub problem: String,
}

#[derive(Deserialize)]
struct Written {
    schema: String,
    region: String,
    types: Vec<WrittenType>,
    services: BTreeMap<String, WrittenPrice>,
}

#[derive(Deserialize)]
struct WrittenType {
    instance_type: String,
    vcpus: u32,
    threads_per_core: u32,
    memory_mib: u32,
    ebs_baseline_mbps: u32,
    network: String,
    current_generation: bool,
    max_pods: u32,
    price: Option<WrittenPrice>,
}

#[derive(Deserialize)]
struct WrittenPrice {
    amount: String,
    region: String,
    date: String,
    source: String,
}

impl Catalog {
    /// Reads a catalog that `catalog refresh` wrote; `path` becomes its origin.
    ///
    /// Thread speeds and burstable baselines are not AWS' to tell and come from our own data whatever the file says.
    /// A service that the file lacks keeps its embedded price, which carries its own region and date.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the file and where.
    pub fn from_refreshed(text: &str, path: &str) -> Result<Self, BadCatalog> {
        let bad = |problem: String| BadCatalog {
            path: path.to_owned(),
            problem,
        };
        let written: Written = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if written.schema != SCHEMA {
            return Err(bad(format!(
                "the schema is `{}`, expected `{SCHEMA}`",
                written.schema
            )));
        }
        let types = written
            .types
            .into_iter()
            .map(|row| instance_type(row, &written.region))
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad)?;
        if types.is_empty() {
            return Err(bad("no instance type".to_owned()));
        }
        let mut names: Vec<&str> = types.iter().map(|row| row.name.as_str()).collect();
        names.sort_unstable();
        if let Some((name, _)) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(bad(format!("`{name}` stands there twice")));
        }
        let mut services = BTreeMap::new();
        for (item, value) in written.services {
            let value = price(value).map_err(|problem| bad(format!("services.{item}: {problem}")))?;
            services.insert(item, value);
        }
        Ok(Self::refreshed(&written.region, path, types, services))
    }

    /// Makes a catalog of what AWS has answered for a region.
    ///
    /// `services` holds items by their names in [`ServicePrices`]; what is missing keeps its embedded price.
    pub fn refreshed(
        region: &str,
        origin: &str,
        mut types: Vec<InstanceType>,
        mut services: BTreeMap<String, Price>,
    ) -> Self {
        types.sort_by(InstanceType::by_name);
        let embedded = service_prices(region);
        let kept: BTreeMap<&str, &Price> = embedded.items().into_iter().collect();
        Self {
            region: region.to_owned(),
            price_region: region.to_owned(),
            date: oldest(&types),
            origin: origin.to_owned(),
            types,
            services: ServicePrices::from_items(|item| {
                services.remove(item).unwrap_or_else(|| kept[item].clone())
            }),
        }
    }

    /// Returns the document.
    pub fn document(&self) -> Value {
        let services: serde_json::Map<String, Value> = self
            .services
            .items()
            .into_iter()
            .map(|(item, price)| {
                (
                    item.to_owned(),
                    price_document(price, ServicePrices::unit(item).unwrap_or("hour")),
                )
            })
            .collect();
        json!({
            "schema": SCHEMA,
            "region": self.region,
            "price_region": self.price_region,
            "catalog_date": self.date,
            "origin": self.origin,
            "types": self.types.iter().map(type_document).collect::<Vec<_>>(),
            "services": services,
        })
    }
}

fn type_document(row: &InstanceType) -> Value {
    json!({
        "instance_type": row.name,
        "vcpus": row.vcpus,
        "threads_per_core": row.threads_per_core,
        "memory_mib": row.memory_mib,
        "ebs_baseline_mbps": row.ebs_baseline_mbps,
        "network": row.network,
        "current_generation": row.current_generation,
        "burstable_baseline": row.burstable_baseline,
        "max_pods": row.max_pods,
        "thread_speed": thread_speed(row.family()),
        "price": row.price.as_ref().map(|price| price_document(price, "hour")),
    })
}

fn price_document(price: &Price, unit: &str) -> Value {
    json!({
        "amount": price.amount,
        "unit": unit,
        "region": price.region,
        "date": price.date,
        "source": price.source,
    })
}

fn instance_type(row: WrittenType, region: &str) -> Result<InstanceType, String> {
    let name = row.instance_type;
    let wrong = |problem: &str| Err(format!("{name:?}: {problem}"));
    if name.len() > 64 || !name.contains('.') || !name.bytes().all(is_name_byte) {
        return wrong("is no name of an instance type");
    }
    if !(1..=4096).contains(&row.vcpus) || !(1..=8).contains(&row.threads_per_core) {
        return wrong("vcpus or threads_per_core is out of range");
    }
    if row.memory_mib == 0 {
        return wrong("memory_mib is 0");
    }
    let price = match row.price.map(price).transpose() {
        Ok(price) => price,
        Err(problem) => return wrong(&problem),
    };
    if price.as_ref().is_some_and(|price| price.region != region) {
        return wrong("the price is of another region");
    }
    let mut value = InstanceType {
        burstable_baseline: burstable_baseline(&name),
        name,
        vcpus: row.vcpus,
        threads_per_core: row.threads_per_core,
        memory_mib: row.memory_mib,
        ebs_baseline_mbps: row.ebs_baseline_mbps,
        network: row.network,
        current_generation: row.current_generation,
        max_pods: row.max_pods,
        thread_speed: None,
        price,
    };
    value.thread_speed = thread_speed(value.family()).map(|speed| speed.value);
    Ok(value)
}

fn price(written: WrittenPrice) -> Result<Price, String> {
    let amount = Micros::parse_dollars(&written.amount).filter(|amount| *amount > Micros(0));
    Ok(Price {
        amount: amount.ok_or_else(|| format!("the price {:?} is no positive decimal", written.amount))?,
        region: written.region,
        date: written.date,
        source: written.source,
    })
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn london() -> Catalog {
        let mut catalog = Catalog::embedded("eu-west-2").expect("known");
        catalog
            .types
            .retain(|row| ["c5", "t3a", "c8i"].contains(&row.family()));
        catalog
    }

    #[test]
    fn what_was_written_is_read_back() {
        let catalog = london();
        let read =
            Catalog::from_refreshed(&catalog.document().to_string(), "a.json").expect("its own document");
        assert_eq!(read.origin, "a.json");
        assert_eq!(
            Catalog {
                origin: "embedded".to_owned(),
                ..read
            },
            catalog
        );
    }

    #[test]
    fn a_row_of_the_document_looks_as_documented() {
        let mut catalog = london();
        catalog.types.retain(|row| row.name == "t3a.large");
        insta::assert_json_snapshot!(catalog.document()["types"][0], @r#"
        {
          "instance_type": "t3a.large",
          "vcpus": 2,
          "threads_per_core": 2,
          "memory_mib": 8192,
          "ebs_baseline_mbps": 695,
          "network": "Up to 5 Gigabit",
          "current_generation": true,
          "burstable_baseline": 0.3,
          "max_pods": 35,
          "thread_speed": {
            "value": 0.72,
            "basis": "assumed"
          },
          "price": {
            "amount": "0.085",
            "unit": "hour",
            "region": "eu-west-2",
            "date": "2025-03-02",
            "source": "apache-libcloud 3.9.1 (libcloud/data/pricing.json)"
          }
        }
        "#);
    }

    #[test]
    fn a_service_that_the_file_lacks_keeps_its_embedded_price() {
        let mut document = london().document();
        document["services"] = json!({
            "gp3-storage": {"amount": "0.0928", "region": "eu-west-2", "date": "2026-11-21", "source": "AWS price list"},
            "lunch": {"amount": "1", "region": "eu-west-2", "date": "2026-11-21", "source": "nobody"},
        });
        let services = Catalog::from_refreshed(&document.to_string(), "a.json")
            .expect("readable")
            .services;
        assert_eq!(services.gp3_gib_month.amount, Micros(92_800));
        assert_eq!(services.nat_gateway_hour.region, "us-east-1");
    }

    #[test]
    fn a_file_that_is_not_right_is_refused_with_the_place() {
        let problem = |text: &str| {
            Catalog::from_refreshed(text, "a.json")
                .expect_err("refused")
                .to_string()
        };
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{\"schema\":1}",
            "\u{0}",
            &"[".repeat(100_000),
        ] {
            assert!(problem(text).starts_with("a.json: "), "{text:.20}");
        }
        let edited = |edit: fn(&mut Value)| {
            let mut document = london().document();
            edit(&mut document);
            problem(&document.to_string())
        };
        for (found, expected) in [
            (
                edited(|d| d["schema"] = "dataops-infra/catalog/v9".into()),
                "expected `dataops-infra/catalog/v1`",
            ),
            (edited(|d| d["types"] = json!([])), "no instance type"),
            (edited(|d| d["types"][0]["vcpus"] = 0.into()), "out of range"),
            (edited(|d| d["types"][0]["vcpus"] = (-1).into()), "expected u32"),
            (
                edited(|d| d["types"][0]["memory_mib"] = 0.into()),
                "memory_mib is 0",
            ),
            (
                edited(|d| d["types"][0]["instance_type"] = "c5".into()),
                "no name of an instance type",
            ),
            (
                edited(|d| d["types"][0]["instance_type"] = "c5.\u{1b}[2J".into()),
                "no name of an instance type",
            ),
            (edited(|d| d["types"][1] = d["types"][0].clone()), "twice"),
            (
                edited(|d| d["types"][0]["price"]["amount"] = "-1".into()),
                "no positive decimal",
            ),
            (
                edited(|d| d["types"][0]["price"]["region"] = "eu-west-1".into()),
                "another region",
            ),
            (
                edited(|d| d["services"]["gp3-storage"]["amount"] = "0".into()),
                "services.gp3-storage",
            ),
        ] {
            assert!(found.contains(expected), "{found} should say {expected}");
        }
    }
}
