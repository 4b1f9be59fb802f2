//! Documents of AWS' price list, as `GetProducts` returns them: one product with its terms each.

use serde_json::Value;

use crate::domain::units::Micros;

/// What one document says the price of is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// An hour of an instance type: Linux, on demand, shared tenancy.
    Instance(String),
    /// An item of `ServicePrices`, by its name there.
    Service(&'static str),
}

/// Reads one document; none if it is about something else, has no price, or is not what AWS documents.
///
/// The query already asks for the right tenancy and system. They are read again here, because a price that is
/// taken for the wrong thing is worse than one that is missing.
pub fn read(document: &str) -> Option<(Item, Micros)> {
    let document: Value = serde_json::from_str(document).ok()?;
    let product = &document["product"];
    let attribute = |name: &str| product["attributes"][name].as_str();
    let usage = attribute("usagetype").unwrap_or_default();
    let item = match product["productFamily"].as_str()? {
        "Compute Instance" => {
            let is = |name, expected| attribute(name).is_none_or(|value| value == expected);
            let shared =
                is("tenancy", "Shared") && is("capacitystatus", "Used") && is("marketoption", "OnDemand");
            let plain = is("operatingSystem", "Linux")
                && is("preInstalledSw", "NA")
                && is("operation", "RunInstances");
            if !shared || !plain {
                return None;
            }
            Item::Instance(attribute("instanceType")?.to_owned())
        }
        "Storage" if attribute("volumeApiName") == Some("gp3") => Item::Service("gp3-storage"),
        "System Operation" if usage.ends_with("VolumeP-IOPS.gp3") => Item::Service("gp3-iops"),
        "Provisioned Throughput" if usage.ends_with("VolumeP-Throughput.gp3") => {
            Item::Service("gp3-throughput")
        }
        "NAT Gateway" if usage.ends_with("NatGateway-Hours") => Item::Service("nat-gateway"),
        "NAT Gateway" if usage.ends_with("NatGateway-Bytes") => Item::Service("nat-gateway-data"),
        "Compute" if usage.ends_with("AmazonEKS-Hours:perCluster") => Item::Service("eks-control-plane"),
        _ => return None,
    };
    let (unit, amount) = on_demand(&document)?;
    let amount = match (&item, unit) {
        (
            Item::Instance(_) | Item::Service("nat-gateway" | "eks-control-plane"),
            "Hrs" | "Hours" | "hours",
        )
        | (Item::Service("gp3-storage"), "GB-Mo")
        | (Item::Service("gp3-iops"), "IOPS-Mo")
        | (Item::Service("gp3-throughput"), "MiBps-mo" | "MiBps-Mo")
        | (Item::Service("nat-gateway-data"), "GB") => amount,
        // AWS lists the throughput per GiB/s.
        (Item::Service("gp3-throughput"), "GiBps-mo" | "GiBps-Mo") => Micros((amount.0 + 512) / 1024),
        _ => return None,
    };
    (amount > Micros(0)).then_some((item, amount))
}

/// Returns unit and dollars of the only on-demand price that starts at nothing used.
fn on_demand(document: &Value) -> Option<(&str, Micros)> {
    let mut found = None;
    for term in document["terms"]["OnDemand"].as_object()?.values() {
        for dimension in term["priceDimensions"].as_object()?.values() {
            if dimension["beginRange"].as_str().is_none_or(|from| from == "0") {
                let amount = Micros::parse_dollars(dimension["pricePerUnit"]["USD"].as_str()?)?;
                if found.replace((dimension["unit"].as_str()?, amount)).is_some() {
                    return None;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(family: &str, attributes: &Value, unit: &str, dollars: &str) -> Value {
        json!({
            "product": {"productFamily": family, "sku": "ABC", "attributes": attributes},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {"ABC.JRTCKXETXF": {"priceDimensions": {"ABC.JRTCKXETXF.6YS6EN2CT7": {
                "unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": dollars},
            }}}}},
            "version": "20261101",
        })
    }

    fn c5() -> Value {
        let attributes = json!({
            "instanceType": "c5.xlarge", "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
            "capacitystatus": "Used", "operation": "RunInstances", "usagetype": "EUW2-BoxUsage:c5.xlarge",
        });
        document("Compute Instance", &attributes, "Hrs", "0.2020000000")
    }

    #[test]
    fn an_instance_price_is_read() {
        let item = Item::Instance("c5.xlarge".to_owned());
        assert_eq!(read(&c5().to_string()), Some((item, Micros(202_000))));
    }

    #[test]
    fn another_tenancy_system_or_term_is_not_taken_for_it() {
        for (attribute, value) in [
            ("tenancy", "Dedicated"),
            ("capacitystatus", "UnusedCapacityReservation"),
            ("operatingSystem", "Windows"),
            ("preInstalledSw", "SQL Web"),
            ("marketoption", "CapacityBlock"),
            ("operation", "RunInstances:0010"),
        ] {
            let mut other = c5();
            other["product"]["attributes"][attribute] = value.into();
            assert_eq!(read(&other.to_string()), None, "{attribute}");
        }
        let mut free = c5();
        free["terms"]["OnDemand"]["ABC.JRTCKXETXF"]["priceDimensions"]["ABC.JRTCKXETXF.6YS6EN2CT7"]["pricePerUnit"] =
            json!({"USD": "0.0000000000"});
        assert_eq!(read(&free.to_string()), None);
        let mut yuan = c5();
        yuan["terms"]["OnDemand"]["ABC.JRTCKXETXF"]["priceDimensions"]["ABC.JRTCKXETXF.6YS6EN2CT7"]["pricePerUnit"] =
            json!({"CNY": "1.5"});
        assert_eq!(read(&yuan.to_string()), None);
        let mut reserved = c5();
        reserved["terms"] = json!({"Reserved": {}});
        assert_eq!(read(&reserved.to_string()), None);
    }

    #[test]
    fn services_are_told_by_their_usage_type() {
        let cases = [
            (
                "Storage",
                json!({"volumeApiName": "gp3", "usagetype": "EBS:VolumeUsage.gp3"}),
                "GB-Mo",
                "0.0928",
                "gp3-storage",
                92_800,
            ),
            (
                "System Operation",
                json!({"usagetype": "EUW2-EBS:VolumeP-IOPS.gp3"}),
                "IOPS-Mo",
                "0.0058",
                "gp3-iops",
                5_800,
            ),
            (
                "Provisioned Throughput",
                json!({"usagetype": "EUW2-EBS:VolumeP-Throughput.gp3"}),
                "GiBps-mo",
                "40.9600000000",
                "gp3-throughput",
                40_000,
            ),
            (
                "NAT Gateway",
                json!({"usagetype": "EUW2-NatGateway-Hours"}),
                "Hrs",
                "0.05",
                "nat-gateway",
                50_000,
            ),
            (
                "NAT Gateway",
                json!({"usagetype": "EUW2-NatGateway-Bytes"}),
                "GB",
                "0.05",
                "nat-gateway-data",
                50_000,
            ),
            (
                "Compute",
                json!({"usagetype": "EUW2-AmazonEKS-Hours:perCluster"}),
                "Hours",
                "0.1",
                "eks-control-plane",
                100_000,
            ),
        ];
        for (family, attributes, unit, dollars, item, micros) in cases {
            let text = document(family, &attributes, unit, dollars).to_string();
            assert_eq!(read(&text), Some((Item::Service(item), Micros(micros))), "{item}");
            let other_unit = document(family, &attributes, "Quantity", dollars).to_string();
            assert_eq!(read(&other_unit), None, "{item} in another unit");
        }
    }

    #[test]
    fn what_is_no_document_is_skipped() {
        for text in [
            "",
            "{}",
            "[]",
            "null",
            "{\"product\":{}}",
            "{\"product\":{\"productFamily\":\"Compute Instance\"}}",
            "{",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
