//! Checks CRDs and permissions before the operator starts. A namespace without the permissions does not delay the others:
//! the operator serves it as soon as it has them.

use super::Readiness;
use super::watches::Served;
use crate::context::Context;
use crate::kubernetes::preflight::{
    self, GRANT_PERMISSION, MissingPermission, Need, OPTIONAL_NEEDS, REVIEW_NEEDS,
};
use crate::kubernetes::scope::Scope;
use crate::kubernetes::{Error, with_causes};
use std::sync::Arc;
use std::time::Duration;

/// How often the operator repeats the preflight checks until they pass.
const PREFLIGHT_INTERVAL: Duration = Duration::from_secs(5);

/// A check takes a dozen calls to the API server, so many namespaces are checked less often.
const INTERVAL_PER_NAMESPACE: Duration = Duration::from_secs(1);

/// A part that is not served yet, and its missing permissions.
type Waiting = (Served, Vec<MissingPermission>);

/// Waits until the preflight checks pass for the whole cluster or for at least one namespace, and starts its watches.
/// [`take_up`] starts the other namespaces later. `None` if the operator must stop first.
pub async fn wait(
    served: Vec<Served>,
    metrics_auth: bool,
    context: &Context,
    readiness: &Readiness,
) -> Option<Vec<Waiting>> {
    let mut all: Vec<Waiting> = served.into_iter().map(|served| (served, Vec::new())).collect();
    loop {
        let lines = match missing(&mut all, context).await {
            Ok(lines) if lines.is_empty() => break,
            Ok(lines) => lines,
            Err(error) => vec![with_causes(&error)],
        };
        if readiness.get() != lines {
            for line in &lines {
                tracing::error!(
                    missing = line,
                    "cannot start yet: something is missing. Checking again every few seconds"
                );
            }
            readiness.set(lines);
        }
        tokio::select! {
            () = context.draining.cancelled() => return None,
            () = tokio::time::sleep(PREFLIGHT_INTERVAL) => {}
        }
    }
    if metrics_auth {
        warn_about_optional(None, &REVIEW_NEEDS, context).await;
    }
    readiness.set(vec!["reading the first list of the objects".into()]);
    let (permitted, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, missing)| missing.is_empty());
    for (served, _) in permitted {
        begin(&served, context).await;
    }
    waiting.iter().for_each(tell);
    Some(waiting)
}

/// Starts the watches of each waiting namespace as soon as no permission is missing there.
pub async fn take_up(mut waiting: Vec<Waiting>, context: Arc<Context>) {
    while let Some(number) = u32::try_from(waiting.len()).ok().filter(|number| *number > 0) {
        tokio::time::sleep(PREFLIGHT_INTERVAL.max(INTERVAL_PER_NAMESPACE * number)).await;
        for part in &mut waiting {
            match missing_in(&part.0, &context).await {
                Ok(now) if now != part.1 => {
                    part.1 = now;
                    if part.1.is_empty() {
                        tracing::info!(namespace = part.0.namespace, "serving a namespace from now on");
                        begin(&part.0, &context).await;
                    } else {
                        tell(part);
                    }
                }
                // If the API server does not answer, the watches report that.
                Ok(_) | Err(_) => {}
            }
        }
        waiting.retain(|(_, missing)| !missing.is_empty());
    }
    std::future::pending::<()>().await;
}

/// Everything that prevents the operator from starting, one line each. Stores in `all` what is missing in each part.
async fn missing(all: &mut [Waiting], context: &Context) -> Result<Vec<String>, Error> {
    let cluster = context.options.scope == Scope::Cluster;
    let mut lines = preflight::crds(&context.clients.calls, cluster).await?;
    for (served, missing) in &mut *all {
        *missing = missing_in(served, context).await?;
    }
    if all.iter().all(|(_, missing)| !missing.is_empty()) {
        lines.extend(all.iter().flat_map(|(_, missing)| missing).map(ToString::to_string));
    }
    Ok(lines)
}

async fn missing_in(served: &Served, context: &Context) -> Result<Vec<MissingPermission>, Error> {
    let marks = context.options.flags.restore_guard;
    preflight::missing(&context.clients.calls, served.namespace.as_deref(), marks).await
}

async fn begin(served: &Served, context: &Context) {
    warn_about_optional(served.namespace.as_deref(), &OPTIONAL_NEEDS, context).await;
    served.permitted.cancel();
}

fn tell((served, missing): &Waiting) {
    let missing: Vec<_> = missing.iter().map(|permission| permission.what.as_str()).collect();
    tracing::error!(
        namespace = served.namespace,
        missing = missing.join(", "),
        "cannot serve a namespace: permissions are missing. Create the namespace if it does not exist, and {GRANT_PERMISSION}. Checking again every few seconds"
    );
}

/// Optional permissions: if the check itself fails, start nevertheless.
async fn warn_about_optional(namespace: Option<&str>, needs: &[Need], context: &Context) {
    let missing = preflight::permissions(&context.clients.calls, namespace, needs).await;
    for permission in missing.unwrap_or_default() {
        tracing::warn!(missing = %permission, "optional permission missing: starting without it");
    }
}
