//! `…/reservedinstances` and `…/reservedinstanceconfigs`: numbers of reserved instances, and their rules.

use functiongraph::urn::{FunctionUrn, Qualifier};
use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::functions::LATEST;
use crate::refusal::Refusal;
use crate::reserved::Reservation;
use crate::service::page::Page;
use crate::service::{Call, Work, done};

/// Default and maximum number of entries on a page of numbers.
const NUMBERS: usize = 400;

/// Default number of entries on a page of rules.
const RULES: usize = 100;

/// Maximum number of entries on a page of rules.
const MAX_RULES: usize = 500;

/// `PUT …/{function_urn}/reservedinstances`: replaces a reservation.
pub(super) fn set<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let urn = call.target()?.urn.to_string();
    let reservation: Reservation = call.object()?;
    Ok(Box::pin(async move {
        let answer = Answer::json(StatusCode::OK, &json!(reservation));
        call.state.reserved.put(urn, reservation);
        answer
    }))
}

/// `GET …/functions/reservedinstances`: the numbers, without the rules.
pub(super) fn list<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    let written =
        |(urn, Reservation { count, .. }): &(String, Reservation)| json!({ "func_urn": urn, "count": count });
    page(call, "urn", "reservedinstances", (NUMBERS, NUMBERS), written)
}

/// `GET …/functions/reservedinstanceconfigs`: the numbers and the rules.
pub(super) fn list_configs<'a>(call: &'a Call<'_>) -> Result<Work<'a>, Refusal> {
    page(call, "function_urn", "reserved_instances", (RULES, MAX_RULES), |(urn, reservation)| {
        let (kind, name) = qualifier(urn);
        let Reservation { count, idle_mode, tactics_config } = reservation;
        json!({
            "function_urn": urn,
            "qualifier_type": kind,
            "qualifier_name": name,
            "min_count": count,
            "idle_mode": idle_mode,
            "tactics_config": tactics_config.clone().unwrap_or_default(),
        })
    })
}

/// One page of all reservations, or of the one for the URN in `filter`.
fn page<'a>(
    call: &'a Call<'_>,
    filter: &str,
    key: &str,
    (default, max): (usize, usize),
    written: impl Fn(&(String, Reservation)) -> Value,
) -> Result<Work<'a>, Refusal> {
    call.project()?;
    let page = Page::read(call.request, "limit", default, max)?;
    let filter = call.request.parameter(filter).map(|urn| call.state.functions.urn(urn)).transpose()?;
    let all = call.state.reserved.list(filter.map(|urn| urn.to_string()).as_deref());
    let shown = page.of(&all);
    let body = json!({
        key: shown.iter().map(written).collect::<Vec<_>>(),
        "count": all.len(),
        "page_info": page.info(shown.len()),
    });
    Ok(done(Answer::json(StatusCode::OK, &body)))
}

/// The type and the name of a URN's qualifier: a version or an alias.
fn qualifier(urn: &str) -> (&'static str, String) {
    match urn.parse::<FunctionUrn>().ok().as_ref().map(FunctionUrn::qualifier) {
        Some(Qualifier::Alias(alias)) => ("alias", alias.clone()),
        Some(Qualifier::Version(version)) => ("version", version.clone()),
        Some(Qualifier::Latest) | None => ("version", LATEST.to_owned()),
    }
}
