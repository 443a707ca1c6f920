//! Endpoints of a region, by the naming rules of the clouds.

/// Base URL of FunctionGraph in a region, such as `https://functiongraph.eu-de.otc.t-systems.com`.
///
/// Uses the region unchanged; a [`FunctionUrn`](crate::FunctionUrn) has a validated region.
///
/// # Caveats
/// For the European regions of Huawei Cloud (`eu-west-1…`) the published sources disagree. Huawei's SDK table says
/// `myhuaweicloud.com`. Its European documents and its Terraform provider say `myhuaweicloud.eu`, which this function
/// returns. Let users set an endpoint of their own.
#[must_use]
pub fn endpoint(region: &str) -> String {
    format!("https://functiongraph.{region}.{}", domain(region))
}

/// Base URL of the identity service (IAM) of a region, such as `https://iam.cn-north-4.myhuaweicloud.com`.
///
/// The caveat of [`endpoint`] applies here too.
#[must_use]
pub fn iam_endpoint(region: &str) -> String {
    format!("https://iam.{region}.{}", domain(region))
}

/// Base URL of the security token service (IAM 5) of a region, such as `https://sts.cn-north-4.myhuaweicloud.com`.
///
/// Huawei's SDK lists it for `cn-north-4`, `cn-south-1`, `cn-east-3`, `cn-southwest-2`, `ap-southeast-1` to
/// `ap-southeast-4`, `sa-brazil-1`, `la-south-2`, `af-south-1` and `tr-west-1`. For other regions the URL follows the
/// naming rule only. No source mentions a service of Open Telekom Cloud.
#[must_use]
pub fn sts_endpoint(region: &str) -> String {
    format!("https://sts.{region}.{}", domain(region))
}

/// The cloud that a host belongs to, by its domain. Accounts, users and access keys are the same in all of its regions. A
/// host of no known cloud is a cloud of its own.
#[must_use]
pub fn cloud(host: &str) -> &str {
    let is_of = |domain: &&str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    DOMAINS.into_iter().find(is_of).unwrap_or(host)
}

const OPEN_TELEKOM_CLOUD: &str = "otc.t-systems.com";
const HUAWEI_CLOUD_EUROPE: &str = "myhuaweicloud.eu";
const HUAWEI_CLOUD: &str = "myhuaweicloud.com";
const DOMAINS: [&str; 3] = [OPEN_TELEKOM_CLOUD, HUAWEI_CLOUD_EUROPE, HUAWEI_CLOUD];

/// The domain of the cloud that runs a region.
fn domain(region: &str) -> &'static str {
    match region {
        "eu-de" | "eu-nl" => OPEN_TELEKOM_CLOUD,
        _ if region.starts_with("eu-west-1") => HUAWEI_CLOUD_EUROPE,
        _ => HUAWEI_CLOUD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_its_own_domain() {
        let table = [
            ("cn-north-4", "cn-north-4.myhuaweicloud.com"),
            ("ap-southeast-1", "ap-southeast-1.myhuaweicloud.com"),
            ("eu-west-101", "eu-west-101.myhuaweicloud.eu"),
            ("eu-de", "eu-de.otc.t-systems.com"),
            ("eu-nl", "eu-nl.otc.t-systems.com"),
            ("eu-west-0", "eu-west-0.myhuaweicloud.com"),
        ];
        for (region, host) in table {
            assert_eq!(endpoint(region), format!("https://functiongraph.{host}"));
            assert_eq!(iam_endpoint(region), format!("https://iam.{host}"));
            assert_eq!(sts_endpoint(region), format!("https://sts.{host}"));
            assert_eq!(cloud(&format!("iam.{host}")), host.split_once('.').unwrap().1);
        }
        for host in
            ["localhost", "otc.t-systems.com", "evilmyhuaweicloud.com", "myhuaweicloud.com.evil.example"]
        {
            assert_eq!(cloud(host), host);
        }
    }
}
