//! What a plan costs, line by line, with the source and the date of each price.

use serde::Serialize;

use super::alarms::Alarm;
use crate::domain::catalog::Price;
use crate::domain::profile::Target;
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::Question;
use crate::domain::units::{HOURS_PER_MONTH, Micros};

/// A line of the cost.
#[derive(Clone, Debug, Serialize)]
pub struct CostLine {
    /// What.
    pub what: String,
    /// How many.
    pub quantity: String,
    /// In which unit.
    pub unit: &'static str,
    /// Price of one.
    pub unit_price: Micros,
    /// Dollars a month.
    pub monthly: String,
    /// Where the price is from.
    pub source: String,
    /// When it was read.
    pub date: String,
}

/// What it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// `USD`.
    pub currency: &'static str,
    /// Sum of `lines`.
    pub monthly_total: String,
    /// 730.
    pub hours_per_month: i64,
    /// Day of the prices.
    pub catalog_date: String,
    /// Hosts, disks, control plane.
    pub lines: Vec<CostLine>,
    /// What comes with any choice and is not in the total.
    pub extras: Vec<CostLine>,
}

fn line(what: &str, quantity: f64, unit: &'static str, price: &Price, monthly: Micros) -> CostLine {
    let quantity = if quantity.fract() == 0.0 {
        format!("{quantity:.0}")
    } else {
        format!("{quantity:.2}")
    };
    CostLine {
        what: what.to_owned(),
        quantity,
        unit,
        unit_price: price.amount,
        monthly: monthly.cents(),
        source: price.source.clone(),
        date: price.date.clone(),
    }
}

/// Adds up hosts, disks and control plane, and lists what any choice needs besides.
pub fn cost(question: &Question<'_>, answer: &Recommendation<'_>, alarms: &[Alarm]) -> Cost {
    let services = &question.catalog.services;
    let hosts = answer.evaluation.nodes.mean;
    let mut lines = Vec::new();
    let mut total = Micros(0);
    let mut add =
        |lines: &mut Vec<CostLine>, what: &str, quantity: f64, unit, price: &Price, monthly: Micros| {
            total += monthly;
            lines.push(line(what, quantity, unit, price, monthly));
        };
    if let Some(price) = &answer.offer.instance.price {
        let hours = hosts * HOURS_PER_MONTH as f64;
        let monthly = price.amount.per_month().times(hosts);
        add(
            &mut lines,
            &answer.offer.instance.name,
            hours,
            "hours",
            price,
            monthly,
        );
    }
    let gib = f64::from(answer.disk.gib) * hosts;
    let disk = (services.gp3_gib_month.amount * i64::from(answer.disk.gib)).times(hosts);
    add(
        &mut lines,
        "gp3 root volume",
        gib,
        "GB-months",
        &services.gp3_gib_month,
        disk,
    );
    if question.target == Target::Eks {
        let price = &services.eks_control_plane_hour;
        add(
            &mut lines,
            "EKS control plane",
            HOURS_PER_MONTH as f64,
            "hours",
            price,
            price.amount.per_month(),
        );
    }
    if let Some((threads, monthly)) = answer.offer.surplus(hosts) {
        add(
            &mut lines,
            "CPU above the burstable baseline",
            threads * HOURS_PER_MONTH as f64,
            "vCPU-hours",
            &services.burstable_surplus_vcpu_hour,
            monthly.times(threads),
        );
    }
    let mut extras = Vec::new();
    let copies = if question.target == Target::Ec2 {
        answer.chosen.count
    } else {
        1
    };
    let billed: u32 = alarms.iter().map(|alarm| alarm.billed_metrics).sum::<u32>() * copies;
    extras.push(line(
        "CloudWatch alarms",
        f64::from(billed),
        "alarm metrics",
        &services.cloudwatch_alarm_month,
        services.cloudwatch_alarm_month.amount * i64::from(billed),
    ));
    let mut metrics: Vec<(&str, &[&str])> = alarms
        .iter()
        .filter(|alarm| alarm.namespace != "AWS/EC2" && !alarm.metric.contains('('))
        .map(|alarm| (alarm.metric.as_str(), alarm.dimensions.as_slice()))
        .collect();
    metrics.sort_unstable();
    metrics.dedup();
    let metrics = metrics.len() as u32 * copies;
    extras.push(line(
        "CloudWatch custom metrics",
        f64::from(metrics),
        "metrics",
        &services.cloudwatch_metric_month,
        services.cloudwatch_metric_month.amount * i64::from(metrics),
    ));
    extras.push(line(
        "public IPv4 address (public subnet)",
        hosts * HOURS_PER_MONTH as f64,
        "hours",
        &services.public_ipv4_hour,
        services.public_ipv4_hour.amount.per_month().times(hosts),
    ));
    extras.push(line(
        "or NAT gateway (private subnet), data not counted",
        HOURS_PER_MONTH as f64,
        "hours",
        &services.nat_gateway_hour,
        services.nat_gateway_hour.amount.per_month(),
    ));
    Cost {
        currency: "USD",
        monthly_total: total.cents(),
        hours_per_month: HOURS_PER_MONTH,
        catalog_date: question.catalog.date.clone(),
        lines,
        extras,
    }
}
