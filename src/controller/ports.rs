//! The operator's own ports and their servers.

use super::Error;
use crate::admin;
use crate::args::Run;
use crate::context::Context;
use crate::kubernetes::reviews::Reviews;
use futures::future;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The open ports, before they are served.
pub struct Ports {
    probes: TcpListener,
    metrics: TcpListener,
    pub probe_address: SocketAddr,
    pub metrics_address: SocketAddr,
}

/// The servers on the ports.
pub struct Servers {
    tasks: [AbortOnDropHandle<()>; 2],
    stop: CancellationToken,
}

// === impl Ports ===

impl Ports {
    /// Listens on the addresses of the flags.
    pub fn listen(args: &Run) -> Result<Self, Error> {
        let (probes, probe_address) = listen("--probe-listen", args.probe_listen)?;
        let (metrics, metrics_address) = listen("--metrics-listen", args.metrics_listen)?;
        Ok(Self { probes, metrics, probe_address, metrics_address })
    }

    /// Serves until [`Servers::stop`]. `missing` returns what the operator still lacks, `numbers` the text of a
    /// scrape.
    pub fn serve(
        self,
        args: &Run,
        context: &Context,
        missing: impl Fn() -> Vec<String> + Clone + Send + Sync + 'static,
        numbers: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> Servers {
        let probes = admin::probes(missing);
        let reviews = args.metrics_auth.then(|| Arc::new(Reviews::new(context.clients.calls.clone())));
        let allowed = move |token: Option<String>| {
            let reviews = reviews.clone();
            async move {
                match reviews {
                    Some(reviews) => reviews.may_read_metrics(token).await,
                    None => Ok(()),
                }
            }
        };
        let metrics = admin::metrics(numbers, allowed);
        let stop = CancellationToken::new();
        let tasks = [
            (self.probes, probes, admin::PROBE_CONNECTIONS),
            (self.metrics, metrics, admin::METRICS_CONNECTIONS),
        ]
        .map(|(listener, app, max)| {
            AbortOnDropHandle::new(tokio::spawn(admin::serve(listener, app, max, stop.clone())))
        });
        Servers { tasks, stop }
    }
}

// === impl Servers ===

impl Servers {
    /// Ends all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        future::join_all(self.tasks).await;
    }
}

/// Listens on the address of a flag, and logs the real address, because port 0 becomes another one.
fn listen(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let error = |source| Error::Listen { flag, address, source };
    let listener = admin::listen(address).map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}
