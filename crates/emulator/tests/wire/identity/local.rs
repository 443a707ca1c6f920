//! Keys for callers on a virtual machine or in a pod, over plain HTTP.

use std::time::Duration;

use functiongraph::{Credential, Kind, Verdict};
use functiongraph_emulator::{
    Action, Config, Emulator, Fault, Identity, IdentityApi, Metadata, MetadataTokens, PodIdentity, When,
};
use serde_json::Value;

use super::{place, time};
use crate::support::{Place, Seen, config, now};

const TTL: &str = "X-Metadata-Token-Ttl-Seconds";

fn machine(tokens: MetadataTokens) -> impl FnOnce(&mut Identity) {
    move |identity| identity.metadata = Some(Metadata { tokens })
}

fn pod(identity: &mut Identity) {
    identity.pod_identity = Some(PodIdentity::with("content of the file"));
}

impl Place {
    fn metadata(&self, path: &str) -> String {
        self.emulator.metadata_url().unwrap() + path
    }

    async fn metadata_token(&self, seconds: &str) -> Seen {
        let request = self.http.put(self.metadata("/meta-data/latest/api/token"));
        Seen::of(request.header(TTL, seconds)).await
    }

    async fn metadata_key(&self, token: Option<&str>) -> Seen {
        let request = self.http.get(self.metadata("/openstack/latest/securitykey"));
        Seen::of(token.into_iter().fold(request, |request, token| request.header("X-Metadata-Token", token)))
            .await
    }

    async fn pod_key(&self, authorization: &str, body: &'static str) -> Seen {
        let request = self.http.post(self.emulator.pod_identity_url().unwrap()).body(body);
        Seen::of(request.header("Authorization", authorization)).await
    }
}

async fn assert_signs(place: &Place, id: &Value, secret: &Value, security_token: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let credential =
        Credential::access_key(text(id), text(secret), Some(text(security_token).into())).unwrap();
    let kind = credential.kind();
    let answer = place.submit_with(credential, now()).await.unwrap();
    assert_eq!(answer.verdict(Kind::Async, kind), Verdict::Accepted, "{answer:?}");
}

#[tokio::test]
async fn a_machine_gets_keys_for_a_token_of_its_metadata() {
    let place = place(|identity| {
        machine(MetadataTokens::Required)(identity);
        identity.keys_lifetime = Duration::from_mins(1);
    })
    .await;
    let token = place.metadata_token("21600").await;
    assert_eq!((token.status, token.header("content-type")), (200, Some("text/plain")));
    let seen = place.metadata_key(Some(&token.text)).await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    let key = &seen.json()["credential"];
    let life = time(&key["expires_at"]).duration_since(now());
    assert!((58..=60).contains(&life.as_secs()), "{life}");
    assert_signs(&place, &key["access"], &key["secret"], &key["securitytoken"]).await;
    assert_eq!(place.metadata_key(None).await.status, 401);
    assert_eq!(place.metadata_key(Some("nonsense")).await.status, 401);
    for odd in ["0", "21601", "long"] {
        assert_eq!(place.metadata_token(odd).await.status, 400, "{odd}");
    }
    let requests = place.emulator.requests();
    for (api, calls, issued) in [(IdentityApi::MetadataToken, 4, 1), (IdentityApi::MetadataKey, 3, 1)] {
        assert_eq!((requests.calls[&api.into()], requests.issued[&api.into()]), (calls, issued), "{api:?}");
    }
}

#[tokio::test]
async fn an_older_machine_needs_no_token_and_has_none_to_give() {
    let optional = place(machine(MetadataTokens::Optional)).await;
    assert_eq!(optional.metadata_key(None).await.status, 200);
    assert_eq!(optional.metadata_key(Some("nonsense")).await.status, 401);
    assert_eq!(optional.metadata_token("60").await.status, 200);
    let unsupported = place(machine(MetadataTokens::Unsupported)).await;
    assert_eq!(unsupported.metadata_token("60").await.status, 404);
    assert_eq!(unsupported.metadata_key(None).await.status, 200);
}

#[tokio::test]
async fn a_pod_gets_keys_for_the_content_of_its_file_as_it_is() {
    let place = place(pod).await;
    let seen = place.pod_key("content of the file", "{}").await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    let key = &seen.json()["credentials"];
    assert!(time(&key["expiration"]) > now());
    assert_signs(&place, &key["access_key_id"], &key["secret_access_key"], &key["security_token"]).await;
    assert_eq!(place.pod_key("Bearer content of the file", "{}").await.status, 401);
    assert_eq!(place.pod_key("content of the file", "").await.status, 400);
    assert_eq!(place.emulator.requests().issued[&IdentityApi::PodIdentity.into()], 1);
}

#[tokio::test]
async fn each_port_serves_its_own_and_nothing_of_the_others() {
    let both = place(|identity| {
        machine(MetadataTokens::Optional)(identity);
        pod(identity);
    })
    .await;
    let cloud = format!("{}/openstack/latest/securitykey", both.emulator.url());
    assert_eq!(Seen::of(both.http.get(cloud)).await.status, 404);
    let local = both.metadata("/v3/projects");
    assert_eq!(Seen::of(both.http.get(local).header("X-Auth-Token", "good-token")).await.status, 404);
    let machine = place(machine(MetadataTokens::Optional)).await;
    assert_eq!(machine.emulator.pod_identity_url(), None);
    assert_eq!(Seen::of(machine.http.post(machine.metadata("/v1/credentials")).body("{}")).await.status, 404);
    let neither = place(|_| {}).await;
    assert_eq!((neither.emulator.metadata_url(), neither.emulator.pod_identity_url()), (None, None));
}

#[tokio::test]
async fn faults_reach_the_local_port_too() {
    let place = place(machine(MetadataTokens::Optional)).await;
    place.emulator.add_fault(Fault::new(When::Next(1), Action::DropBefore).of(IdentityApi::MetadataKey));
    let cut = place.http.get(place.metadata("/openstack/latest/securitykey")).send().await;
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(place.metadata_key(None).await.status, 200);
}

#[tokio::test]
async fn a_pod_may_be_the_only_one_with_a_credential() {
    let mut config = Config { tokens: vec![], access_keys: vec![], ..config() };
    pod(&mut config.identity);
    let emulator = Emulator::start(config).await.unwrap();
    let url = emulator.pod_identity_url().unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/v1/credentials"), "{url}");
    emulator.stop().await;
}
