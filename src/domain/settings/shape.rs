//! What names, ids, ARNs and addresses look like, each as a plain question.
//!
//! A little wider than AWS where its rule is not written down; AWS has the last word.

/// Returns a number as the file writes it: digits, no sign, no zero in front.
pub(super) fn whole(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// An Amazon resource name, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arn<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) resource: &'a str,
}

/// Takes an ARN of a resource in a region and an account apart.
pub(super) fn arn(text: &str) -> Option<Arn<'_>> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [scheme, partition, service, region, account, resource] = parts[..] else {
        return None;
    };
    let good = scheme == "arn"
        && (partition == "aws"
            || partition
                .strip_prefix("aws-")
                .is_some_and(|rest| is_made_of(rest, "-")))
        && is_region(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !resource.is_empty()
        && !resource.contains(char::is_whitespace);
    good.then_some(Arn {
        service,
        region,
        resource,
    })
}

/// Returns whether text is not empty and holds only lower-case letters, digits and these.
fn is_made_of(text: &str, others: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c))
}

/// Returns whether text is not empty and holds only letters, digits and these.
fn is_written_in(text: &str, others: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(super) fn is_name(text: &str) -> bool {
    (3..=40).contains(&text.len())
        && is_made_of(text, "-")
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
}

pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., last] = &parts[..] else {
        return false;
    };
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    (2..=4).contains(&first.len())
        && letters(first)
        && (1..=2).contains(&middle.len())
        && middle.iter().all(letters)
        && (1..=2).contains(&last.len())
        && last.bytes().all(|b| b.is_ascii_digit())
}

pub(super) fn is_zone(text: &str) -> bool {
    let Some(region) = text.strip_suffix(|c: char| c.is_ascii_lowercase()) else {
        // Wavelength zones end in a number.
        return text.contains("-wlz-") && is_made_of(text, "-") && is_region(&leading_region(text));
    };
    is_region(region) || (is_made_of(text, "-") && is_region(&leading_region(region)) && text.len() <= 40)
}

/// Returns a zone's name up to its first number, which is its region.
fn leading_region(zone: &str) -> String {
    let end = zone.find(|c: char| c.is_ascii_digit()).unwrap_or(zone.len());
    let digits = zone[end..].bytes().take_while(u8::is_ascii_digit).count();
    zone[..end + digits].to_owned()
}

pub(super) fn is_family(text: &str) -> bool {
    text.len() <= 20
        && is_made_of(text, "-")
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_digit())
}

/// Sizes of instances, for suggestions.
pub(super) const SIZES: &[&str] = &[
    "nano", "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge",
    "16xlarge", "24xlarge", "metal",
];

pub(super) fn is_size(text: &str) -> bool {
    let numbered = |rest: &str, end: &str| {
        rest.strip_suffix(end)
            .is_some_and(|number| number.len() <= 3 && whole(number).is_some())
    };
    matches!(
        text,
        "nano" | "micro" | "small" | "medium" | "large" | "xlarge" | "metal"
    ) || numbered(text, "xlarge")
        || text
            .strip_prefix("metal-")
            .is_some_and(|rest| numbered(rest, "xl"))
}

pub(super) fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| matches!(hex.len(), 8 | 17) && is_hex(hex))
}

pub(super) fn is_parameter(text: &str) -> bool {
    let name = match arn(text) {
        Some(arn) if arn.service == "ssm" => match arn.resource.strip_prefix("parameter") {
            Some(name) if name.starts_with('/') => name,
            _ => return false,
        },
        Some(_) => return false,
        None => text,
    };
    // A version or a label may follow.
    let (name, version) = name
        .split_once(':')
        .map_or((name, "1"), |(name, version)| (name, version));
    name.len() <= 1011
        && is_written_in(name, "_.-/")
        && is_written_in(version, "_.-")
        && (name.starts_with('/') || !name.contains('/'))
        && !name.contains("//")
        && !name.ends_with('/')
        && name.matches('/').count() <= 15
}

pub(super) fn is_secret(text: &str) -> bool {
    let name = match arn(text) {
        Some(arn) if arn.service == "secretsmanager" => match arn.resource.strip_prefix("secret:") {
            Some(name) => name,
            None => return false,
        },
        Some(_) => return false,
        None => text,
    };
    name.len() <= 512 && is_written_in(name, "/_+=.@-")
}

pub(super) fn is_kms_key(text: &str) -> bool {
    let resource = match arn(text) {
        Some(arn) if arn.service == "kms" => match arn.resource.strip_prefix("key/") {
            Some(id) => return is_key_id(id),
            None => arn.resource,
        },
        Some(_) => return false,
        None if is_key_id(text) => return true,
        None => text,
    };
    resource
        .strip_prefix("alias/")
        .is_some_and(|alias| alias.len() <= 250 && is_written_in(alias, "/_-"))
}

fn is_key_id(text: &str) -> bool {
    if let Some(hex) = text.strip_prefix("mrk-") {
        return hex.len() == 32 && is_hex(hex);
    }
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && is_hex(&text.replace('-', ""))
}

pub(super) fn is_variable(text: &str) -> bool {
    is_written_in(text, "_") && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        label.len() <= 63 && is_written_in(label, "_-") && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_authority(text: &str) -> bool {
    let is_port = |port: &str| whole(port).is_some_and(|port| (1..=65535).contains(&port));
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<core::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(text),
    }
}

pub(super) fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let tail = &rest[end..];
    schemes.contains(&scheme)
        && is_authority(&rest[..end])
        && tail
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b))
}

pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    text.len() <= 254
        && local.len() <= 64
        && is_written_in(local, ".!#$%&'*+/=?^_`{|}~-")
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && is_host(domain)
}

pub(super) fn is_topic(name: &str) -> bool {
    name.len() <= 256 && is_written_in(name, "_-")
}

pub(super) fn is_image_tag(text: &str) -> bool {
    text.len() <= 128 && is_written_in(text, "_.-") && !text.starts_with(['.', '-'])
}

/// Returns the tag or digest of an image, if it has one.
pub(super) fn image_tag(image: &str) -> Option<&str> {
    if let Some((_, digest)) = image.split_once('@') {
        return Some(digest);
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map(|(_, tag)| tag)
}

pub(super) fn is_image(text: &str) -> bool {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let digest_is_good = digest.is_none_or(|digest| {
        digest
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && is_hex(hex))
    });
    let name = match image_tag(name) {
        Some(tag) if is_image_tag(tag) => &name[..name.len() - tag.len() - 1],
        Some(_) => return false,
        None => name,
    };
    let mut parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        if !is_authority(parts[0]) {
            return false;
        }
        parts.remove(0);
    }
    let part = |part: &&str| {
        let end = |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit();
        is_made_of(part, "._-") && !part.starts_with(end) && !part.ends_with(end)
    };
    digest_is_good && name.len() <= 255 && parts.iter().all(part)
}

/// Returns the resource of an ARN of IAM, which has no region; policies of AWS have no account either.
pub(super) fn iam_arn(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [scheme, partition, service, region, account, resource] = parts[..] else {
        return None;
    };
    let good = scheme == "arn"
        && (partition == "aws" || partition.starts_with("aws-"))
        && service == "iam"
        && region.is_empty()
        && (account == "aws" || (account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())))
        && text.len() <= 2048
        && is_written_in(resource, "/_+=,.@-");
    good.then_some(resource)
}

/// Whether text is the ARN of a role or a user of an account.
pub(super) fn is_principal(text: &str) -> bool {
    !text.contains("::aws:")
        && iam_arn(text).is_some_and(|resource| {
            ["role/", "user/"]
                .iter()
                .any(|kind| resource.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
        })
}

pub(super) fn is_policy(text: &str) -> bool {
    iam_arn(text)
        .and_then(|resource| resource.strip_prefix("policy/"))
        .is_some_and(|name| !name.is_empty())
}

/// Whether text can name a cluster (<https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>).
pub(super) fn is_cluster(text: &str) -> bool {
    text.len() <= 100 && is_written_in(text, "_-") && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Whether text is a minor version such as `1.34`.
pub(super) fn is_kubernetes(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(major, minor)| whole(major) == Some(1) && minor.len() <= 3 && whole(minor).is_some())
}

/// Whether text is a range of IPv4 addresses whose first address it names.
pub(super) fn is_cidr(text: &str) -> bool {
    network(text).is_some_and(|(address, first)| address == first)
}

/// Returns the address of a range as written, and its first one.
pub(super) fn network(text: &str) -> Option<(core::net::Ipv4Addr, core::net::Ipv4Addr)> {
    let (address, bits) = text.split_once('/')?;
    let address: core::net::Ipv4Addr = address.parse().ok()?;
    let bits = whole(bits).filter(|bits| *bits <= 32)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or_default();
    Some((address, (u32::from(address) & mask).into()))
}

/// Whether text can name an object of Kubernetes
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>): a label up to 63 characters, labels with dots between
/// above.
pub(super) fn is_object(text: &str, longest: usize) -> bool {
    let label = |label: &str| {
        label.len() <= 63 && is_made_of(label, "-") && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= longest && text.split('.').all(label) && (longest > 63 || !text.contains('.'))
}

/// Whether text is the version of a chart, which follows semantic versioning, with or without a `v`.
pub(super) fn is_chart_version(text: &str) -> bool {
    let version = text.strip_prefix('v').unwrap_or(text);
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    text.len() <= 128
        && numbers.len() == 3
        && numbers.iter().all(|number| whole(number).is_some())
        && is_written_in(version, ".+-")
        && !version.ends_with(['.', '+', '-'])
}

/// Whether text is the name of a chart.
pub(super) fn is_chart(text: &str) -> bool {
    text.len() <= 250 && is_written_in(text, "._-") && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}
