//! Plain endpoints, and URLs that only look like one.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Endpoint, EndpointError> {
    text.parse()
}

#[test]
fn a_plain_endpoint_is_taken_apart() {
    for text in ["https://fg.example.com", "https://fg.example.com/", "HTTPS://FG.Example.COM:443"] {
        let endpoint = parse(text).unwrap();
        assert_eq!(endpoint.host(), "fg.example.com");
        assert_eq!(endpoint.port(), 443);
        assert_eq!(endpoint.authority(), "fg.example.com");
        assert_eq!(endpoint.to_string(), "https://fg.example.com");
        assert!(!endpoint.host_is_ip());
    }
    let endpoint = parse("https://localhost:8443").unwrap();
    assert_eq!((endpoint.host(), endpoint.port()), ("localhost", 8443));
    assert_eq!(endpoint.authority(), "localhost:8443");
    assert_eq!(endpoint.to_string(), "https://localhost:8443");
}

#[test]
fn t01_an_address_is_seen_through_every_disguise() {
    for (text, host) in [
        ("https://127.0.0.1", "127.0.0.1"),
        ("https://2130706433", "127.0.0.1"),
        ("https://0x7f000001", "127.0.0.1"),
        ("https://0x7f.1", "127.0.0.1"),
        ("https://0177.0.0.1", "127.0.0.1"),
        ("https://127.1", "127.0.0.1"),
        ("https://127.0.0.1.", "127.0.0.1"),
        ("https://169.254.169.254:8443", "169.254.169.254"),
        ("https://0251.0376.0251.0376", "169.254.169.254"),
        ("https://[::1]", "[::1]"),
        ("https://[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]"),
        ("https://[0:0:0:0:0:ffff:7f00:1]:9", "[::ffff:7f00:1]"),
    ] {
        let endpoint = parse(text).unwrap();
        assert_eq!(endpoint.host(), host, "{text}");
        assert!(endpoint.host_is_ip(), "{text}");
    }
}

#[test]
fn t01_nothing_that_could_be_read_in_two_ways_is_an_endpoint() {
    use EndpointError::{Character, Host, Port, Rest, Scheme};
    for (text, error) in [
        ("", Scheme),
        ("fg.example.com", Scheme),
        ("http://fg.example.com", Scheme),
        ("ftp://fg.example.com", Scheme),
        ("https:fg.example.com", Scheme),
        ("https:/fg.example.com", Scheme),
        ("//fg.example.com", Scheme),
        ("https://", Host),
        ("https:///fg.example.com", Host),
        ("https://?q", Host),
        ("https://fg.example.com@evil.example", Character),
        ("https://@fg.example.com", Character),
        ("https://user:word@fg.example.com", Character),
        ("https://evil.example\\@fg.example.com", Character),
        ("https://evil.example\\.fg.example.com", Character),
        ("https:\\\\fg.example.com", Character),
        ("https://fg.example.com%2eevil.example", Character),
        ("https://fg%00.example.com", Character),
        ("https://%66g.example.com", Character),
        ("https://fg.\texample.com", Character),
        ("https://fg.example.com\n", Character),
        (" https://fg.example.com", Character),
        ("https://fg.example.com\0", Character),
        ("https://fg\u{3002}example.com", Character),
        ("https://\u{ff46}g.example.com", Character),
        ("https://fg.ex\u{430}mple.com", Character),
        ("https://fg.example.com\u{200b}", Character),
        ("https://fg.example.com.", Host),
        ("https://fg..example.com", Host),
        ("https://.example.com", Host),
        ("https://-fg.example.com", Host),
        ("https://fg_1.example.com", Host),
        ("https://*.example.com", Host),
        ("https://fg.example.com,evil.example", Host),
        ("https://fg.example.com;x", Host),
        ("https://1.2.3.4.5", Host),
        ("https://256.256.256.256", Host),
        ("https://[::1", Host),
        ("https://[fe80::1%25eth0]", Character),
        ("https://::1", Host),
        ("https://fg.example.com:", Port),
        ("https://fg.example.com:0", Port),
        ("https://fg.example.com:65536", Port),
        ("https://fg.example.com:http", Port),
        ("https://fg.example.com/v2", Rest),
        ("https://fg.example.com//", Rest),
        ("https://fg.example.com/..", Rest),
        ("https://fg.example.com?x=1", Rest),
        ("https://fg.example.com/?", Rest),
        ("https://fg.example.com#x", Rest),
        ("https://evil.example#.fg.example.com", Rest),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_accepted_is_written_down_and_read_back(text in "https://[ -~]{0,30}") {
        if let Ok(endpoint) = parse(&text) {
            prop_assert_eq!(parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn t01_the_host_is_the_one_a_url_parser_connects_to(text in "https://[a-z0-9.@:/\\\\#?%-]{0,20}") {
        if let Ok(endpoint) = parse(&text) {
            let url = Url::parse(&text).unwrap();
            prop_assert_eq!(url.host_str(), Some(endpoint.host()));
            prop_assert_eq!(url.port_or_known_default(), Some(endpoint.port()));
        }
    }
}
