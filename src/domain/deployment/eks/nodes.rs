//! What nodes are made from.

use sha2::{Digest as _, Sha256};

use crate::domain::deployment::spec::Spec;

/// Returns the digest of what the launch template holds besides tags; its version is described with it.
pub fn template_digest(spec: &Spec) -> String {
    let disk = &spec.disk;
    digest(&format!(
        "{} {} {} {:?} imdsv2 hop 1",
        disk.gib, disk.iops, disk.throughput, disk.kms_key
    ))
}

/// Returns 16 hexadecimal digits of a digest.
pub fn digest(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
