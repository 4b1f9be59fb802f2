//! The chart where teams have it, and the older kind of token.

use super::super::world::Ran;
use super::Ground;
use crate::bench::kubernetes::Charts;

fn release(ran: &Ran) -> (String, u64) {
    let release = &ran.json["cluster"]["release"];
    let chart = release["chart"].as_str().unwrap_or_default().to_owned();
    (chart, release["revision"].as_u64().unwrap_or_default())
}

#[test]
fn a_chart_comes_from_a_repository_and_from_a_registry() {
    let Some(ground) = Ground::named("from-afar") else {
        return;
    };
    let Some(charts) = Charts::start(ground.cluster) else {
        return;
    };
    let before = ground.world.inventory();
    // A registration token makes a runner with tags, and lets it go with the deployment.
    let token = ground.platform.registration_token();
    std::fs::write(ground.world.folder().join("token"), &token).expect("a file");
    let made_by_hand = ground.platform.runners().len();
    let up = |from: &str, version: &str| {
        let said = [
            "--chart-repository",
            from,
            "--chart",
            "dataops-runner",
            "--chart-version",
            version,
        ];
        let mut command = ground.up_command(&said);
        command.env("SSL_CERT_FILE", &charts.authority);
        ground.world.start(command).ended()
    };

    // What is not there is found before anything is made.
    let none = up(&charts.repository, "9.9.9");
    assert_eq!(none.code, 3, "{none}");
    assert!(none.stderr.contains("9.9.9"), "{none}");
    assert_eq!(ground.world.inventory(), before, "{none}");

    let made = up(&charts.repository, "1.2.3");
    assert_eq!(made.code, 0, "{made}");
    let status = ground.run(&["status"], &[]);
    assert_eq!(
        release(&status),
        ("dataops-runner-1.2.3".to_owned(), 1),
        "{status}"
    );
    let runners = ground.platform.runners();
    let ours = runners.iter().find(|runner| runner["tag_list"][0] == "from-afar");
    let ours = ours.unwrap_or_else(|| panic!("no runner with its tag: {runners:?}"));
    assert_eq!(ours["run_untagged"], false, "{ours}");
    assert_eq!(up(&charts.repository, "1.2.3").json["status"], "unchanged");

    let later = up(&charts.repository, "1.3.0");
    assert_eq!(later.code, 0, "{later}");
    let status = ground.run(&["status"], &[]);
    assert_eq!(
        release(&status),
        ("dataops-runner-1.3.0".to_owned(), 2),
        "{status}"
    );

    let by_registry = up(&charts.registry, "1.2.3");
    assert_eq!(by_registry.code, 0, "{by_registry}");
    let status = ground.run(&["status"], &[]);
    assert_eq!(
        release(&status),
        ("dataops-runner-1.2.3".to_owned(), 3),
        "{status}"
    );
    for ran in [&made, &later, &by_registry, &status] {
        assert!(!ran.stdout.contains(&token) && !ran.stderr.contains(&token));
    }

    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before, "{down}");
    assert_eq!(ground.inside(), [""; 0], "{down}");
    assert_eq!(
        ground.platform.runners().len(),
        made_by_hand,
        "registered runners went: {:?}",
        ground.platform.runners()
    );
}
