//! How AWS is reached: region, credentials, endpoint, patience.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};

/// What the user said about AWS; the rest is read from AWS' own variables and files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Region of the calls.
    pub region: String,
    /// Name in the AWS configuration files.
    pub profile: Option<String>,
    /// Address that every call goes to; endpoints of single services (`AWS_ENDPOINT_URL_EC2`) need no flag.
    pub endpoint_url: Option<String>,
}

/// Loads the configuration of the SDK.
///
/// Nothing is called yet, except where the user's profile asks for credentials from elsewhere.
pub async fn load(access: &Access) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(access.region.clone()))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(Duration::from_secs(45))
                .build(),
        );
    if let Ok(name) = AppName::new("dataops-infra") {
        loader = loader.app_name(name);
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &access.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}

/// Returns the region that AWS' own variables and files say.
pub async fn default_region(profile: Option<&str>) -> Option<String> {
    let mut chain = aws_config::default_provider::region::DefaultRegionChain::builder();
    if let Some(profile) = profile {
        chain = chain.profile_name(profile);
    }
    chain.build().region().await.map(|region| region.to_string())
}
