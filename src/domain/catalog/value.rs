//! The values that a plan is made from.

use std::cmp::Ordering;

use crate::domain::units::Micros;

/// Where a price came from and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Price {
    /// Dollars an hour (instances) or the unit that the item names.
    pub amount: Micros,
    /// Region the price holds in.
    pub region: String,
    /// Day the source was read, `YYYY-MM-DD`.
    pub date: String,
    /// Address or name of the source.
    pub source: String,
}

/// An x86-64 instance type that can host a runner.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceType {
    /// Such as `c5.xlarge`.
    pub name: String,
    /// Hardware threads.
    pub vcpus: u32,
    /// Threads of a core, 1 or 2.
    pub threads_per_core: u32,
    /// Nominal memory.
    pub memory_mib: u32,
    /// EBS bandwidth that can be sustained, Mbit/s.
    pub ebs_baseline_mbps: u32,
    /// Network as AWS words it, such as `Up to 10 Gigabit`.
    pub network: String,
    /// Whether AWS lists the type as current generation.
    pub current_generation: bool,
    /// Share of a thread that can be used for ever on burstable types; none on the others.
    pub burstable_baseline: Option<f64>,
    /// Pods a node can address with the VPC CNI without prefix delegation.
    pub max_pods: u32,
    /// Thread speed in c5 threads; none if nobody has measured or assumed one: then the type is no candidate.
    pub thread_speed: Option<f64>,
    /// On-demand Linux price in the catalog's region.
    pub price: Option<Price>,
}

impl InstanceType {
    /// Returns the family, the part before the dot.
    pub fn family(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(self.name.as_str(), |(family, _)| family)
    }

    /// Orders by family, inside a family by size.
    pub fn by_name(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.vcpus, row.memory_mib);
        (self.family(), key(self), &self.name).cmp(&(other.family(), key(other), &other.name))
    }
}

/// Prices of everything that is not an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePrices {
    /// gp3 storage, dollars per GB and month.
    pub gp3_gib_month: Price,
    /// gp3 IOPS above 3000, dollars each and month.
    pub gp3_iops_month: Price,
    /// gp3 throughput above 125 MB/s, dollars per MB/s and month.
    pub gp3_mbps_month: Price,
    /// EKS control plane on a version in standard support, dollars an hour.
    pub eks_control_plane_hour: Price,
    /// EKS control plane on a version in extended support, dollars an hour.
    pub eks_extended_hour: Price,
    /// Standard-resolution CloudWatch alarm, dollars per alarm metric and month.
    pub cloudwatch_alarm_month: Price,
    /// CloudWatch custom metric, first tier, dollars a month.
    pub cloudwatch_metric_month: Price,
    /// Public IPv4 address, dollars an hour.
    pub public_ipv4_hour: Price,
    /// NAT gateway, dollars an hour.
    pub nat_gateway_hour: Price,
    /// NAT gateway, dollars per GB processed.
    pub nat_gateway_gb: Price,
    /// CPU above the baseline of a burstable type in unlimited mode, dollars per vCPU-hour.
    pub burstable_surplus_vcpu_hour: Price,
}

/// The table a plan is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// Region the caller asked for.
    pub region: String,
    /// Region the prices are from; differs from `region` when the table has none for it.
    pub price_region: String,
    /// Day of the oldest instance price used.
    pub date: String,
    /// `embedded` or the path of the refreshed file.
    pub origin: String,
    /// Types offered in the region, by name.
    pub types: Vec<InstanceType>,
    /// Everything else that costs.
    pub services: ServicePrices,
}

impl Catalog {
    /// Returns the row of a type.
    pub fn get(&self, name: &str) -> Option<&InstanceType> {
        self.types.iter().find(|row| row.name == name)
    }

    /// Returns whether the prices are of another region, so that callers must say so.
    pub fn has_stand_in_prices(&self) -> bool {
        self.price_region != self.region
    }
}

/// The items of [`ServicePrices`] with the unit that each price is for, as files and documents name them.
const SERVICES: [(&str, &str); 11] = [
    ("gp3-storage", "gb-month"),
    ("gp3-iops", "iops-month"),
    ("gp3-throughput", "mbps-month"),
    ("eks-control-plane", "hour"),
    ("eks-control-plane-extended", "hour"),
    ("cloudwatch-alarm", "alarm-month"),
    ("cloudwatch-metric", "metric-month"),
    ("public-ipv4", "hour"),
    ("nat-gateway", "hour"),
    ("nat-gateway-data", "gb"),
    ("burstable-surplus", "vcpu-hour"),
];

impl ServicePrices {
    /// Makes the prices from a function that knows the price of each item.
    pub fn from_items(mut price: impl FnMut(&str) -> Price) -> Self {
        let mut next = SERVICES.iter().map(|(item, _)| price(item));
        // As many fields as items, in the same order: a test reads every one back.
        let mut take = || next.next().expect("one price for each item");
        Self {
            gp3_gib_month: take(),
            gp3_iops_month: take(),
            gp3_mbps_month: take(),
            eks_control_plane_hour: take(),
            eks_extended_hour: take(),
            cloudwatch_alarm_month: take(),
            cloudwatch_metric_month: take(),
            public_ipv4_hour: take(),
            nat_gateway_hour: take(),
            nat_gateway_gb: take(),
            burstable_surplus_vcpu_hour: take(),
        }
    }

    /// Returns each item's name and price, in the order of the fields.
    pub fn items(&self) -> [(&'static str, &Price); 11] {
        let prices = [
            &self.gp3_gib_month,
            &self.gp3_iops_month,
            &self.gp3_mbps_month,
            &self.eks_control_plane_hour,
            &self.eks_extended_hour,
            &self.cloudwatch_alarm_month,
            &self.cloudwatch_metric_month,
            &self.public_ipv4_hour,
            &self.nat_gateway_hour,
            &self.nat_gateway_gb,
            &self.burstable_surplus_vcpu_hour,
        ];
        std::array::from_fn(|index| (SERVICES[index].0, prices[index]))
    }

    /// Returns what the price of an item is for, such as `gb-month`.
    pub fn unit(item: &str) -> Option<&'static str> {
        SERVICES
            .iter()
            .find(|(name, _)| *name == item)
            .map(|(_, unit)| *unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_back_in_the_order_they_were_given() {
        let price = |item: &str| Price {
            amount: Micros(1),
            region: "us-east-1".to_owned(),
            date: "2026-01-01".to_owned(),
            source: item.to_owned(),
        };
        let services = ServicePrices::from_items(price);
        for (item, price) in services.items() {
            assert_eq!(price.source, item);
            assert!(ServicePrices::unit(item).is_some());
        }
        assert_eq!(services.nat_gateway_gb.source, "nat-gateway-data");
        assert_eq!(ServicePrices::unit("lunch"), None);
    }
}
