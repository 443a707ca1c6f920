//! What has to be there before the operator works. A namespace in which something is missing keeps no other waiting: it is
//! taken up when all is there.

use super::Readiness;
use super::watches::Served;
use crate::context::Context;
use crate::kubernetes::Error;
use crate::kubernetes::preflight::{self, GRANT, Lacking};
use crate::kubernetes::scope::Scope;
use std::sync::Arc;
use std::time::Duration;

/// How often the operator checks again what is missing.
const PREFLIGHT: Duration = Duration::from_secs(5);

/// A check takes a dozen calls to the API server, so many namespaces are checked less often.
const FOR_EACH_NAMESPACE: Duration = Duration::from_secs(1);

/// A part that is not served yet, and the permissions that are missing there.
type Waiting = (Served, Vec<Lacking>);

/// Waits until the operator can work in the whole cluster, or in one of the namespaces at least, and lets watches begin
/// there. The other namespaces come later, with [`take_up`]. `None` if it is time to stop.
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
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                vec![format!("{error}: {cause}")]
            }
        };
        if readiness.get() != lines {
            for line in &lines {
                tracing::error!(missing = line, "cannot begin to work; checking again until it is there");
            }
            readiness.set(lines);
        }
        tokio::select! {
            () = context.draining.cancelled() => return None,
            () = tokio::time::sleep(PREFLIGHT) => {}
        }
    }
    if metrics_auth {
        tell_optional(preflight::reviews(&context.clients.calls).await);
    }
    readiness.set(vec!["reading the objects".into()]);
    let (permitted, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, lacking)| lacking.is_empty());
    for (served, _) in permitted {
        begin(&served, context).await;
    }
    waiting.iter().for_each(tell);
    Some(waiting)
}

/// Lets watches begin in the namespaces that are not served yet, each when nothing is missing there any more.
pub async fn take_up(mut waiting: Vec<Waiting>, context: Arc<Context>) {
    while let Some(number) = u32::try_from(waiting.len()).ok().filter(|number| *number > 0) {
        tokio::time::sleep(PREFLIGHT.max(FOR_EACH_NAMESPACE * number)).await;
        for part in &mut waiting {
            match lacking(&part.0, &context).await {
                Ok(now) if now != part.1 => {
                    part.1 = now;
                    if part.1.is_empty() {
                        tracing::info!(namespace = part.0.namespace, "a namespace is served from now on");
                        begin(&part.0, &context).await;
                    } else {
                        tell(part);
                    }
                }
                // The calls of all watches tell of an API server that does not answer.
                Ok(_) | Err(_) => {}
            }
        }
        waiting.retain(|(_, lacking)| !lacking.is_empty());
    }
    std::future::pending::<()>().await;
}

/// What keeps the operator from working anywhere, one line each, and in `all` what is missing in each part.
async fn missing(all: &mut [Waiting], context: &Context) -> Result<Vec<String>, Error> {
    let cluster = context.options.scope == Scope::Cluster;
    let mut lines = preflight::definitions(&context.clients.calls, cluster).await?;
    for (served, missing) in &mut *all {
        *missing = lacking(served, context).await?;
    }
    if all.iter().all(|(_, missing)| !missing.is_empty()) {
        lines.extend(all.iter().flat_map(|(_, missing)| missing).map(ToString::to_string));
    }
    Ok(lines)
}

async fn lacking(served: &Served, context: &Context) -> Result<Vec<Lacking>, Error> {
    let marks = context.options.restore_guard;
    preflight::lacking(&context.clients.calls, served.namespace.as_deref(), marks).await
}

async fn begin(served: &Served, context: &Context) {
    tell_optional(preflight::courtesies(&context.clients.calls, served.namespace.as_deref()).await);
    served.permitted.cancel();
}

fn tell((served, lacking): &Waiting) {
    let missing: Vec<_> = lacking.iter().map(|lacking| lacking.what.as_str()).collect();
    tracing::error!(
        namespace = served.namespace,
        missing = missing.join(", "),
        "cannot serve a namespace: create it if it does not exist, and {GRANT}; checking again until the permissions are there"
    );
}

/// Failing to find out is harmless too.
fn tell_optional(lacking: Result<Vec<Lacking>, Error>) {
    for lacking in lacking.unwrap_or_default() {
        tracing::warn!(missing = %lacking, "works without it, and tells less");
    }
}
