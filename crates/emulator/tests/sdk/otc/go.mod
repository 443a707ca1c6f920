// A Go client for Open Telekom Cloud, for the tests of the emulator; built by `make sdks`.
module functiongraph.io/operator/crates/emulator/tests/sdk/otc

go 1.26.0

require github.com/opentelekomcloud/gophertelekomcloud v0.9.3

require gopkg.in/yaml.v2 v2.3.0 // indirect
