//! Objects: applied, in conflict, refused, removed, kept from being removed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use dataops_infra::aws::eks::inside::Inside;
use dataops_infra::domain::call::{CallError, Refusal};
use dataops_infra::domain::deployment::eks::operation::{ClusterOperation, Holds};
use dataops_infra::engine::port::{Found, Sight};
use dataops_infra::kubernetes::client::Cluster;
use dataops_infra::kubernetes::object::{self, Spot};
use serde_json::json;

use super::{World, sign};
use crate::bench::kubernetes::Front;

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_told_apart_and_removed() {
    let Some(mut world) = World::open("https://x.example", Some("glrt-abc")) else {
        return;
    };
    let bench = world.bench;

    // Twice is once, and what another adds stays.
    let class = world.object(
        "storage.k8s.io/v1",
        "StorageClass",
        "dataops-infra-abc",
        &json!({ "provisioner": "efs.csi.aws.com", "parameters": { "directoryPerms": "700" } }),
    );
    world.done(&world.namespace()).await;
    let path = "/apis/storage.k8s.io/v1/storageclasses/dataops-infra-abc";
    let apply = ClusterOperation::Apply(class.clone());
    world.done(&apply).await;
    let once = bench.get(path).expect("there");
    world.done(&apply).await;
    let twice = bench.get(path).expect("there");
    assert_eq!(
        once["metadata"]["resourceVersion"],
        twice["metadata"]["resourceVersion"]
    );

    // What AWS alone knew is filled in.
    let mut volume = world.object(
        "v1",
        "PersistentVolume",
        "abc-volume",
        &json!({ "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteMany"], "storageClassName": "dataops-infra-abc",
            "csi": { "driver": "efs.csi.aws.com", "volumeHandle": "" },
        } }),
    );
    volume
        .filled
        .insert("/spec/csi/volumeHandle".to_owned(), "file-system".to_owned());
    world.done(&ClusterOperation::Apply(volume.clone())).await;
    let made = bench.get("/api/v1/persistentvolumes/abc-volume").expect("there");
    assert_eq!(made["spec"]["csi"]["volumeHandle"], "fs-0123456789abcdef0");

    // A field that another has set is told with its owner, and stays the other's.
    let account = world.object("v1", "ServiceAccount", "abc-jobs", &json!({}));
    world.done(&ClusterOperation::Apply(account.clone())).await;
    let theirs = json!({ "metadata": { "annotations": { "team": "theirs" } } });
    let path = "/api/v1/namespaces/dataops/serviceaccounts/abc-jobs";
    let (status, _) = bench.api("PATCH", &format!("{path}?fieldManager=somebody"), Some(&theirs));
    assert_eq!(status, 200);
    let mut contested = account.clone();
    contested.manifest["metadata"]["annotations"] = json!({ "team": "ours" });
    let refused = world
        .perform(&ClusterOperation::Apply(contested))
        .await
        .expect_err("a conflict");
    let text = refused.to_string();
    assert!(
        text.contains(".metadata.annotations.team is set by \"somebody\""),
        "{text}"
    );
    assert_eq!(
        bench.get(path).expect("there")["metadata"]["annotations"]["team"],
        "theirs"
    );

    // What the server does not take is told with the field.
    let mut wrong = volume.clone();
    wrong.manifest["metadata"]["name"] = json!("abc-wrong");
    wrong.manifest["spec"]["accessModes"] = json!(["Sometimes"]);
    let refused = world
        .perform(&ClusterOperation::Apply(wrong))
        .await
        .expect_err("invalid");
    assert_eq!(refused.refusal(), Some(Refusal::Other));
    assert!(refused.to_string().contains("spec.accessModes"), "{refused}");

    // A secret has what the chart asks for, and is read back as a digest alone.
    let secret = world.object("v1", "Secret", "abc-registration", &json!({ "type": "Opaque" }));
    let token = ClusterOperation::ApplySecret {
        object: secret.clone(),
        holds: Holds::Token,
    };
    world.done(&token).await;
    let wanted = [
        ("secret-token".to_owned(), secret.manifest.clone()),
        ("storage-class".to_owned(), class.manifest.clone()),
    ];
    let read = dataops_infra::kubernetes::read::read(&world.cluster("test"), &world.record, &wanted)
        .await
        .expect("read");
    assert!(read.objects["secret-token"].get("data").is_none());
    let digest = dataops_infra::domain::deployment::eks::secret::digest(
        "abc-registration",
        &dataops_infra::domain::deployment::eks::secret::token(world.token.as_ref().expect("given")),
    );
    assert_eq!(read.secret_digests["secret-token"], digest);
    // What carries our label and is not wanted is seen as well.
    assert!(
        read.objects.contains_key("other PersistentVolume abc-volume"),
        "{:?}",
        read.objects.keys()
    );
    assert!(read.release.is_none() && read.pods.is_empty());

    // What is of another stays: it is neither applied nor removed.
    bench.make(
        "/api/v1/namespaces/dataops/secrets",
        json!({ "metadata": { "name": "abc-registry" }, "type": "Opaque" }),
    );
    let foreign = world.object("v1", "Secret", "abc-registry", &json!({ "type": "Opaque" }));
    let apply = ClusterOperation::Apply(foreign.clone());
    let refused = world.perform(&apply).await.expect_err("not ours");
    assert_eq!(refused.refusal(), Some(Refusal::Exists));
    let looked = world
        .inside
        .look(&world.scene(), &apply, &world.ids)
        .await
        .expect("looked");
    assert!(matches!(looked, Found::Foreign(what) if what.contains("dataops/abc-registry")));
    let done = world.done(&ClusterOperation::Delete(foreign)).await;
    assert!(done.notes[0].contains("stays"), "{:?}", done.notes);

    // Who may not is told so in the server's words.
    world.sign_in_as("powerless");
    let refused = world
        .perform(&ClusterOperation::Apply(account))
        .await
        .expect_err("denied");
    assert!(matches!(refused, CallError::Denied { .. }), "{refused}");
    assert!(refused.to_string().contains("cannot get resource"), "{refused}");
    // And whom the cluster does not know.
    world.sign_in_as("nobody");
    let refused = world.perform(&world.namespace()).await.expect_err("unknown");
    assert_eq!(refused.refusal(), Some(Refusal::NotYet));
    assert!(refused.to_string().contains("access entry"), "{refused}");
    world.sign_in_as("test");

    // A namespace with something of others stays, and is not ours any more.
    let namespace = world.object("v1", "Namespace", "dataops", &json!({}));
    let remove = ClusterOperation::Delete(namespace);
    let done = world.done(&remove).await;
    assert!(
        done.notes[0].contains("Secret dataops/abc-registry"),
        "{:?}",
        done.notes
    );
    let left = bench.get("/api/v1/namespaces/dataops").expect("stays");
    assert_eq!(left["metadata"]["labels"].get("dataops-infra/deployment"), None);

    // Without it, it goes; one that does not is named with what keeps it.
    bench.api("DELETE", "/api/v1/namespaces/dataops/secrets/abc-registry", None);
    let labels = json!({ "metadata": { "labels": dataops_infra::domain::deployment::eks::name::labels(&world.owner) } });
    let (status, _) = bench.api("PATCH", "/api/v1/namespaces/dataops", Some(&labels));
    assert_eq!(status, 200);
    let keep = json!({ "metadata": { "finalizers": ["example.com/keep"] } });
    let kept = "/api/v1/namespaces/dataops/secrets/abc-registration";
    assert_eq!(bench.api("PATCH", kept, Some(&keep)).0, 200);
    world.perform(&remove).await.expect("begun");
    let said = crate::bench::kubernetes::until("the namespace says what keeps it", || {
        let seen =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(world.watch(&remove)));
        match seen {
            Sight::NotYet(what) if what.contains("example.com/keep") => Some(what),
            _ => None,
        }
    });
    assert!(said.contains("Namespace dataops is being removed"), "{said}");
    // While it goes nothing can be made in it.
    let account = world.object("v1", "ServiceAccount", "abc-late", &json!({}));
    let refused = world
        .perform(&ClusterOperation::Apply(account))
        .await
        .expect_err("going");
    assert_eq!(refused.refusal(), Some(Refusal::NotYet), "{refused}");
    assert_eq!(
        bench
            .api(
                "PATCH",
                kept,
                Some(&json!({ "metadata": { "finalizers": null } }))
            )
            .0,
        200
    );
    world.done(&remove).await;
    assert!(bench.get("/api/v1/namespaces/dataops").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_an_answer_is_asked_again_and_a_change_is_not() {
    let Some(world) = World::open("https://x.example", None) else {
        return;
    };
    let front = Front::open(world.bench);
    let cluster = Cluster::new(&front.endpoint, &world.bench.authority, sign("test")).expect("a cluster");
    let manifest = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
    let spot = Spot::of(&manifest);
    let question = "ours GET namespaces/";

    front.rule(&json!({ "call": question, "status": 503, "times": 1 }));
    front.rule(&json!({ "call": question, "reset": true, "times": 1 }));
    let read = object::read(&cluster, &spot).await.expect("asked again");
    assert!(read.is_some());
    assert_eq!(front.hits(), [1, 1]);

    front.heal();
    front.rule(&json!({ "call": question, "lose": true }));
    let error = object::read(&cluster, &spot).await.expect_err("no answer ever");
    assert!(error.is_silence(), "{error}");
    assert_eq!(front.hits(), [3]);

    front.heal();
    front.rule(&json!({ "call": "ours PATCH namespaces/", "reset": true }));
    let changed = object::patch(&cluster, &spot, &manifest, "somebody", false).await;
    let error = changed.expect_err("no answer");
    assert!(error.is_silence(), "{error}");
    assert_eq!(
        front.hits(),
        [1],
        "whether it was carried out is for the engine to see"
    );
}

/// Answers `CONNECT` and hands bytes on; returns its address and the first lines and headers that it was sent.
fn tunnel() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().expect("a stream"));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let to = head.split(' ').nth(1).unwrap_or_default().to_owned();
            log.lock().expect("no panic").push(head);
            let Ok(server) = TcpStream::connect(to) else {
                continue;
            };
            (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("written");
            let (mut from, mut into) = (server.try_clone().expect("a stream"), client);
            std::thread::spawn(move || {
                let mut server = server;
                let _ = std::io::copy(&mut reader, &mut server);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut into);
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_gone_through() {
    let Some(mut world) = World::open("https://x.example", None) else {
        return;
    };
    let (address, asked) = tunnel();
    let through = Cluster::by(
        &world.bench.endpoint,
        &world.bench.authority,
        super::sign("test"),
        |_| format!("http://user:p%40ss@{address}").parse().ok(),
    )
    .expect("a cluster");
    world.inside = Inside::at(
        through,
        world.login("test"),
        world.bench.helm.clone(),
        super::SILENCE,
    );
    world.done(&world.namespace()).await;
    assert!(world.bench.get("/api/v1/namespaces/dataops").is_some());
    let asked = asked.lock().expect("no panic").join("");
    let server = world.bench.endpoint.trim_start_matches("https://");
    assert!(asked.starts_with(&format!("CONNECT {server} ")), "{asked}");
    // user:p@ss
    assert!(asked.contains("Basic dXNlcjpwQHNz"), "{asked}");
    world
        .done(&ClusterOperation::Delete(world.object(
            "v1",
            "Namespace",
            "dataops",
            &json!({}),
        )))
        .await;
}
