//! Tokens and signatures, with the client that the operator uses.

use functiongraph::{Credential, Kind, Verdict};
use jiff::SignedDuration;

use crate::support::{Place, Seen, now};

fn key(id: &str, secret: &str, security_token: Option<&str>) -> Credential {
    Credential::access_key(id, secret.to_owned(), security_token.map(Into::into)).unwrap()
}

#[tokio::test]
async fn the_client_is_accepted_with_a_token_a_key_and_a_temporary_key() {
    let place = Place::new().await;
    for credential in [
        Credential::token("good-token".to_owned()).unwrap(),
        key("AK", "SK", None),
        key("TEMPORARY", "SK", Some("st")),
    ] {
        let kind = credential.kind();
        let answer = place.submit_with(credential, now()).await.unwrap();
        assert_eq!(answer.verdict(Kind::Async, kind), Verdict::Accepted, "{answer:?}");
        assert_eq!(answer.request_id.as_ref(), place.emulator.ledger().last().map(|e| &e.request_id));
    }
}

#[tokio::test]
async fn each_wrong_credential_is_refused_in_the_words_of_the_gateway() {
    let place = Place::new().await;
    let refused = async |credential, at| {
        let answer = place.submit_with(credential, at).await.unwrap();
        assert_eq!((answer.status, answer.error_code.as_deref()), (401, Some("APIG.0301")));
        let message = answer.error_message.unwrap();
        message.strip_prefix("Incorrect IAM authentication information: ").unwrap().to_owned()
    };
    let token = Credential::token("bad".to_owned()).unwrap();
    assert_eq!(refused(token, now()).await, "decrypt token fail");
    assert_eq!(refused(key("AK", "WRONG", None), now()).await, "verify aksk signature fail");
    assert_eq!(
        refused(key("NOBODY", "SK", None), now()).await,
        "Get secretKey failed,ak:NOBODY,err:ak not exist"
    );
    let late = now() - SignedDuration::from_mins(16);
    assert_eq!(refused(key("AK", "SK", None), late).await, "calc ak sk signature fail:signature expired");
    assert_eq!(place.emulator.requests().failed_authentications, 4);
    assert_eq!(place.emulator.ledger(), []);
}

#[tokio::test]
async fn no_credential_at_all_is_refused_with_the_id_of_the_gateway_in_the_body() {
    let place = Place::new().await;
    let seen = Seen::of(place.http.post(place.url("hello", "invocations-async")).body("{}")).await;
    seen.assert_error(401, "APIG.0301", "Incorrect IAM authentication information: x-auth-token not found");
    assert_eq!(seen.json()["request_id"].as_str(), seen.header("x-request-id"));
}

#[tokio::test]
async fn a_key_that_failed_six_times_is_locked_even_for_its_right_secret() {
    let place = Place::new().await;
    for _ in 0..6 {
        let answer = place.submit_with(key("AK", "WRONG", None), now()).await.unwrap();
        assert!(answer.error_message.unwrap().ends_with("verify aksk signature fail"));
    }
    let answer = place.submit_with(key("AK", "SK", None), now()).await.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.error_message.unwrap(),
        "Incorrect IAM authentication information: AK access failed to reach the limit,forbidden"
    );
    let other = place.submit_with(key("TEMPORARY", "SK", Some("st")), now()).await.unwrap();
    assert_eq!(other.status, 202);
}
