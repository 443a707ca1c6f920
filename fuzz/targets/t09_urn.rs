//! T9: whatever passes for a URN is one segment of a path, one label of a host and one header, and nothing more.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::{Endpoint, FunctionUrn, Qualifier};
use functiongraph_fuzz::fuzz_target;
use http::HeaderValue;
use url::Url;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(qualifier) = text.parse::<Qualifier>() {
        assert_eq!(qualifier.to_string(), text);
    }
    let Ok(urn) = text.parse::<FunctionUrn>() else { return };

    let written = urn.to_string();
    assert_eq!(written.parse(), Ok(urn.clone()), "what is written is read again as the same");
    assert!(written == text || written == format!("{text}:latest"), "nothing is dropped or invented");
    assert!(written.len() <= functiongraph::urn::MAX_LENGTH);
    assert!(HeaderValue::from_str(&written).is_ok());

    let segment = urn.path_segment();
    assert!(
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte)),
        "{segment}"
    );
    assert_eq!(segment.replace("%3A", ":").replace("%21", "!"), written, "nothing else is encoded");

    let host = format!("functiongraph.{}.example.com", urn.region());
    let url = format!("https://{host}/v2/{}/fgs/functions/{segment}/invocations", urn.project_id());
    let parsed = Url::parse(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(parsed.as_str(), url, "a URL parser changes nothing");
    assert_eq!(parsed.path_segments().map(Iterator::count), Some(6));
    assert_eq!((parsed.host_str(), parsed.query(), parsed.fragment()), (Some(host.as_str()), None, None));
    assert_eq!(format!("https://{host}").parse::<Endpoint>().map(|e| e.host().to_owned()), Ok(host));
});
