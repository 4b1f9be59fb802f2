//! How long a deployment on EKS takes beyond what AWS takes.

use std::time::Duration;

use serde_json::json;

use super::Ground;

/// Seconds between two looks at what is waited for (`engine/attempt.rs`).
const LOOK: f64 = 5.0;
/// Share of AWS's own time that may be added to it.
const SHARE: f64 = 0.05;

/// What AWS takes, about a fifteenth of it. Everything beside the longest chain is long enough to be seen if it were waited for by
/// itself: the file system with its mount targets nearly as long as the control plane, each add-on nearly as long as the nodes.
const CLUSTER: f64 = 45.0;
const NODES: f64 = 16.0;
const BESIDE: [(&str, f64); 3] = [("file-system", 15.0), ("mount-target", 25.0), ("addon", 14.0)];

/// The control plane, then the nodes, and everything else meanwhile: what a run takes more than one for which AWS takes no time is
/// the longest chain of waits, and a look at the end of each.
#[test]
fn slow_states_take_the_longest_chain_and_no_more() {
    let Some(ground) = Ground::open() else {
        return;
    };
    let at_once = ground.up(&[]);
    assert_eq!(at_once.code, 0, "{at_once}");
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");

    let mut times = json!({"cluster": CLUSTER, "nodegroup": NODES});
    for (name, seconds) in BESIDE {
        times[name] = json!(seconds);
    }
    ground.world.account.knobs(&json!({ "times": times }));
    let slow = ground.up(&[]);
    assert_eq!(slow.code, 0, "{slow}");
    let chain = CLUSTER + NODES;
    let more = slow.took.saturating_sub(at_once.took).as_secs_f64();
    let most = chain * (1.0 + SHARE) + 2.0 * LOOK;
    assert!(more <= most, "{more:.1} s more for a chain of {chain} s\n{slow}");
    // Less would mean that the states were not waited for.
    assert!(
        slow.took >= Duration::from_secs_f64(chain),
        "{:?}\n{slow}",
        slow.took
    );

    ground.world.account.knobs(&json!({"times": {
        "cluster": 0, "nodegroup": 0, "addon": 0, "file-system": 0, "mount-target": 0,
    }}));
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
}
