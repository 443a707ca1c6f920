//! The grammar of URNs, by example and by property.

use proptest::prelude::*;

use super::*;

const PROJECT: &str = "7aad83af3e8d42e99ac194e8419e2c9b";

fn parse(text: &str) -> Result<FunctionUrn, UrnError> {
    text.parse()
}

#[test]
fn seven_fields_mean_the_latest_code() {
    let urn = parse(&format!("urn:fss:cn-north-4:{PROJECT}:function:default:test")).unwrap();
    assert_eq!(urn.region(), "cn-north-4");
    assert_eq!(urn.project_id(), PROJECT);
    assert_eq!(urn.package(), DEFAULT_PACKAGE);
    assert_eq!(urn.name(), "test");
    assert_eq!(urn.qualifier(), &Qualifier::Latest);
    assert_eq!(urn.to_string(), format!("urn:fss:cn-north-4:{PROJECT}:function:default:test:latest"));
    assert_eq!(urn.short(), "default:test:latest");
}

#[test]
fn the_eighth_field_is_a_version_or_an_alias() {
    for (field, qualifier) in [
        ("latest", Qualifier::Latest),
        ("v20240102-030405", Qualifier::Version("v20240102-030405".into())),
        ("1.2_3", Qualifier::Version("1.2_3".into())),
        ("!prod", Qualifier::Alias("prod".into())),
        ("!latest", Qualifier::Alias("latest".into())),
    ] {
        let text = format!("urn:fss:eu-de:{PROJECT}:function:my.pkg:test:{field}");
        let urn = parse(&text).unwrap();
        assert_eq!(urn.qualifier(), &qualifier);
        assert_eq!(urn.to_string(), text);
    }
}

#[test]
fn a_path_segment_holds_neither_colon_nor_exclamation_mark() {
    let urn = parse(&format!("urn:fss:eu-de:{PROJECT}:function:default:test:!prod")).unwrap();
    assert_eq!(
        urn.path_segment(),
        format!("urn%3Afss%3Aeu-de%3A{PROJECT}%3Afunction%3Adefault%3Atest%3A%21prod")
    );
}

#[test]
fn the_simplified_forms_are_refused_with_the_full_one_named() {
    let short = ["test", "default:test", "p:default:test", "p:default:test:latest", "a:b:c:d:e:f:g:h:i", ""];
    for text in short {
        assert_eq!(parse(text), Err(UrnError::Form), "{text}");
    }
    assert!(UrnError::Form.to_string().contains("urn:fss:<region>:<project id>:function:<package>:<name>"));
}

#[test]
fn the_fixed_words_are_fixed() {
    for text in [
        "urn:fgs:eu-de:p:function:default:test",
        "URN:fss:eu-de:p:function:default:test",
        "urn:fss:eu-de:p:func:default:test:latest",
    ] {
        assert_eq!(parse(text), Err(UrnError::Form), "{text}");
    }
}

#[test]
fn t09_every_part_has_its_rule() {
    let long_name = "a".repeat(61);
    let long_alias = format!("!{}", "a".repeat(65));
    let long_version = "1".repeat(43);
    let long_region = "a".repeat(64);
    let cases: [(&str, [&str; 5]); 26] = [
        ("the region", ["", "p", "default", "f", "latest"]),
        ("the region", ["EU-DE", "p", "default", "f", "latest"]),
        ("the region", ["-eu", "p", "default", "f", "latest"]),
        ("the region", ["eu-", "p", "default", "f", "latest"]),
        ("the region", ["eu.evil.example", "p", "default", "f", "latest"]),
        ("the region", ["eu/de", "p", "default", "f", "latest"]),
        ("the region", [&long_region, "p", "default", "f", "latest"]),
        ("the project id", ["eu-de", "", "default", "f", "latest"]),
        ("the project id", ["eu-de", "p/../q", "default", "f", "latest"]),
        ("the project id", ["eu-de", "p\r\n", "default", "f", "latest"]),
        ("the package", ["eu-de", "p", "", "f", "latest"]),
        ("the package", ["eu-de", "p", "a b", "f", "latest"]),
        ("the function name", ["eu-de", "p", "default", "", "latest"]),
        ("the function name", ["eu-de", "p", "default", "1f", "latest"]),
        ("the function name", ["eu-de", "p", "default", "f-", "latest"]),
        ("the function name", ["eu-de", "p", "default", "f.g", "latest"]),
        ("the function name", ["eu-de", "p", "default", "fü", "latest"]),
        ("the function name", ["eu-de", "p", "default", &long_name, "latest"]),
        ("the version", ["eu-de", "p", "default", "f", ""]),
        ("the version", ["eu-de", "p", "default", "f", "-1"]),
        ("the version", ["eu-de", "p", "default", "f", "1."]),
        ("the version", ["eu-de", "p", "default", "f", &long_version]),
        ("the alias", ["eu-de", "p", "default", "f", "!"]),
        ("the alias", ["eu-de", "p", "default", "f", "!1"]),
        ("the alias", ["eu-de", "p", "default", "f", "!!a"]),
        ("the alias", ["eu-de", "p", "default", "f", &long_alias]),
    ];
    for (expected, [region, project, package, name, qualifier]) in cases {
        let text = format!("urn:fss:{region}:{project}:function:{package}:{name}:{qualifier}");
        match parse(&text) {
            Err(UrnError::Part { part, .. }) => assert_eq!(part, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_total_length_is_limited() {
    let build = |project: usize| {
        FunctionUrn::new("eu-de", &"p".repeat(project), DEFAULT_PACKAGE, "f", Qualifier::Latest)
    };
    let frame = build(1).unwrap().to_string().len() - 1;
    assert_eq!(build(MAX_LENGTH - frame).unwrap().to_string().len(), MAX_LENGTH);
    assert_eq!(build(MAX_LENGTH - frame + 1), Err(UrnError::TooLong(MAX_LENGTH + 1)));
    assert_eq!(parse(&"x".repeat(100_000)), Err(UrnError::TooLong(100_000)));
}

#[test]
fn a_version_called_latest_cannot_be_built() {
    let version = Qualifier::Version("latest".into());
    assert!(FunctionUrn::new("eu-de", "p", DEFAULT_PACKAGE, "f", version).is_err());
}

fn qualifiers() -> impl Strategy<Value = Qualifier> {
    prop_oneof![
        Just(Qualifier::Latest),
        "v[0-9]{8}-[0-9]{6}".prop_map(Qualifier::Version),
        "[0-9]([a-z0-9_.-]{0,20}[a-z0-9])?".prop_map(Qualifier::Version),
        "[A-Za-z]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?".prop_map(Qualifier::Alias),
    ]
}

proptest! {
    #[test]
    fn what_is_written_down_is_read_back(
        region in "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?",
        project in "[A-Za-z0-9_-]{1,32}",
        package in "[A-Za-z0-9_.-]{1,20}",
        name in "[A-Za-z]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?",
        qualifier in qualifiers(),
    ) {
        let urn = FunctionUrn::new(&region, &project, &package, &name, qualifier).unwrap();
        prop_assert_eq!(urn.to_string().parse::<FunctionUrn>(), Ok(urn.clone()));
        prop_assert_eq!(urn.qualifier().to_string().parse::<Qualifier>(), Ok(urn.qualifier().clone()));
    }

    #[test]
    fn t09_no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn t09_whatever_is_accepted_is_safe_in_a_path(text in "urn:fss:[ -~]{1,8}:[ -~]{1,8}:function:[ -~]{1,8}:[ -~]{1,8}") {
        if let Ok(urn) = parse(&text) {
            let segment = urn.path_segment();
            prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%".contains(&b)), "{}", segment);
        }
    }
}
