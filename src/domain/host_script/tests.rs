//! What the scripts hold and what they never may.

use super::{
    AddressPool, Docker, HostScript, MOST_BYTES, Packages, Proxy, SecretRef, Unrenderable, compact, drain,
    fill, packed, quote, user_data,
};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn host() -> HostScript<'static> {
    HostScript {
        deployment: "acme-prod",
        generation: "0123456789abcdef",
        region: "eu-west-1",
        report_parameter: "/dataops-infra/acme-prod/host",
        token: SecretRef::Parameter("/dataops-infra/acme-prod/token".to_owned()),
        registry: None,
        platform_url: "https://app.dataops.live/",
        agent_name: "acme-prod",
        tag: "acme-prod",
        runner_image: "dataopslive/dataops-runner",
        channel: Some("latest"),
        default_job_image: "dataopslive/dataops-utils-runner:latest",
        concurrent: 8,
        check_interval: 1,
        pull_policies: super::PULL_POLICIES,
        metrics_port: None,
        docker: Docker::default(),
        log_group: "/dataops-infra/acme-prod",
    }
}

fn everything() -> HostScript<'static> {
    HostScript {
        registry: Some(SecretRef::Secret(
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:hub-AbCdEf".to_owned(),
        )),
        metrics_port: Some(9252),
        docker: Docker {
            packages: Packages::Docker {
                mirror: Some("https://mirror.example/docker/"),
            },
            registry_mirrors: &["https://hub.example"],
            proxy: Some(Proxy {
                url: "http://proxy.example:3128",
                exceptions: &[".example", "10.0.0.0/8"],
            }),
            ca_certificate: Some(CERTIFICATE),
            ..Docker::default()
        },
        ..host()
    }
}

fn refused(host: &HostScript) -> String {
    user_data(host).expect_err("refused").to_string()
}

#[test]
fn every_hole_is_filled_and_there_is_room() {
    for host in [host(), everything()] {
        let script = user_data(&host).expect("rendered");
        assert!(script.starts_with("#!/bin/bash\n"));
        assert!(!script.contains("@@"), "a hole is left");
        let size = packed(&script).len();
        // What is left is for certificates, which hardly compress: a short one has 700 bytes.
        assert!(size < MOST_BYTES - 900, "{size} bytes");
    }
    assert!(!drain(60, "acme").contains("@@"));
}

#[test]
fn the_same_values_give_the_same_bytes() {
    assert_eq!(user_data(&everything()), user_data(&everything()));
}

#[test]
fn a_value_cannot_leave_its_quotes() {
    assert_eq!(quote("a'b"), r"'a'\''b'");
    let hostile = r#"'; touch "$HOME/owned" `id` $(id) \ @@CA@@ #"#;
    let script = user_data(&HostScript {
        tag: hostile,
        deployment: hostile,
        ..host()
    })
    .expect("rendered");
    assert!(script.contains(&format!("\nTAG={}\n", quote(hostile))));
}

#[test]
fn a_value_that_looks_like_a_hole_is_none() {
    let holes = [("A", "@@B@@".to_owned()), ("B", "b".to_owned())];
    assert_eq!(fill("@@A@@ @@B@@", &holes), "@@B@@ b");
}

#[test]
fn secrets_are_named_by_their_place() {
    let script = user_data(&everything()).expect("rendered");
    assert!(script.contains(
        r#"TOKEN_CALL=('eu-west-1' 'ssm' 'AmazonSSM.GetParameter' '{"Name":"/dataops-infra/acme-prod/token","WithDecryption":true}')"#
    ));
    assert!(
        script.contains("REGISTRY_CALL=('eu-central-1' 'secretsmanager' 'secretsmanager.GetSecretValue' "),
        "an ARN says its region"
    );
}

#[test]
fn what_no_host_could_use_is_refused() {
    let control = HostScript {
        tag: "a\nb",
        ..host()
    };
    assert_eq!(user_data(&control), Err(Unrenderable::Control("tag")));
    for agent_name in ["", "-v", "../etc", "a b"] {
        let refusal = refused(&HostScript { agent_name, ..host() });
        assert!(refusal.starts_with("the agent name cannot be used"), "{refusal}");
    }
    for runner_image in ["--privileged", "a b"] {
        refused(&HostScript {
            runner_image,
            ..host()
        });
    }
    refused(&HostScript {
        region: "evil.example/#",
        ..host()
    });
    refused(&HostScript {
        concurrent: 0,
        ..host()
    });
    for platform_url in [
        "app.dataops.live",
        "https://",
        "https://user:word@app.example",
        "https://a\"b",
    ] {
        refused(&HostScript {
            platform_url,
            ..host()
        });
    }
    for ca_certificate in [
        "no PEM",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
    ] {
        let docker = Docker {
            ca_certificate: Some(ca_certificate),
            ..Docker::default()
        };
        refused(&HostScript { docker, ..host() });
    }
    let elsewhere = SecretRef::Secret("arn:aws:secretsmanager".to_owned());
    refused(&HostScript {
        token: elsewhere,
        ..host()
    });
}

#[test]
fn what_stands_around_a_certificate_is_left_out() {
    let around = format!("subject=Example\n{CERTIFICATE}\n# more\n");
    let with = |ca_certificate| {
        let docker = Docker {
            ca_certificate: Some(ca_certificate),
            ..Docker::default()
        };
        user_data(&HostScript { docker, ..host() }).expect("rendered")
    };
    assert_eq!(with(&around), with(CERTIFICATE));
}

#[test]
fn too_much_names_its_size() {
    // Random digits compress to no less than 0.42 of their length.
    let mut noise = 2_u64;
    let long: String = (0..4 * MOST_BYTES)
        .map(|_| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (noise >> 60) as u8 % 10)
        })
        .collect();
    let Err(Unrenderable::TooLong(size)) = user_data(&HostScript { tag: &long, ..host() }) else {
        panic!("rendered");
    };
    assert!(size > MOST_BYTES);
    assert!(
        Unrenderable::TooLong(size)
            .to_string()
            .contains(&size.to_string())
    );
}

#[test]
fn docker_is_set_up_as_asked() {
    let docker = Docker {
        address_pools: &[AddressPool {
            base: "10.9.0.0/16",
            size: 26,
        }],
        ..everything().docker
    };
    let settings = super::daemon_settings(&docker).to_string();
    insta::assert_snapshot!(settings, @r#"{"log-driver":"json-file","log-opts":{"max-size":"50m","max-file":"3"},"default-address-pools":[{"base":"10.9.0.0/16","size":26}],"registry-mirrors":["https://hub.example"],"proxies":{"http-proxy":"http://proxy.example:3128","https-proxy":"http://proxy.example:3128","no-proxy":"localhost,127.0.0.1,169.254.169.254,.example,10.0.0.0/8"}}"#);
}

#[test]
fn alarms_have_their_dimensions() {
    let settings = super::agent_settings("/dataops-infra/acme");
    let metrics = &settings["metrics"];
    assert_eq!(metrics["namespace"], "CWAgent");
    assert_eq!(
        metrics["append_dimensions"].as_object().map(serde_json::Map::len),
        Some(1)
    );
    assert_eq!(
        metrics["aggregation_dimensions"],
        serde_json::json!([["InstanceId", "path"], ["InstanceId"], ["InstanceId", "cpu"]])
    );
    assert_eq!(metrics["metrics_collected"]["disk"]["drop_device"], true);
}

#[test]
fn comments_go_and_the_shebang_stays() {
    let text = "#!/bin/bash\n# why\n\nif x; then\n    y # z\nfi\n";
    assert_eq!(compact(text, "\t"), "#!/bin/bash\nif x; then\n\ty # z\nfi\n");
}
