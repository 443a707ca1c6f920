//! Reserved instances: requested per version or alias, and listed with and without their rules.

use serde_json::{Value, json};

use crate::support::{PROJECT, Place, Seen, TOKEN};

impl Place {
    async fn reserve(&self, function: &str, reservation: &Value) -> Seen {
        let request = self.http.put(self.url(function, "reservedinstances")).header("X-Auth-Token", TOKEN);
        Seen::of(request.body(reservation.to_string())).await
    }
}

fn urn(qualifier: &str) -> String {
    format!("urn:fss:eu-de:{PROJECT}:function:default:hello:{qualifier}")
}

#[tokio::test]
async fn what_is_reserved_is_answered_and_listed() {
    let place = Place::new().await;
    let tactics = json!({
        "cron_configs": [
            {"name": "night", "cron": "0 0 1 * * ?", "count": 15, "start_time": 1, "expired_time": 2},
        ],
        "metric_configs": [{"name": "busy", "type": "Concurrency", "threshold": 90, "min": 12}],
    });
    let asked = json!({"count": 2, "idle_mode": true, "tactics_config": tactics});
    let seen = place.reserve("hello", &asked).await;
    assert_eq!((seen.status, seen.json()), (200, asked));
    let seen = place.reserve(&urn("!prod"), &json!({"count": 1})).await;
    assert_eq!((seen.status, seen.json()), (200, json!({"count": 1, "idle_mode": false})));
    assert_eq!(
        place.get_project("functions/reservedinstances").await.json(),
        json!({
            "reservedinstances": [
                {"func_urn": urn("!prod"), "count": 1},
                {"func_urn": urn("latest"), "count": 2},
            ],
            "count": 2,
            "page_info": {"next_marker": 2, "previous_marker": 0, "current_count": 2},
        })
    );
    let rule = |urn: String, kind: &str, name: &str, count: u32, idle: bool, tactics: Value| {
        json!({
            "function_urn": urn,
            "qualifier_type": kind,
            "qualifier_name": name,
            "min_count": count,
            "idle_mode": idle,
            "tactics_config": tactics,
        })
    };
    assert_eq!(
        place.get_project("functions/reservedinstanceconfigs").await.json(),
        json!({
            "reserved_instances": [
                rule(urn("!prod"), "alias", "prod", 1, false, json!({})),
                rule(urn("latest"), "version", "latest", 2, true, tactics),
            ],
            "count": 2,
            "page_info": {"next_marker": 2, "previous_marker": 0, "current_count": 2},
        })
    );
    // The reservation is removed.
    place.reserve("hello", &json!({"count": 0})).await;
    place.reserve(&urn("!prod"), &json!({"count": 0, "tactics_config": {}})).await;
    assert_eq!(place.get_project("functions/reservedinstances").await.json()["count"], 0);
}

#[tokio::test]
async fn the_lists_are_read_in_pages_and_for_one_urn() {
    let place = Place::new().await;
    for (qualifier, count) in [("latest", 1), ("v1", 2), ("!prod", 3)] {
        place.reserve(&urn(qualifier), &json!({"count": count})).await;
    }
    for (api, filter, list, number) in [
        ("reservedinstances", "urn", "reservedinstances", "count"),
        ("reservedinstanceconfigs", "function_urn", "reserved_instances", "min_count"),
    ] {
        let read = async |query: String| {
            let body = place.get_project(&format!("functions/{api}?{query}")).await.json();
            let entries = body[list].as_array().unwrap().clone();
            let counts: Vec<u64> = entries.iter().map(|entry| entry[number].as_u64().unwrap()).collect();
            (counts, body["count"].as_u64().unwrap())
        };
        assert_eq!(read("limit=2".into()).await, (vec![3, 1], 3));
        assert_eq!(read("limit=2&marker=2".into()).await, (vec![2], 3));
        assert_eq!(read(format!("{filter}={}", urn("v1"))).await, (vec![2], 1));
        assert_eq!(read(format!("{filter}=hello")).await, (vec![1], 1), "without a version it is the latest");
        assert_eq!(read(format!("{filter}=nope")).await, (vec![], 0));
        let refused = place.get_project(&format!("functions/{api}?limit=-1")).await;
        refused.assert_error(400, "FSS.0400", "Invalid parameter.");
        let refused = place.get_project(&format!("functions/{api}?{filter}=urn:fss:eu-de:p:function")).await;
        refused.assert_error(400, "FSS.1309", "Invalid function URN.");
    }
}

#[tokio::test]
async fn what_cannot_be_reserved_is_refused_and_changes_nothing() {
    let place = Place::new().await;
    place.reserve("hello", &json!({"count": 1})).await;
    for reservation in [
        json!({}),
        json!({"count": -1}),
        json!({"count": "2"}),
        json!({"count": 2, "tactics_config": {"metric_configs": [{"type": "Weather"}]}}),
        json!([2, true]),
    ] {
        let seen = place.reserve("hello", &reservation).await;
        assert_eq!(seen.status, 400, "{reservation}");
        seen.assert_error(400, "FSS.0400", "Invalid parameter.");
    }
    place.reserve("nope", &json!({"count": 1})).await.assert_error(404, "FSS.1051", "Not found the function");
    let body = place.get_project("functions/reservedinstances").await.json();
    assert_eq!(body["reservedinstances"], json!([{"func_urn": urn("latest"), "count": 1}]));
}
