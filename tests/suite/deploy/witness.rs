//! What tests ask of a run besides its exit code: what it changed, and what stands beside ours.

use serde_json::Value;

use super::inventory::Inventory;
use super::world::World;
use super::xml;
use crate::bench::account::Direct;
use crate::bench::call::Call;

/// Beginnings of the names of operations that change nothing.
const READING: &[&str] = &["Describe", "Get", "List", "Lookup"];

/// Whether a call would change something; a dry run does not.
pub fn changes(call: &Call) -> bool {
    let reads = READING.iter().any(|word| call.operation.starts_with(word));
    !reads && call.parameters["DryRun"].as_str() != Some("true")
}

/// Returns how many calls there were so far: a mark to look on from.
pub fn mark(world: &World) -> usize {
    world.account.calls().len()
}

/// Returns the calls since a mark.
pub fn since(world: &World, mark: usize) -> Vec<Call> {
    world.account.calls().split_off(mark)
}

/// Asserts that nothing was asked for since a mark that would change something.
pub fn nothing_changed(world: &World, mark: usize) {
    let changing: Vec<String> = since(world, mark)
        .iter()
        .filter(|call| changes(call))
        .map(|call| format!("{} {}", call.name(), call.parameters))
        .collect();
    assert!(changing.is_empty(), "{changing:#?}");
}

/// Makes a call of a query service past the proxy, which must go well.
pub fn made(direct: &Direct, service: &str, operation: &str, parameters: &[(&str, &str)]) -> Value {
    let (status, text) = direct.query(service, operation, parameters);
    assert_eq!(status, 200, "{operation}: {text}");
    xml::read(&text)
}

/// Makes a call of a JSON service past the proxy, which must go well.
pub fn made_json(direct: &Direct, service: &str, target: &str, parameters: &Value) -> Value {
    let (status, answer) = direct.json(service, target, parameters);
    assert_eq!(status, 200, "{target}: {answer}");
    answer
}

/// Returns the text of the first element with a name.
pub fn word(value: &Value, name: &str) -> String {
    let found = xml::find(value, name).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// Returns what is in one inventory and not in another; things that are alike are counted.
pub fn without(all: &Inventory, less: &Inventory) -> Inventory {
    all.iter()
        .map(|(kind, things)| {
            let mut rest = things.clone();
            for thing in less.get(kind).into_iter().flatten() {
                if let Some(at) = rest.iter().position(|other| other == thing) {
                    rest.remove(at);
                }
            }
            (*kind, rest)
        })
        .collect()
}

/// Returns two inventories as one.
pub fn together(one: &Inventory, other: &Inventory) -> Inventory {
    let mut all = one.clone();
    for (kind, things) in other {
        let of_kind = all.entry(*kind).or_default();
        of_kind.extend(things.iter().cloned());
        of_kind.sort();
    }
    all
}

/// Says what differs between two inventories; nothing where they are the same.
pub fn difference(is: &Inventory, should: &Inventory) -> String {
    let list = |sign: &str, inventory: Inventory| -> String {
        inventory
            .into_iter()
            .flat_map(|(kind, things)| things.into_iter().map(move |thing| (kind, thing)))
            .map(|(kind, thing)| format!("{sign} {kind}: {thing}\n"))
            .collect()
    };
    list("+", without(is, should)) + &list("-", without(should, is))
}

/// Returns the parameter with the record of a deployment, as text.
pub fn record(direct: &Direct, name: &str) -> String {
    let asked = serde_json::json!({ "Name": format!("/dataops-infra/{name}/deployment") });
    let answer = made_json(direct, "ssm", "AmazonSSM.GetParameter", &asked);
    answer["Parameter"]["Value"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Writes a text over a parameter, made where it is not there.
pub fn put_parameter(direct: &Direct, name: &str, value: &str) {
    let put = serde_json::json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true});
    made_json(direct, "ssm", "AmazonSSM.PutParameter", &put);
}
