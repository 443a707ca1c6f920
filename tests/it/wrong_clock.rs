//! Wrong clocks: an operator whose wall clock is off from the start, and that a test can step while it runs.
//!
//! The operator knows nothing of it. A small library (`wrong_clock.c`) that the C compiler builds once for this binary
//! stands between the operator and libc, and adds a number in a file to the wall clock.

use functiongraph_operator::api::Condition;
use functiongraph_operator::clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use testkit::{Operator, World};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// What makes the dynamic linker load a library before all others.
const PRELOAD: &str = if cfg!(target_os = "macos") { "DYLD_INSERT_LIBRARIES" } else { "LD_PRELOAD" };

static LIBRARY: OnceCell<PathBuf> = OnceCell::const_new();

/// The wall clock of one operator.
pub struct Clock(NamedTempFile);

// === impl Clock ===

impl Clock {
    fn new(off: SignedDuration) -> Self {
        let clock = Self(NamedTempFile::new().expect("a file for the clock"));
        clock.file().set_len(16).expect("room for two numbers");
        clock.step(off);
        clock
    }

    /// From now on the operator's wall clock is `off` from the right one: zero corrects it. The monotonic clock does not
    /// notice.
    pub fn step(&self, off: SignedDuration) {
        let nanoseconds = i64::try_from(off.as_nanos()).expect("less than three centuries");
        self.file().write_all_at(&nanoseconds.to_ne_bytes(), 0).expect("the clock is stepped");
    }

    /// Whether the operator has read the time from this clock.
    fn is_in_use(&self) -> bool {
        let mut read = [0; 8];
        self.file().read_exact_at(&mut read, 8).expect("the clock's file");
        i64::from_ne_bytes(read) == 1
    }

    fn file(&self) -> &File {
        self.0.as_file()
    }
}

/// Starts an operator whose wall clock is `off` from the right one, and waits until it works.
pub async fn operator_with_clock(world: &World, off: SignedDuration, flags: &[&str]) -> (Operator, Clock) {
    let library = LIBRARY.get_or_init(build).await;
    let clock = Clock::new(off);
    let launch = world.operator().environment(PRELOAD, library).environment("WRONG_CLOCK", clock.0.path());
    let operator = launch.flags(flags).await;
    assert!(
        clock.is_in_use(),
        "the operator reads the machine's own clock: {PRELOAD} works on programs that are linked dynamically \
         (no musl target, no `+crt-static`)"
    );
    (operator, clock)
}

/// Builds the library, in the folder that cargo gives to tests. Another test binary may do the same at the same time.
async fn build() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrong_clock.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (part, library) =
        (folder.join(format!("wrong-clock-{:016x}", clock::chance())), folder.join("wrong-clock.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&part).arg(source);
    let done = compiler.output().await.expect("a C compiler: CONTRIBUTING.md says what the tests need");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::rename(part, &library).expect("the library is put in its place");
    library
}

#[tokio::test]
async fn a_wrong_clock_shows_in_the_log_until_it_is_corrected_and_in_no_status() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, clock) = operator_with_clock(&world, SignedDuration::ZERO, &[]).await;
    // The gateway refuses signatures that are a quarter of an hour off.
    for (name, off) in [("ahead", 10), ("behind", -10), ("right", 0)] {
        clock.step(SignedDuration::from_mins(off));
        world.invoke(name, json!({"function": {"name": "hello"}})).await;
        let written = world.end(name).await.accepted_time.unwrap();
        let is_answer = |line: &Value| line["name"] == name && line["message"] == "answer";
        let logged = world.log_lines().into_iter().find(is_answer).expect("the log tells of the answer");
        let logged: Timestamp = logged["timestamp"].as_str().unwrap().parse().unwrap();
        // A minute less where the machine took its time.
        for (what, time, off) in [("log", logged, off), ("status", written, 0)] {
            let shift = time.duration_since(clock::now()).as_mins();
            assert!((off - 2..=off).contains(&shift), "{name}: {what} by {shift} min");
        }
    }
}

#[tokio::test]
async fn a_clock_that_the_service_does_not_accept_is_told_as_a_clock() {
    let world = World::new().await;
    world.provider().await;
    let (_operator, _clock) = operator_with_clock(&world, SignedDuration::from_mins(20), &[]).await;
    let is_told = |ready: &Condition| ready.message.contains("signature expired");
    let said = world.provider_ready("default", is_told).await.message;
    assert!(said.contains("clock of the operator differs"), "{said}");
    assert!(!said.contains("Secret"), "{said}");
    let year = clock::now().strftime(", which says %Y-").to_string();
    assert!(said.contains(&year), "the service's Date is shown: {said}");
}
