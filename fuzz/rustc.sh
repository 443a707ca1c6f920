#!/bin/sh
# Compiles the crates of this repository with coverage for libFuzzer, on the stable toolchain; cargo calls it as
# RUSTC_WORKSPACE_WRAPPER, so that all other crates are compiled as for the tests, and shared with them.
# The flags are those of cargo-fuzz. No sanitizer: those need a nightly toolchain, and find errors that code without
# `unsafe` cannot make.
exec "$@" \
    -C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares \
    -C codegen-units=1
