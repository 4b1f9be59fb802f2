//! The embedded tables and the cache, without AWS.

use std::process::Command;

use serde_json::Value;

use crate::bench::{ended, program, python_program, root};

#[test]
fn the_committed_tables_are_what_the_generator_makes() {
    let Some(python) = python_program("python") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(python)
        .arg(root().join("tools/catalog/generate.py"))
        .arg(folder.path())
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{}", ended(&output).2);
    for name in ["instance_types.csv", "prices.csv", "regions.csv"] {
        let read = |path| std::fs::read(path).expect("readable");
        let committed = read(root().join("src/domain/catalog").join(name));
        assert!(
            committed == read(folder.path().join(name)),
            "run tools/catalog/generate.py: {name} differs"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_warning_and_the_embedded_table_answers() {
    let home = tempfile::tempdir().expect("a folder");
    let cache = home.path().join("cache");
    std::fs::create_dir(&cache).expect("made");
    let show = || {
        let command = &mut program(home.path());
        let output = command.args([
            "catalog",
            "show",
            "--region",
            "eu-west-2",
            "--family",
            "c5",
            "--output",
            "json",
        ]);
        ended(&output.output().expect("runs"))
    };
    let (code, clean, stderr) = show();
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
    let document: Value = serde_json::from_str(&clean).expect("JSON");
    assert_eq!(document["schema"], "dataops-infra/catalog/v1");
    assert_eq!(document["origin"], "embedded");
    assert_eq!(document["price_region"], "eu-west-2");
    assert_eq!(document["catalog_date"], "2025-03-02");
    assert_eq!(document["types"][1]["instance_type"], "c5.xlarge");
    assert_eq!(document["types"][1]["price"]["amount"], "0.202");

    let file = cache.join("catalog-eu-west-2.json");
    let other_region = clean.replace("eu-west-2", "eu-west-1");
    for content in [
        "",
        "{\"schema\":",
        "\u{0}\u{1}",
        clean.split_at(clean.len() / 2).0,
        &other_region,
    ] {
        std::fs::write(&file, content).expect("written");
        let (code, stdout, stderr) = show();
        assert_eq!((code, &stdout), (0, &clean), "{content:.30}");
        assert!(
            stderr.contains("warning: the refreshed catalog cannot be used"),
            "{stderr}"
        );
    }
    std::fs::write(&file, [0xff, 0xfe]).expect("written");
    assert_eq!(show().1, clean);
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder in its place");
    assert_eq!(show().1, clean);
}

#[test]
fn wrong_regions_and_families_are_wrong_input() {
    let home = tempfile::tempdir().expect("a folder");
    for (arguments, hint) in [
        (["--region", "eu-wst-2"], "did you mean eu-west-2"),
        (["--region", "../../etc/passwd"], "hint:"),
        (["--region", "cn-north-1"], "yuan"),
        (["--region", "atlantis"], "known regions"),
        (["--family", "c55"], "did you mean c5?"),
        (["--sort", "colour"], "price-per-vcpu"),
    ] {
        let output = program(home.path())
            .args(["catalog", "show"])
            .args(arguments)
            .output()
            .expect("runs");
        let (code, stdout, stderr) = ended(&output);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}
