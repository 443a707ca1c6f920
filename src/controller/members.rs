//! Keeps this process a member: renews its Lease, watches those of the others, and says when the members change.

use crate::args::Run;
use crate::clock;
use crate::context::Context;
use crate::kubernetes::Error;
use crate::kubernetes::activity::Activity;
use crate::kubernetes::leases::{Event, Identity, Leases};
use crate::kubernetes::preflight::{self, LEASE_NEEDS};
use crate::members::{Duty, LEASE_DURATION, Membership};
use futures::{Stream, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// An operator that may not use Leases checks again this often whether it may.
const RECHECK_INTERVAL: Duration = Duration::from_mins(1);

/// The membership of this process.
struct Member {
    context: Arc<Context>,
    leases: Leases,
    membership: Membership,
    /// Whether the last renewal failed, which is logged once.
    failing: bool,
}

/// The Leases, for a process whose Lease has the name of its Pod, or of its holder where it is in none.
///
/// # Errors
/// A client cannot be built.
pub fn leases(context: &Context, args: &Run) -> Result<(Leases, Membership), kube::Error> {
    let (holder, pod_uid) = (context.holder.clone(), args.pod_uid.clone());
    // A container that starts again keeps the Lease of its Pod, and what it owns.
    let name = args.pod_name.clone().unwrap_or_else(|| format!("functiongraph-operator-{holder}"));
    let client = context.clients.watch(&Activity::default())?;
    let identity = Identity { name: name.clone(), holder, pod_uid };
    let (namespace, scope) = (&context.options.own_namespace, &context.options.scope);
    Ok((Leases::new(client, namespace, scope, identity, LEASE_DURATION), Membership::new(name)))
}

/// Is a member from the time when the objects are `listed` until the drain. The Lease is deleted then, and the others take
/// over at once.
pub async fn run(
    (leases, membership): (Leases, Membership),
    listed: CancellationToken,
    context: Arc<Context>,
) {
    let mut member = Member { context: Arc::clone(&context), leases, membership, failing: false };
    let work = Box::pin(async {
        listed.cancelled().await;
        member.wait_for_permission().await;
        let events = member.leases.events();
        member.renew_and_watch(events).await;
    });
    context.draining.run_until_cancelled(work).await;
    member.membership.leave();
    member.tell();
    if let Err(error) = member.leases.give_up().await {
        tracing::warn!(%error, "cannot delete the Lease of this process: the others take over when it expires");
    }
}

// === impl Member ===

impl Member {
    /// Works alone while the permission for Leases is missing.
    async fn wait_for_permission(&mut self) {
        let (calls, namespace) = (&self.context.clients.calls, &self.context.options.own_namespace);
        loop {
            let missing =
                preflight::permissions(calls, Some(namespace), &LEASE_NEEDS).await.unwrap_or_default();
            if missing.is_empty() {
                return;
            }
            if self.context.duty("") == Duty::NoMember {
                for permission in missing {
                    tracing::warn!(missing = %permission, "optional permission missing: replicas do not divide the work. Each works on all objects, at the whole pace of each provider");
                }
            }
            self.membership.refused();
            self.tell();
            tokio::time::sleep(RECHECK_INTERVAL).await;
        }
    }

    async fn renew_and_watch(&mut self, events: impl Stream<Item = Event>) {
        let mut events = std::pin::pin!(events);
        // When the latest renewal began, whether it succeeded or not.
        let mut latest = None;
        loop {
            let due = latest.map(|latest| latest + self.membership.renew_interval());
            tokio::select! {
                () = tokio::time::sleep_until(due.unwrap_or_else(clock::monotonic).into()) => {
                    let began = clock::monotonic();
                    latest = if self.renew().await { None } else { Some(began) };
                }
                Some(event) = events.next() => self.apply(event),
            }
            self.tell();
        }
    }

    /// Renews the Lease of this process, and deletes what dead members have left. Returns whether to try again at once.
    async fn renew(&mut self) -> bool {
        let sent = clock::monotonic();
        let renewed = self.leases.renew(self.context.now()).await;
        let again = matches!(renewed, Ok(None) | Err(Error::Timeout(_)));
        match renewed {
            Ok(Some(version)) => {
                self.membership.renewed(version, sent);
                self.failing = false;
            }
            // Somebody else wrote the Lease. The next renewal reads it first.
            Ok(None) => {}
            Err(error) => self.not_renewed(&error, sent),
        }
        // One at a time, because the next renewal waits for it.
        if let Some((name, version)) = self.membership.abandoned(clock::monotonic()) {
            match self.leases.delete(&name, Some(version)).await {
                Ok(()) => tracing::info!(lease = name, "deleted the Lease of a process that is gone"),
                Err(error) => {
                    tracing::warn!(lease = name, %error, "cannot delete the Lease of a process that is gone");
                }
            }
        }
        again
    }

    fn not_renewed(&mut self, error: &Error, sent: Instant) {
        if error.is_refusal() {
            self.membership.refused();
        } else if !error.is_disconnected() {
            self.membership.failed(sent);
        }
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        if error.is_refusal() {
            tracing::warn!(%error, cause, "the API server refuses the Lease of this process: it works on all objects, as if there were no other replica");
        } else {
            tracing::warn!(%error, cause, "cannot renew the Lease of this process: trying again. If this lasts, it works on all objects, as if there were no other replica");
        }
    }

    fn apply(&mut self, event: Event) {
        let now = clock::monotonic();
        match event {
            Event::Listed(leases) => {
                self.membership.listed(&leases.keys().cloned().collect());
                for (name, version) in leases {
                    self.membership.seen(name, version, now);
                }
            }
            Event::Written(name, version) => self.membership.seen(name, version, now),
            Event::Deleted(name) => self.membership.gone(&name),
        }
    }

    /// Passes the members on. The controllers reconcile everything again only if what this process owns may have changed.
    fn tell(&self) {
        let members = self.membership.members();
        let changed = self.context.members.send_if_modified(|known| {
            let changed = !known.divides_like(&members);
            known.clone_from(&members);
            changed
        });
        if changed {
            // Afterwards: a check that this requests must find the new members.
            self.context.providers.divide(&members);
            let count = members.count(clock::monotonic());
            tracing::info!(members = count, "the members have changed: dividing the work among them");
        }
    }
}
