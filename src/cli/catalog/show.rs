//! `dataops-infra catalog show`.

use std::cmp::Ordering;

use super::cache::{age, load, today};
use crate::cli::outcome::{Answer, Context, Exit, Failure, Outcome};
use crate::domain::catalog::{Catalog, InstanceType, ServicePrices, thread_speed};
use crate::render::page::{Page, Table};

const HELP: &str = "\
Examples:
  dataops-infra catalog show
  dataops-infra catalog show --family c5,c6i,t3a --region eu-west-2
  dataops-infra catalog show --family 'm*' --min-vcpus 4 --min-memory-gib 16 --priced --sort price
  dataops-infra catalog show --output json | jq '.types[] | select(.price)'

A type without a price or without a known thread speed is listed and never
recommended.";

/// Arguments of `catalog show`.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = HELP)]
pub struct ShowArgs {
    /// Families or types, with * and ?: c5,c6i or 'c*' or '*.xlarge'.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    pub family: Vec<String>,
    /// Least number of vCPUs.
    #[arg(long, value_name = "N")]
    pub min_vcpus: Option<u32>,
    /// Least memory, GiB.
    #[arg(long, value_name = "N")]
    pub min_memory_gib: Option<u32>,
    /// Only what AWS calls current generation; leaves out c5 and m5.
    #[arg(long)]
    pub current: bool,
    /// Only types with a price.
    #[arg(long)]
    pub priced: bool,
    /// Order of the rows.
    #[arg(long, value_enum, default_value_t = Sort::Name, value_name = "COLUMN")]
    pub sort: Sort,
}

/// Orders of the rows; what has no price stands last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Family, then size.
    #[default]
    Name,
    /// Cheapest first.
    Price,
    /// Fewest first.
    Vcpus,
    /// Least first.
    Memory,
    /// Cheapest vCPU first.
    PricePerVcpu,
}

/// Runs the command.
pub fn run(args: &ShowArgs, context: &Context) -> Outcome {
    let (mut catalog, notices) = load(super::region(context)?, context)?;
    select(&mut catalog, args)?;
    let mut notes: Vec<String> = notices.into_iter().map(|notice| notice.message).collect();
    if let Some(days) = age(&catalog, today()) {
        notes[0] = format!("{} ({days} days ago)", notes[0]);
    }
    Ok(Answer {
        document: catalog.document(),
        page: page(&catalog, notes, context.verbose > 0),
        exit: Exit::Done,
    })
}

/// Filters and sorts the types; the date stays that of the whole table.
fn select(catalog: &mut Catalog, args: &ShowArgs) -> Result<(), Failure> {
    for pattern in &args.family {
        if !catalog.types.iter().any(|row| matches(pattern, row)) {
            return Err(no_match(pattern, catalog));
        }
    }
    let gib = u64::from(args.min_memory_gib.unwrap_or(0));
    catalog.types.retain(|row| {
        (args.family.is_empty() || args.family.iter().any(|pattern| matches(pattern, row)))
            && row.vcpus >= args.min_vcpus.unwrap_or(0)
            && u64::from(row.memory_mib) >= gib * 1024
            && (row.current_generation || !args.current)
            && (row.price.is_some() || !args.priced)
    });
    catalog
        .types
        .sort_by(|a, b| order(args.sort, a, b).then_with(|| a.by_name(b)));
    Ok(())
}

fn order(sort: Sort, a: &InstanceType, b: &InstanceType) -> Ordering {
    let amount = |row: &InstanceType| row.price.as_ref().map(|price| i128::from(price.amount.0));
    let last = |row: &InstanceType| row.price.is_none();
    match sort {
        Sort::Name => Ordering::Equal,
        Sort::Price => (last(a), amount(a)).cmp(&(last(b), amount(b))),
        Sort::Vcpus => a.vcpus.cmp(&b.vcpus),
        Sort::Memory => a.memory_mib.cmp(&b.memory_mib),
        Sort::PricePerVcpu => {
            // Cross-multiplied: whole numbers only.
            let of = |row, other: &InstanceType| amount(row).map(|amount| amount * i128::from(other.vcpus));
            (last(a), of(a, b)).cmp(&(last(b), of(b, a)))
        }
    }
}

fn matches(pattern: &str, row: &InstanceType) -> bool {
    let subject = if pattern.contains('.') {
        row.name.as_str()
    } else {
        row.family()
    };
    glob(pattern.as_bytes(), subject.as_bytes())
}

/// Matches `*` and `?`; steps back to the last star only, so the time is at most the product of the lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn no_match(pattern: &str, catalog: &Catalog) -> Failure {
    let mut names: Vec<&str> = catalog
        .types
        .iter()
        .map(|row| {
            if pattern.contains('.') {
                row.name.as_str()
            } else {
                row.family()
            }
        })
        .collect();
    names.dedup();
    let nearest = names
        .into_iter()
        .min_by_key(|name| strsim::damerau_levenshtein(name, pattern));
    let failure = Failure::new(
        Exit::BadInput,
        format!(
            "no instance type that {} offers matches {pattern:?}",
            catalog.region
        ),
    );
    match nearest.filter(|name| strsim::damerau_levenshtein(name, pattern) <= 2) {
        Some(name) => failure.hint(format!("did you mean {name}?")),
        None => failure.hint(format!("dataops-infra catalog show --region {}", catalog.region)),
    }
}

fn page(catalog: &Catalog, notes: Vec<String>, wide: bool) -> Page {
    let mut page = Page::new();
    page.heading(format!("Instance types in {}", catalog.region));
    // What fits 80 columns; the rest with -v, and in the JSON always.
    let mut headers = vec![
        "type",
        ">vCPU",
        ">GiB",
        ">speed",
        ">EBS Mbit/s",
        "Gbit/s",
        ">$/hour",
        ">$/month",
    ];
    if wide {
        headers.extend([">threads a core", "current", ">pods", ">baseline", "price of"]);
    }
    let mut table = Table::new(&headers);
    for row in &catalog.types {
        let none = || "-".to_owned();
        let price = row.price.as_ref();
        let mut cells = vec![
            row.name.clone(),
            row.vcpus.to_string(),
            gib(row.memory_mib),
            row.thread_speed.map_or_else(none, |speed| format!("{speed:.2}")),
            row.ebs_baseline_mbps.to_string(),
            row.network.trim_end_matches(" Gigabit").to_owned(),
            price.map_or_else(none, |price| price.amount.to_string()),
            price.map_or_else(none, |price| price.amount.per_month().cents()),
        ];
        if wide {
            cells.extend([
                row.threads_per_core.to_string(),
                if row.current_generation { "yes" } else { "no" }.to_owned(),
                row.max_pods.to_string(),
                row.burstable_baseline
                    .map_or_else(none, |share| format!("{:.0} %", share * 100.0)),
                price.map_or_else(none, |price| price.date.clone()),
            ]);
        }
        table.row(cells);
    }
    if table.rows.is_empty() {
        page.text("No type fits all of the filters.");
    }
    page.table(table);
    if !wide {
        page.text("Threads a core, pods, burstable baseline, generation and the date of each price: -v, or --output json.");
    }
    page.heading("Everything else");
    let mut services = Table::new(&["item", ">$", "per", "region", "price of"]);
    for (item, price) in catalog.services.items() {
        services.row([
            item.to_owned(),
            price.amount.to_string(),
            ServicePrices::unit(item).unwrap_or_default().to_owned(),
            price.region.clone(),
            price.date.clone(),
        ]);
    }
    page.table(services);
    page.heading("Where this comes from");
    let mut sources: Vec<&str> = catalog
        .types
        .iter()
        .filter_map(|row| Some(row.price.as_ref()?.source.as_str()))
        .chain(
            catalog
                .services
                .items()
                .into_iter()
                .map(|(_, price)| price.source.as_str()),
        )
        .collect();
    sources.sort_unstable();
    sources.dedup();
    let unpriced = catalog.types.iter().filter(|row| row.price.is_none()).count();
    let unmeasured = catalog
        .types
        .iter()
        .filter(|row| thread_speed(row.family()).is_none())
        .count();
    let mut facts = notes;
    if unpriced + unmeasured > 0 {
        facts.push(format!(
            "{unpriced} of these {} types have no price and {unmeasured} no known thread speed; they are never recommended",
            catalog.types.len()
        ));
    }
    facts.push("thread speeds are assumed, in threads of c5".to_owned());
    facts.push(format!("sources of prices: {}", sources.join("; ")));
    page.bullets(facts);
    page
}

/// Writes whole GiB without, others with one decimal.
fn gib(mib: u32) -> String {
    if mib.is_multiple_of(1024) {
        (mib / 1024).to_string()
    } else {
        format!("{:.1}", f64::from(mib) / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(region: &str, args: &ShowArgs) -> Vec<String> {
        let mut catalog = Catalog::embedded(region).expect("known");
        select(&mut catalog, args).expect("matches");
        catalog.types.into_iter().map(|row| row.name).collect()
    }

    fn families(list: &[&str]) -> ShowArgs {
        ShowArgs {
            family: list.iter().map(|&name| name.to_owned()).collect(),
            ..ShowArgs::default()
        }
    }

    #[test]
    fn patterns_match_families_or_whole_names() {
        for (pattern, text, expected) in [
            ("c5", "c5", true),
            ("c5", "c5d", false),
            ("c*", "c7i-flex", true),
            ("c?i", "c6i", true),
            ("*", "", true),
            ("", "", true),
            ("", "c5", false),
            ("*a*a*", "aab", true),
            ("*aaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("c5.", "c5.large", false),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        assert_eq!(
            names("us-east-1", &families(&["c5.*large", "t3a.small"])).len(),
            9
        );
        assert_eq!(names("us-east-1", &families(&["c5", "c6i"])).len(), 8 + 9);
    }

    #[test]
    fn filters_hold_together() {
        let args = ShowArgs {
            min_vcpus: Some(4),
            min_memory_gib: Some(16),
            priced: true,
            sort: Sort::Price,
            ..families(&["c*", "m5*", "t3a"])
        };
        assert_eq!(
            names("us-east-1", &args)[..3],
            ["t3a.xlarge", "m5a.xlarge", "m5.xlarge"]
        );
        let current = ShowArgs {
            current: true,
            ..families(&["c5*"])
        };
        assert!(
            names("us-east-1", &current)
                .iter()
                .all(|name| !name.starts_with("c5."))
        );
        let huge = ShowArgs {
            min_memory_gib: Some(u32::MAX),
            ..ShowArgs::default()
        };
        assert!(names("us-east-1", &huge).is_empty());
    }

    #[test]
    fn types_without_a_price_stand_last() {
        let home = Catalog::embedded("us-east-1").expect("known");
        let unpriced = home.types.iter().filter(|row| row.price.is_none()).count();
        assert!(unpriced > 0);
        for sort in [Sort::Price, Sort::PricePerVcpu] {
            let args = ShowArgs {
                sort,
                ..ShowArgs::default()
            };
            let order = names("us-east-1", &args);
            let tail = &order[order.len() - unpriced..];
            assert!(
                tail.iter()
                    .all(|name| home.get(name).is_some_and(|row| row.price.is_none()))
            );
        }
        let cheapest = ShowArgs {
            sort: Sort::PricePerVcpu,
            ..families(&["c5", "c5a", "c6a"])
        };
        assert!(names("us-east-1", &cheapest)[0].starts_with("c6a."));
        for sort in [Sort::Vcpus, Sort::Memory] {
            let args = ShowArgs {
                sort,
                ..ShowArgs::default()
            };
            assert_eq!(names("us-east-1", &args).len(), home.types.len());
        }
    }

    #[test]
    fn a_pattern_without_a_match_names_the_nearest() {
        let mut catalog = Catalog::embedded("us-east-1").expect("known");
        let failure = select(&mut catalog, &families(&["c5", "c6l"])).expect_err("no such family");
        assert_eq!(failure.exit, Exit::BadInput);
        assert_eq!(failure.hint.as_deref(), Some("did you mean c6a?"));
        let failure = select(&mut catalog, &families(&["lunch"])).expect_err("no such family");
        assert!(failure.hint.is_some_and(|hint| hint.contains("catalog show")));
    }
}
