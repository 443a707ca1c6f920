//! The hosts that the platform team allows: an exact name, a name with a region, or all names below a domain.

use std::str::FromStr;

/// Placeholder for a region.
const REGION: &str = "{region}";

/// The services of the clouds that offer FunctionGraph, and no other names of these clouds. A customer who rents a
/// bucket or a load balancer gets a name below the same domain and could collect credentials there.
/// `iam.myhuaweicloud.com` is for regions without an identity service of their own.
const OF_THE_CLOUDS: &str = "functiongraph.{region}.myhuaweicloud.com,iam.{region}.myhuaweicloud.com,\
    iam.myhuaweicloud.com,sts.{region}.myhuaweicloud.com,\
    functiongraph.{region}.myhuaweicloud.eu,iam.{region}.myhuaweicloud.eu,sts.{region}.myhuaweicloud.eu,\
    functiongraph.{region}.otc.t-systems.com,iam.{region}.otc.t-systems.com,sts.{region}.otc.t-systems.com";

/// The patterns of [`OF_THE_CLOUDS`].
pub fn of_the_clouds() -> Vec<HostPattern> {
    OF_THE_CLOUDS.split(',').filter_map(|pattern| pattern.parse().ok()).collect()
}

/// One entry of the list of allowed hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// This name or address.
    Exact(String),
    /// The parts before and after a region.
    InRegion(String, String),
    /// Every name with this ending, which begins with a dot.
    Below(String),
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host name such as iam.example.com, one with {{region}} as one of its parts, or a suffix such as .example.com, all without scheme, port and '*'"
)]
pub struct NotAPattern;

// === impl HostPattern ===

impl HostPattern {
    /// Whether it is exactly this host. Then only the platform team can have chosen it.
    pub fn is_exactly(&self, host: &str) -> bool {
        matches!(&self.0, Form::Exact(listed) if listed == host)
    }

    /// Whether it allows a host, in lower case and without a dot at its end.
    pub fn admits(&self, host: &str) -> bool {
        match &self.0 {
            Form::Exact(listed) => listed == host,
            Form::InRegion(before, after) => host
                .strip_prefix(before.as_str())
                .and_then(|rest| rest.strip_suffix(after.as_str()))
                .is_some_and(is_region),
            Form::Below(suffix) => host.ends_with(suffix.as_str()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let text = text.trim().to_ascii_lowercase();
        // An IPv6 address is in brackets, as in a URL.
        let is_plain = |part: &str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
                && !part.contains("..")
                && !part.ends_with('.')
        };
        let is_ipv6 = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(Ok(address)) = is_ipv6.map(str::parse::<std::net::Ipv6Addr>) {
            return Ok(Self(Form::Exact(format!("[{address}]"))));
        }
        let form = match text.split_once(REGION) {
            Some((before, after))
                if (before.is_empty()
                    || (before.ends_with('.') && is_plain(before.trim_end_matches('.'))))
                    && after.starts_with('.')
                    && after.len() > 1
                    && is_plain(after) =>
            {
                Form::InRegion(before.to_owned(), after.to_owned())
            }
            Some(_) => return Err(NotAPattern),
            None if text.trim_start_matches('.').is_empty() || !is_plain(&text) => return Err(NotAPattern),
            None if text.starts_with('.') => Form::Below(text),
            None => Form::Exact(text),
        };
        Ok(Self(form))
    }
}

/// Whether a part of a name looks like a region: `eu-de`, `cn-north-4`, `my-kualalumpur-1`. The names of services do
/// not look like this (`obs`, `obs-website`, `elb`), and services rent out names.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [country, area] => country.len() == 2 && is_word(country) && is_word(area),
        [country, area, number] => {
            country.len() == 2 && is_word(country) && (is_word(area)) && is_number(number)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(list: &str, host: &str) -> bool {
        list.split(',').any(|pattern| pattern.parse::<HostPattern>().unwrap().admits(host))
    }

    #[test]
    fn t01_the_services_of_the_clouds_are_allowed_and_no_other_names() {
        for host in [
            "functiongraph.cn-north-4.myhuaweicloud.com",
            "functiongraph.ap-southeast-3.myhuaweicloud.com",
            "functiongraph.my-kualalumpur-1.myhuaweicloud.com",
            "functiongraph.eu-west-101.myhuaweicloud.com",
            "functiongraph.eu-west-101.myhuaweicloud.eu",
            "functiongraph.eu-de.otc.t-systems.com",
            "iam.eu-nl.otc.t-systems.com",
            "iam.cn-north-4.myhuaweicloud.com",
            "iam.myhuaweicloud.com",
            "sts.tr-west-1.myhuaweicloud.com",
        ] {
            assert!(admits(OF_THE_CLOUDS, host), "{host}");
        }
        for host in [
            "myhuaweicloud.com",
            "functiongraph.myhuaweicloud.com",
            // Names of customers' buckets are below these.
            "functiongraph.obs.myhuaweicloud.com",
            "iam.obs.myhuaweicloud.com",
            "functiongraph.obs.cn-north-4.myhuaweicloud.com",
            "functiongraph.obs-website.cn-north-4.myhuaweicloud.com",
            "functiongraph.cn-north-4.obs.myhuaweicloud.com",
            "functiongraph.oss-cn.myhuaweicloud.com",
            "bucket.cn-north-4.myhuaweicloud.com",
            "evil.eu-de.otc.t-systems.com",
            "a.functiongraph.eu-de.otc.t-systems.com",
            "functiongraph.eu-de.evil.example",
            "functiongraph.eu-de.otc.t-systems.com.evil.example",
            "functiongraph.eu-de.myhuaweicloud.com.otc.t-systems.com",
            "functiongraph..myhuaweicloud.com",
            "functiongraph.eu-.myhuaweicloud.com",
            "functiongraph.1-2.myhuaweicloud.com",
            "functiongraph.eu-de-1-2.myhuaweicloud.com",
        ] {
            assert!(!admits(OF_THE_CLOUDS, host), "{host}");
        }
    }

    #[test]
    fn t01_a_pattern_allows_exactly_its_hosts() {
        assert!(admits("Localhost", "localhost") && !admits("localhost", "notlocalhost"));
        assert!(admits(".example.com", "a.b.example.com") && !admits(".example.com", "example.com"));
        assert!(!admits(".example.com", "evilexample.com"));
        assert!(admits("fg.{region}.example.com", "fg.eu-west-0.example.com"));
        assert!(admits("{region}.example.com", "eu-de.example.com"));
        assert!(admits("127.0.0.1", "127.0.0.1") && admits("[0:0::1]", "[::1]"));
        let exact: HostPattern = "localhost".parse().unwrap();
        assert!(exact.is_exactly("localhost"));
        assert!(!".localhost".parse::<HostPattern>().unwrap().is_exactly("a.localhost"));
    }

    #[test]
    fn t01_a_pattern_that_cannot_match_is_refused_at_the_start() {
        for text in [
            "",
            ".",
            "..",
            "https://example.com",
            "example.com:443",
            "example.com/",
            "*.example.com",
            "example.com.",
            "a..example.com",
            "fg-{region}.example.com",
            "fg.{region}",
            "fg.{region}example.com",
            "{region}.{region}.example.com",
            "fg.{zone}.example.com",
            "::1",
            "[::1",
            "exämple.com",
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(NotAPattern), "{text:?}");
        }
    }
}
