//! Instance types, offerings and prices of a region, read from EC2 and the price list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_ec2::types::{Filter, InstanceTypeInfo};
use aws_sdk_pricing::types::{Filter as PriceFilter, FilterType};

use super::error::{CallError, classify};
use crate::domain::catalog::price_list::{self, Item};
use crate::domain::catalog::{
    Catalog, InstanceType, Price, SMALLEST_MEMORY_MIB, burstable_baseline, is_listed_family, max_pods,
    thread_speed,
};
use crate::domain::units::Micros;

const TYPES: &str = "ec2:DescribeInstanceTypes";
const OFFERINGS: &str = "ec2:DescribeInstanceTypeOfferings";
const PRICES: &str = "pricing:GetProducts";

/// What a reading needs permission for.
pub const ACTIONS: [&str; 3] = [TYPES, OFFERINGS, PRICES];

/// Name of the source in every price that was read.
const SOURCE: &str = "AWS price list (GetProducts)";

/// Attempts at a page of the price list, the first included: it throttles readers of many pages.
const PRICE_ATTEMPTS: u32 = 5;

/// How far a reading is; counts only grow.
#[derive(Debug, Default)]
pub struct Progress {
    /// Instance types described.
    pub types: AtomicUsize,
    /// Documents of the price list read.
    pub prices: AtomicUsize,
}

/// Reads the catalog of the region that `config` is set to.
///
/// `today` becomes the date of each price. A type that the region does not offer is left out, a type without a price,
/// or with two different ones, stays without.
///
/// # Errors
///
/// Says which call failed; an answer without types or without any price is an error too, never an empty catalog.
pub async fn read(config: &SdkConfig, today: &str, progress: &Progress) -> Result<Catalog, CallError> {
    let region = config.region().map(Region::to_string).unwrap_or_default();
    let ec2 = aws_sdk_ec2::Client::new(config);
    let pricing = pricing_client(config, &region);
    let (mut types, offered, prices) = tokio::try_join!(
        instance_types(&ec2, progress),
        offerings(&ec2),
        prices(&pricing, &region, progress),
    )?;
    types.retain(|row| offered.contains(&row.name));
    if types.is_empty() {
        return Err(CallError::Malformed {
            action: TYPES,
            cause: format!("no x86-64 instance type is offered in {region}"),
        });
    }
    let dated = |amount: Micros| Price {
        amount,
        region: region.clone(),
        date: today.to_owned(),
        source: SOURCE.to_owned(),
    };
    let mut services = BTreeMap::new();
    for (item, amount) in prices {
        match item {
            Item::Instance(name) => {
                if let Some(row) = types.iter_mut().find(|row| row.name == name) {
                    row.price = Some(dated(amount));
                }
            }
            Item::Service(item) => {
                services.insert(item.to_owned(), dated(amount));
            }
        }
    }
    if types.iter().all(|row| row.price.is_none()) {
        return Err(CallError::Malformed {
            action: PRICES,
            cause: format!("the price list has no Linux on-demand price for {region}"),
        });
    }
    Ok(Catalog::refreshed(&region, SOURCE, types, services))
}

/// The price list answers in three regions only, for all regions; the nearest saves a trip around the world.
fn pricing_client(config: &SdkConfig, region: &str) -> aws_sdk_pricing::Client {
    let nearest = match region.split('-').next() {
        Some("eu" | "af" | "me" | "il") => "eu-central-1",
        Some("ap") => "ap-south-1",
        _ => "us-east-1",
    };
    let config = aws_sdk_pricing::config::Builder::from(config)
        .region(Region::new(nearest))
        .retry_config(RetryConfig::standard().with_max_attempts(PRICE_ATTEMPTS))
        .build();
    aws_sdk_pricing::Client::from_conf(config)
}

async fn instance_types(
    ec2: &aws_sdk_ec2::Client,
    progress: &Progress,
) -> Result<Vec<InstanceType>, CallError> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let mut pages = ec2
        .describe_instance_types()
        .filters(filter("processor-info.supported-architecture", "x86_64"))
        .filters(filter("hypervisor", "nitro"))
        .filters(filter("bare-metal", "false"))
        .into_paginator()
        .page_size(100)
        .send();
    let mut types = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(TYPES, &error))?;
        types.extend(page.instance_types().iter().filter_map(instance_type));
        progress.types.store(types.len(), Ordering::Relaxed);
    }
    Ok(types)
}

async fn offerings(ec2: &aws_sdk_ec2::Client) -> Result<BTreeSet<String>, CallError> {
    let mut pages = ec2
        .describe_instance_type_offerings()
        .into_paginator()
        .page_size(1000)
        .send();
    let mut offered = BTreeSet::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(OFFERINGS, &error))?;
        let names = page.instance_type_offerings().iter();
        offered.extend(names.filter_map(|row| Some(row.instance_type()?.as_str().to_owned())));
    }
    Ok(offered)
}

/// Returns our row; none for a type that the catalog does not list or that AWS describes in part.
fn instance_type(info: &InstanceTypeInfo) -> Option<InstanceType> {
    let name = info.instance_type()?.as_str();
    let family = name.split_once('.')?.0;
    let accelerated = info.gpu_info().is_some()
        || info.fpga_info().is_some()
        || info.inference_accelerator_info().is_some()
        || info.neuron_info().is_some();
    let memory = info.memory_info()?.size_in_mib()?;
    if accelerated || !is_listed_family(family) || memory < SMALLEST_MEMORY_MIB {
        return None;
    }
    let whole = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    let (cpu, network) = (info.v_cpu_info()?, info.network_info()?);
    let vcpus = whole(cpu.default_v_cpus())?;
    Some(InstanceType {
        name: name.to_owned(),
        vcpus,
        threads_per_core: whole(cpu.default_threads_per_core())?,
        memory_mib: u32::try_from(memory).ok()?,
        ebs_baseline_mbps: whole(
            info.ebs_info()?
                .ebs_optimized_info()?
                .baseline_bandwidth_in_mbps(),
        )?,
        network: network.network_performance().unwrap_or_default().to_owned(),
        current_generation: info.current_generation().unwrap_or_default(),
        burstable_baseline: burstable_baseline(name),
        max_pods: max_pods(
            whole(network.maximum_network_interfaces())?,
            whole(network.ipv4_addresses_per_interface())?,
            vcpus,
        ),
        thread_speed: thread_speed(family).map(|speed| speed.value),
        price: None,
    })
}

/// What is asked of the price list: the service's code and the attributes that must match.
const QUERIES: &[(&str, &[(&str, &str)])] = &[
    (
        "AmazonEC2",
        &[
            ("operatingSystem", "Linux"),
            ("preInstalledSw", "NA"),
            ("tenancy", "Shared"),
            ("capacitystatus", "Used"),
            ("licenseModel", "No License required"),
        ],
    ),
    ("AmazonEC2", &[("volumeApiName", "gp3")]),
    ("AmazonEC2", &[("productFamily", "NAT Gateway")]),
    ("AmazonEKS", &[("productFamily", "Compute")]),
];

/// Returns the price of each item; an item with two different prices is left out.
async fn prices(
    pricing: &aws_sdk_pricing::Client,
    region: &str,
    progress: &Progress,
) -> Result<Vec<(Item, Micros)>, CallError> {
    let mut found: Vec<(Item, Micros)> = Vec::new();
    let mut read = 0;
    for (service, attributes) in QUERIES {
        let mut query = pricing
            .get_products()
            .service_code(*service)
            .format_version("aws_v1");
        for (field, value) in attributes.iter().chain([&("regionCode", region)]) {
            let filter = PriceFilter::builder()
                .r#type(FilterType::TermMatch)
                .field(*field)
                .value(*value)
                .build()
                .map_err(|error| CallError::Malformed {
                    action: PRICES,
                    cause: error.to_string(),
                })?;
            query = query.filters(filter);
        }
        let mut pages = query.into_paginator().page_size(100).send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(PRICES, &error))?;
            read += page.price_list().len();
            found.extend(page.price_list().iter().filter_map(|text| price_list::read(text)));
            progress.prices.store(read, Ordering::Relaxed);
        }
    }
    let mut by_item: BTreeMap<Item, BTreeSet<Micros>> = BTreeMap::new();
    for (item, amount) in found {
        by_item.entry(item).or_default().insert(amount);
    }
    Ok(by_item
        .into_iter()
        .filter(|(_, amounts)| amounts.len() == 1)
        .filter_map(|(item, amounts)| Some((item, amounts.into_iter().next()?)))
        .collect())
}
