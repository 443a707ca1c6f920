//! Feeds each fuzz target the inputs in its folder of `seeds`, once: what was ever found stays found, on every machine
//! alike. `make fuzz` searches for more.
#![cfg(not(feature = "search"))]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A test for each target.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        #[path = "../targets"]
        mod targets {
            $(pub mod $name;)*
        }

        const NAMES: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            feed(stringify!($name), targets::$name::run);
        })*
    };
}

targets![
    t01_endpoint,
    t09_signature,
    t09_urn,
    t14_answer,
    t14_login,
    t14_payload,
    t14_records,
    t14_retry_after,
    t14_status,
    t20_text,
];

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn feed(target: &str, run: fn(&[u8])) {
    let seeds = files(&format!("seeds/{target}"));
    assert!(!seeds.is_empty());
    for seed in seeds {
        // Shown if the test fails.
        println!("{}", seed.display());
        run(&fs::read(seed).unwrap());
    }
}

#[test]
fn every_target_and_every_folder_of_seeds_is_tested() {
    let known: BTreeSet<_> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    for folder in ["targets", "seeds"] {
        let stems =
            files(folder).into_iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
        assert_eq!(stems.collect::<BTreeSet<_>>(), known, "{folder}");
    }
}
