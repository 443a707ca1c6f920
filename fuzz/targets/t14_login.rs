//! T14: whatever an identity service answers is a login or a reason, and neither shows a secret.
#![cfg_attr(feature = "search", no_main)]

use functiongraph::login::{Login, LoginError};
use functiongraph::{Credential, CredentialKind};
use functiongraph_fuzz::{CANARY, Exchange, assert_fit_to_be_shown, assert_is_id, fuzz_target};

// First line: the status, and the name of the project that is looked for.
fuzz_target!(|input: &[u8]| {
    let exchange = Exchange::read(input);
    let secret = CANARY.into();
    let secrets = [&secret];
    let name = exchange.words.get(1).map_or("eu-de", String::as_str);
    let is_success = (200..300).contains(&exchange.raw.status);

    for login in [exchange.raw.token(&secrets), exchange.raw.keys(&secrets)] {
        match login {
            Ok(Login { credential, project_id, expires_at: _ }) => {
                assert!(is_success);
                if let Some(id) = &project_id {
                    assert!(id.len() <= 64 && !id.contains('/'), "{id:?}");
                }
                // What came back is a secret too. The id of an access key is not, and may be the same text.
                if credential.kind() == CredentialKind::Token {
                    let other = Credential::token("another").expect("it can stand in a header");
                    assert_eq!(format!("{credential:?}"), format!("{other:?}"), "Debug shows a secret");
                }
            }
            Err(error) => check(&error, is_success),
        }
    }
    match exchange.raw.session(&secrets) {
        Ok(_) => assert!(is_success),
        Err(error) => check(&error, is_success),
    }
    match exchange.raw.project(name, &secrets) {
        Ok(id) => assert!((1..=64).contains(&id.len()) && !id.contains('/'), "{id:?}"),
        // The name is the caller's own.
        Err(LoginError::NoProject(_)) => assert!(is_success),
        Err(LoginError::SeveralProjects { ids, .. }) => assert!((2..=8).contains(&ids.len()), "{ids:?}"),
        Err(error) => check(&error, is_success),
    }
});

fn check(error: &LoginError, is_success: bool) {
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    match error {
        LoginError::Refused { status: _, code, message, gateway_request_id, retry_after: _ } => {
            assert!(!is_success);
            for id in code.iter().chain(gateway_request_id) {
                assert_is_id(id);
            }
            if let Some(message) = message {
                assert_fit_to_be_shown(message, 1024);
            }
        }
        LoginError::Malformed(why) => assert_fit_to_be_shown(why, 200),
        LoginError::NoProject(_) | LoginError::SeveralProjects { .. } | LoginError::Send(_) => {
            unreachable!("{error:?}")
        }
    }
}
