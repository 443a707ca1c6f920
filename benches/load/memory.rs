//! The most memory that the operator takes while it starts among many large objects, and how soon it is ready among
//! many small ones: with streamed lists, and with pages where the API server streams none.

use crate::report::{Figure, Report};
use crate::stage::Stage;
use crate::{mib, stop};
use std::time::{Duration, Instant};

/// How many objects of how many bytes, and what their figure is called.
const LARGE: [(usize, usize, [&str; 2]); 2] = [
    (1000, 256_000, ["memory_start_1000_of_256_kb_mib", "memory_start_1000_of_256_kb_paged_mib"]),
    (100, 1_480_000, ["memory_start_100_of_1480_kb_mib", "memory_start_100_of_1480_kb_paged_mib"]),
];

/// As many as the herd.
const SMALL: usize = 10_000;

/// Measures both ways, each with a control plane of its own.
pub async fn run(report: &mut Report) {
    for (way, flags) in [[].as_slice(), &["--feature-gates=WatchList=false"]].into_iter().enumerate() {
        let stage = Stage::with(flags).await;
        for (count, bytes, names) in LARGE {
            let namespace = stage.namespace(&format!("large-{bytes}")).await;
            // One after the other: what is in flight is measured elsewhere.
            stage.provider(&namespace, 1, 1).await;
            stage.create_many(&namespace, count, bytes).await;
            let operator = stage.operator(&namespace);
            operator.ready().await;
            let listed = mib(&operator, "VmHWM");
            tokio::time::sleep(Duration::from_secs(5)).await;
            let note = format!(
                "the peak until all are read; {:.1} MiB with the first requests",
                mib(&operator, "VmHWM")
            );
            report.add(Figure::at_most(names[way], listed, 64.0, "MiB").note(&note));
            println!("{:<36} {note}", "");
            stop(operator).await;
        }
        if way == 1 {
            let namespace = stage.namespace("small").await;
            stage.provider(&namespace, 1, 1).await;
            stage.create_many(&namespace, SMALL, 512).await;
            let operator = stage.operator(&namespace);
            let started = Instant::now();
            operator.ready().await;
            let took = started.elapsed().as_secs_f64();
            report.add(Figure::plain("restart_to_ready_paged_s", took, "s").note("10,000 pending"));
            stop(operator).await;
        }
    }
}
