//! What goes wrong in the demo: faults of the local FunctionGraph, each on one function.

use functiongraph_emulator::{Action, ErrorAnswer, Fault, When};
use http::StatusCode;

/// The faults that the examples are about.
pub fn faults() -> Vec<Fault> {
    let too_many = ErrorAnswer {
        error_code: Some("APIG.0308".into()), // the gateway's own code for it
        error_msg: Some("The throttling threshold has been reached".into()),
        ..ErrorAnswer::of(StatusCode::TOO_MANY_REQUESTS)
    };
    let overloaded =
        ErrorAnswer { retry_after: Some("3".into()), ..ErrorAnswer::of(StatusCode::SERVICE_UNAVAILABLE) };
    vec![
        on("report", When::Next(3), Action::Status(too_many)),
        on("import", When::Next(1), Action::Status(overloaded)),
        on("charge-card", When::Forever, Action::DropAfter),
        on("index-document", When::Next(1), Action::DropAfter),
        on("refund", When::Next(1), Action::DropBefore),
        on("book-parcel", When::Next(1), Action::DropAfter),
    ]
}

fn on(function: &str, when: When, action: Action) -> Fault {
    Fault::new(when, action).on(function)
}
