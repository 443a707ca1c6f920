//! What the demo says before and after the table.

use functiongraph_emulator::Emulator;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;
use testkit::Operator;
use testkit::control_plane::{ADMIN, ControlPlane, tool};
use testkit::examples::Mismatch;

/// Before the first change.
pub fn opening(examples: usize) -> String {
    format!("\n{examples} invocations from examples/ are applied; each file says what it shows.\n\n")
}

/// A program is missing on this machine.
pub fn without(program: &str) -> String {
    format!("{program} is not installed: the examples that need it are left out.\n")
}

/// Whether all went well.
pub fn summary(examples: usize, mismatches: &[Mismatch], after: Duration) -> String {
    let good = examples.saturating_sub(mismatches.len());
    let mut text = format!(
        "\n{good} of {examples} examples ended as they should, {:.0} s after they were applied.\n",
        after.as_secs_f64()
    );
    for Mismatch { name, why, slow } in mismatches {
        let _ = match slow {
            true => writeln!(text, "  {name} takes longer; its end will be told below."),
            false => writeln!(text, "  {name}: {why}"),
        }; // into a String
    }
    text
}

/// How to go on without the demo's own hands.
///
/// # Errors
/// When kubectl or the way to the API is gone.
pub async fn by_hand(
    plane: &ControlPlane,
    emulator: &Emulator,
    operator: &Operator,
) -> Result<String, Box<dyn Error>> {
    let kubectl = tool("kubectl")?;
    let kubectl = kubectl.parent().unwrap_or(&kubectl).display();
    let kubeconfig = plane.kubeconfig(ADMIN)?;
    let kubeconfig = kubeconfig.display();
    let ledger = emulator.admin_url().unwrap_or_default();
    let (metrics, log) = (operator.metrics().await, operator.log().path().display());
    Ok(format!(
        r#"
It goes on until Ctrl-C, and tells below what you do. In another terminal, in the
same folder:

  export KUBECONFIG={kubeconfig}
  export PATH={kubectl}:$PATH   # kubectl

Look around, release what is suspended, resolve what is unknown, send one of your own:

  kubectl get fninv -o wide
  kubectl describe fninv outcome-unknown
  kubectl get fninv sync -o jsonpath='{{.status.result}}'
  kubectl patch fninv suspended --type merge -p '{{"spec":{{"suspend":false}}}}'
  kubectl annotate fninv outcome-unknown functiongraph.io/resolve=Fail
  sed 's/name: accepted/name: mine/' examples/accepted.yaml | kubectl apply -f -

Run code of yours: start a copy of the handler, invoke it, change handle() and start again.

  cp crates/emulator/examples/handler.py /tmp/mine.py && python3 /tmp/mine.py &
  sed 's/name: handler/name: mine-1/; s/name: count/name: yours/' examples/handler.yaml | kubectl apply -f -
  kubectl get fninv mine-1 -o jsonpath='{{.status.result.body}}'

Watch executions, events, results and logs: {ledger}/

Ask FunctionGraph what it got: one card charged, though its answer was lost.

  curl '{ledger}/admin/ledger?function=charge-card'

Let it fail twice, and send another (more faults: crates/emulator/README.md):

  curl {ledger}/admin/faults -d \
    '{{"when":{{"next":2}},"action":{{"status":{{"status":503,"retryAfter":4}}}}}}'

The operator's log      {log}
The operator's metrics  http://{metrics}/metrics

"#
    ))
}
