//! End to end: the images, installed with the packaged chart, on a real node or on the cluster of `E2E_KUBECONFIG`.
//!
//! `make e2e` runs it and shows each step; docs/development.md says what it needs.
//!
//! * `E2E_KUBECONFIG`: a cluster to use instead of a node of its own. It gets the namespaces `fg-e2e-*` and the custom
//!   resource definitions, and must be able to pull the images.
//! * `E2E_IMAGE`, `E2E_EMULATOR_IMAGE`: `repository:tag` of images to test instead of those of this checkout.
//! * `E2E_KEEP`: set to anything, the node's logs stay when a step fails.

#![cfg(test)]

mod cloud;
mod judge;
mod machine;
mod release;
mod show;
mod steps;

use machine::Machine;
use steps::World;

/// Everything is one story: each step goes on where the one before has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_to_end() {
    let show = show::Show::start();
    let images = show.step("images of operator and emulator", machine::images()).await;
    let machine = show.step("a cluster", Machine::start(&images)).await;
    let world = show.step("a FunctionGraph in it", World::start(machine, images)).await;
    show.step("helm install of the packaged chart, with a Secret's name", steps::install(&world)).await;
    show.step("Pod security, probes, metrics, logs", steps::look_around(&world)).await;
    let killed = show.step("kill -9 of a second, namespaced operator", steps::kill(&world)).await;
    show.step("every example ends as it says", steps::examples(&world)).await;
    show.step("a login with a ServiceAccount of the cluster", steps::service_account(&world)).await;
    show.step("a rolling upgrade under load", steps::upgrade(&world)).await;
    show.step("1, 3 and again 1 operators under load", steps::scale(&world)).await;
    show.step("helm uninstall, and again install", steps::reinstall(&world)).await;
    show.step("what the killed operator left has ended", steps::after_the_kill(&world, killed)).await;
    show.step("helm uninstall leaves definitions and objects", steps::uninstall(&world)).await;
}
