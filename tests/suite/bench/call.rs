//! Which AWS call a request is, in each of the five ways they are written.

use std::time::Duration;

use serde_json::{Map, Value};

use super::cbor;
use super::http::{Request, Response};

/// A call as the log keeps it.
#[derive(Clone, Debug)]
pub struct Call {
    /// As in IAM policies: `ec2`, `cloudwatch`.
    pub service: String,
    /// Such as `RunInstances`; of a REST service that is not in the table, method and path.
    pub operation: String,
    /// Where the call was signed for.
    pub region: String,
    /// As sent: names of query protocols are flat (`TagSpecification.1.Tag.1.Key`), others are a document.
    pub parameters: Value,
    /// Since the account was opened.
    pub at: Duration,
    /// Status of the answer; none was sent if there is none.
    pub answer: Option<u16>,
    /// How the call is written.
    pub protocol: Protocol,
}

/// How calls, answers and errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Form in, XML out, errors as EC2 has them.
    Ec2,
    /// Form in, XML out: IAM, STS, SNS, Auto Scaling.
    Query,
    /// JSON, the operation in `X-Amz-Target`: SSM, Pricing, Logs.
    Json,
    /// JSON, the operation in method and path: EKS.
    Rest,
    /// CBOR, the operation in the path: CloudWatch.
    Cbor,
}

/// Names in signatures that policies write differently.
const PREFIXES: &[(&str, &str)] = &[("monitoring", "cloudwatch"), ("tagging", "tag")];

/// Method, path and operation of EKS; `*` is a name, kept as a parameter in its order.
const EKS: &[(&str, &str, &str)] = &[
    ("POST", "clusters", "CreateCluster"),
    ("GET", "clusters", "ListClusters"),
    ("GET", "clusters/*", "DescribeCluster"),
    ("DELETE", "clusters/*", "DeleteCluster"),
    ("POST", "clusters/*/update-config", "UpdateClusterConfig"),
    ("POST", "clusters/*/updates", "UpdateClusterVersion"),
    ("GET", "clusters/*/updates", "ListUpdates"),
    ("GET", "clusters/*/updates/*", "DescribeUpdate"),
    ("POST", "clusters/*/insights", "ListInsights"),
    ("GET", "clusters/*/insights/*", "DescribeInsight"),
    ("GET", "cluster-versions", "DescribeClusterVersions"),
    ("POST", "clusters/*/node-groups", "CreateNodegroup"),
    ("GET", "clusters/*/node-groups", "ListNodegroups"),
    ("GET", "clusters/*/node-groups/*", "DescribeNodegroup"),
    ("DELETE", "clusters/*/node-groups/*", "DeleteNodegroup"),
    (
        "POST",
        "clusters/*/node-groups/*/update-config",
        "UpdateNodegroupConfig",
    ),
    (
        "POST",
        "clusters/*/node-groups/*/update-version",
        "UpdateNodegroupVersion",
    ),
    ("POST", "clusters/*/fargate-profiles", "CreateFargateProfile"),
    ("GET", "clusters/*/fargate-profiles", "ListFargateProfiles"),
    ("GET", "clusters/*/fargate-profiles/*", "DescribeFargateProfile"),
    ("DELETE", "clusters/*/fargate-profiles/*", "DeleteFargateProfile"),
    ("POST", "clusters/*/addons", "CreateAddon"),
    ("GET", "clusters/*/addons", "ListAddons"),
    ("GET", "clusters/*/addons/*", "DescribeAddon"),
    ("DELETE", "clusters/*/addons/*", "DeleteAddon"),
    ("POST", "clusters/*/addons/*/update", "UpdateAddon"),
    ("GET", "addons/supported-versions", "DescribeAddonVersions"),
    (
        "GET",
        "addons/configuration-schemas",
        "DescribeAddonConfiguration",
    ),
    ("POST", "clusters/*/access-entries", "CreateAccessEntry"),
    ("GET", "clusters/*/access-entries", "ListAccessEntries"),
    ("GET", "clusters/*/access-entries/*", "DescribeAccessEntry"),
    ("POST", "clusters/*/access-entries/*", "UpdateAccessEntry"),
    ("DELETE", "clusters/*/access-entries/*", "DeleteAccessEntry"),
    (
        "POST",
        "clusters/*/access-entries/*/access-policies",
        "AssociateAccessPolicy",
    ),
    (
        "GET",
        "clusters/*/access-entries/*/access-policies",
        "ListAssociatedAccessPolicies",
    ),
    (
        "DELETE",
        "clusters/*/access-entries/*/access-policies/*",
        "DisassociateAccessPolicy",
    ),
    (
        "POST",
        "clusters/*/pod-identity-associations",
        "CreatePodIdentityAssociation",
    ),
    (
        "GET",
        "clusters/*/pod-identity-associations",
        "ListPodIdentityAssociations",
    ),
    (
        "GET",
        "clusters/*/pod-identity-associations/*",
        "DescribePodIdentityAssociation",
    ),
    (
        "POST",
        "clusters/*/pod-identity-associations/*",
        "UpdatePodIdentityAssociation",
    ),
    (
        "DELETE",
        "clusters/*/pod-identity-associations/*",
        "DeletePodIdentityAssociation",
    ),
    ("POST", "tags/*", "TagResource"),
    ("DELETE", "tags/*", "UntagResource"),
    ("GET", "tags/*", "ListTagsForResource"),
];

/// As [`EKS`], for EFS.
const EFS: &[(&str, &str, &str)] = &[
    ("POST", "2015-02-01/file-systems", "CreateFileSystem"),
    ("GET", "2015-02-01/file-systems", "DescribeFileSystems"),
    ("DELETE", "2015-02-01/file-systems/*", "DeleteFileSystem"),
    ("POST", "2015-02-01/mount-targets", "CreateMountTarget"),
    ("GET", "2015-02-01/mount-targets", "DescribeMountTargets"),
    ("DELETE", "2015-02-01/mount-targets/*", "DeleteMountTarget"),
    (
        "GET",
        "2015-02-01/mount-targets/*/security-groups",
        "DescribeMountTargetSecurityGroups",
    ),
    (
        "PUT",
        "2015-02-01/mount-targets/*/security-groups",
        "ModifyMountTargetSecurityGroups",
    ),
    ("POST", "2015-02-01/access-points", "CreateAccessPoint"),
    ("GET", "2015-02-01/access-points", "DescribeAccessPoints"),
    ("DELETE", "2015-02-01/access-points/*", "DeleteAccessPoint"),
    (
        "PUT",
        "2015-02-01/file-systems/*/backup-policy",
        "PutBackupPolicy",
    ),
    (
        "GET",
        "2015-02-01/file-systems/*/backup-policy",
        "DescribeBackupPolicy",
    ),
    (
        "PUT",
        "2015-02-01/file-systems/*/lifecycle-configuration",
        "PutLifecycleConfiguration",
    ),
    (
        "GET",
        "2015-02-01/file-systems/*/lifecycle-configuration",
        "DescribeLifecycleConfiguration",
    ),
    ("POST", "2015-02-01/resource-tags/*", "TagResource"),
    ("DELETE", "2015-02-01/resource-tags/*", "UntagResource"),
    ("GET", "2015-02-01/resource-tags/*", "ListTagsForResource"),
];

impl Call {
    /// Reads a request.
    pub fn of(request: &Request, at: Duration) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let target = request.headers.get("x-amz-target");
        let (signed, region) = signed_for(request.headers.get("authorization"));
        let prefix = PREFIXES.iter().find(|(signed_as, _)| *signed_as == signed);
        let service = prefix.map_or(signed.as_str(), |(_, service)| service).to_owned();
        let json = || serde_json::from_slice(&request.body).unwrap_or_default();
        let (protocol, operation, parameters) = if let Some((_, operation)) = path.split_once("/operation/") {
            let parameters = if request.headers.get("content-encoding") == "gzip" {
                serde_json::json!({"gzip": request.body.len()})
            } else {
                cbor::decode(&request.body).unwrap_or_default()
            };
            (Protocol::Cbor, operation.to_owned(), parameters)
        } else if let Some((_, operation)) = target.split_once('.') {
            (Protocol::Json, operation.to_owned(), json())
        } else if request
            .headers
            .get("content-type")
            .starts_with("application/x-www-form-urlencoded")
        {
            let mut form = form(&String::from_utf8_lossy(&request.body));
            let operation = form.remove("Action").unwrap_or_default();
            form.remove("Version");
            let protocol = if service == "ec2" {
                Protocol::Ec2
            } else {
                Protocol::Query
            };
            (
                protocol,
                operation.as_str().unwrap_or_default().to_owned(),
                form.into(),
            )
        } else {
            let (operation, mut parameters) = rest(&service, &request.method, path);
            parameters.extend(form(query));
            if let Value::Object(members) = json() {
                parameters.extend(members);
            }
            (Protocol::Rest, operation, parameters.into())
        };
        Self {
            service,
            operation,
            region,
            parameters,
            at,
            answer: None,
            protocol,
        }
    }

    /// Returns the name as policies write it: `ec2:RunInstances`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// Returns service and region of `Credential=KEY/DATE/REGION/SERVICE/aws4_request`.
fn signed_for(authorization: &str) -> (String, String) {
    let scope = authorization.split_once("Credential=").unwrap_or_default().1;
    let mut parts = scope
        .split([',', ' '])
        .next()
        .unwrap_or_default()
        .split('/')
        .skip(2);
    let region = parts.next().unwrap_or_default().to_owned();
    (parts.next().unwrap_or_default().to_owned(), region)
}

/// Returns the operation of a REST call and the names in its path.
fn rest(service: &str, method: &str, path: &str) -> (String, Map<String, Value>) {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    // `tags/*` takes an ARN, whose slashes are encoded.
    let fits = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let mut pairs = pattern.iter().zip(&segments);
        pattern.len() == segments.len() && pairs.all(|(word, segment)| *word == "*" || word == segment)
    };
    let table = match service {
        "eks" => EKS,
        "elasticfilesystem" => EFS,
        _ => &[],
    };
    let found = table
        .iter()
        .find(|(of, pattern, _)| *of == method && fits(pattern));
    let Some((_, pattern, operation)) = found else {
        return (format!("{method} {path}"), Map::new());
    };
    let names = pattern.split('/').zip(&segments).filter(|(word, _)| *word == "*");
    let named = names.enumerate().map(|(n, (_, segment))| {
        let key = if n == 0 {
            "name".to_owned()
        } else {
            format!("name{}", n + 1)
        };
        (key, decoded(segment).into())
    });
    ((*operation).to_owned(), named.collect())
}

fn form(text: &str) -> Map<String, Value> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value).into()))
        .collect()
}

/// Returns text without `%41` and `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Protocol {
    /// Returns an error as services of this protocol write it.
    pub fn error(self, status: u16, code: &str, message: &str) -> Response {
        let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
        let xml = |text: String| {
            Self::Query.answer(
                status,
                &format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}"),
            )
        };
        match self {
            Self::Ec2 => xml(format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{escaped}</Message></Error></Errors>\
                 <RequestID>bench</RequestID></Response>"
            )),
            Self::Query => xml(format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}</Message></Error>\
                 <RequestId>bench</RequestId></ErrorResponse>"
            )),
            Self::Json | Self::Cbor => {
                let document = serde_json::json!({"__type": code, "message": message});
                self.answer(status, &document.to_string())
            }
            Self::Rest => {
                let document = serde_json::json!({"message": message});
                let mut answer = self.answer(status, &document.to_string());
                answer.headers.set("x-amzn-ErrorType", code);
                answer
            }
        }
    }

    /// Returns an answer; for CBOR the text is JSON and is turned into it.
    pub fn answer(self, status: u16, text: &str) -> Response {
        let mut answer = Response {
            status,
            body: text.as_bytes().to_vec(),
            ..Response::default()
        };
        let kind = match self {
            Self::Ec2 | Self::Query => "text/xml",
            Self::Json => "application/x-amz-json-1.1",
            Self::Rest => "application/json",
            Self::Cbor => {
                let value = serde_json::from_str(text).expect("a canned answer in CBOR is given as JSON");
                answer.body = cbor::encode(&value);
                answer.headers.set("smithy-protocol", "rpc-v2-cbor");
                "application/cbor"
            }
        };
        answer.headers.set("Content-Type", kind);
        answer
    }

    /// Returns "too many requests".
    pub fn throttled(self) -> Response {
        let (status, code) = match self {
            Self::Ec2 => (503, "RequestLimitExceeded"),
            Self::Query => (400, "Throttling"),
            Self::Json | Self::Cbor => (400, "ThrottlingException"),
            Self::Rest => (429, "ThrottlingException"),
        };
        self.error(status, code, "Rate exceeded")
    }

    /// Returns "not permitted".
    pub fn denied(self, name: &str) -> Response {
        let (status, code) = match self {
            Self::Ec2 => (403, "UnauthorizedOperation"),
            Self::Query => (403, "AccessDenied"),
            Self::Json | Self::Cbor => (400, "AccessDeniedException"),
            Self::Rest => (403, "AccessDeniedException"),
        };
        self.error(
            status,
            code,
            &format!("You are not authorized to perform: {name}"),
        )
    }
}

#[test]
fn eks_calls_are_named_by_method_and_path() {
    let named = |method, path| rest("eks", method, path);
    let (operation, names) = named("GET", "/clusters/a%2Fb/node-groups/c");
    assert_eq!(operation, "DescribeNodegroup");
    assert_eq!(
        Value::from(names),
        serde_json::json!({"name": "a/b", "name2": "c"})
    );
    assert_eq!(named("POST", "/clusters").0, "CreateCluster");
    assert_eq!(named("PUT", "/clusters").0, "PUT /clusters");
    assert_eq!(rest("lambda", "POST", "/clusters").0, "POST /clusters");
    let (operation, names) = rest("elasticfilesystem", "DELETE", "/2015-02-01/mount-targets/fsmt-1");
    assert_eq!(operation, "DeleteMountTarget");
    assert_eq!(Value::from(names), serde_json::json!({"name": "fsmt-1"}));
}

#[test]
fn signatures_say_service_and_region() {
    let header =
        "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu-west-2/monitoring/aws4_request, SignedHeaders=host";
    assert_eq!(
        signed_for(header),
        ("monitoring".to_owned(), "eu-west-2".to_owned())
    );
    assert_eq!(signed_for(""), (String::new(), String::new()));
}
