//! T1: the host that a rule looks at is the host that a URL library would connect to, however the URL is spelled.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::{Endpoint, LocalUrl};
use functiongraph_fuzz::fuzz_target;
use url::{Host, Url};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(local) = text.parse::<LocalUrl>() {
        let url = Url::parse(&local.to_string()).unwrap_or_else(|error| panic!("{local}: {error}"));
        assert_eq!((url.scheme(), url.username(), url.password()), ("http", "", None));
    }
    let Ok(endpoint) = text.parse::<Endpoint>() else { return };
    let written = endpoint.to_string();
    assert_eq!(written.parse(), Ok(endpoint.clone()), "what is written is read again as the same");
    for spelling in [text, &written] {
        let url = Url::parse(spelling).unwrap_or_else(|error| panic!("{spelling:?}: {error}"));
        assert_eq!(url.host_str(), Some(endpoint.host()));
        assert_eq!(url.port_or_known_default(), Some(endpoint.port()));
        assert_eq!((url.scheme(), url.username(), url.password()), ("https", "", None));
        assert_eq!((url.path(), url.query(), url.fragment()), ("/", None, None));
        let is_ip = matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
        assert_eq!(endpoint.host_is_ip(), is_ip, "an address cannot be disguised as a name");
    }
});
