//! The command line of the emulator.

use std::error::Error;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use functiongraph_emulator::{AuthMode, CA_CERT, Config, DEFAULT_CONFIG, Emulator, Function};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Default folder of the authority.
const DEFAULT_TLS_DIR: &str = ".functiongraph-emulator";

/// A local FunctionGraph: accepts invocations over TLS, without a cloud account.
///
/// Without --config it uses the configuration that --print-default-config prints: three functions, one token, one
/// access key. Point curl, an SDK or the operator at the printed address, and make them trust the printed ca.crt.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLE)]
struct Args {
    /// Configuration file (YAML).
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address of the emulated API; overrides the configuration. Port 0 means a free port.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Address of the emulated API without TLS, for clients that cannot trust an authority; off by default.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_HTTP_LISTEN", value_name = "ADDRESS:PORT")]
    http_listen: Option<SocketAddr>,

    /// Address of the admin API (plain HTTP, no authentication); overrides the configuration.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,

    /// Address of the metadata and of pod identity (plain HTTP), if they are configured; overrides the configuration.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_LOCAL_LISTEN", value_name = "ADDRESS:PORT")]
    local_listen: Option<SocketAddr>,

    /// Folder of the certificate authority: ca.crt and ca.key are used if they exist, otherwise written. Overrides
    /// the configuration; the default is .functiongraph-emulator.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,

    /// Additional names for the certificate, in addition to localhost; may be given more than once, or separated by
    /// commas. Use the name under which containers or a cluster reach the emulator.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_TLS_NAMES", value_name = "NAME", value_delimiter = ',')]
    tls_names: Vec<String>,

    /// Leave events, results and logs out of the admin API and its page.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_HIDE_EVENTS")]
    hide_events: bool,

    /// Log filter: a level, or a list as in `info,functiongraph_emulator=debug`. `info` logs one line per request.
    #[arg(long, env = "FUNCTIONGRAPH_EMULATOR_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// Print the built-in configuration and exit. Use it as a start for your own.
    #[arg(long)]
    print_default_config: bool,

    /// Print what lets the operator in a cluster use this emulator under a host name: a Secret, a provider and a flag.
    /// The authority must exist, so start the emulator once before.
    #[arg(long, value_name = "HOST")]
    print_cluster_config: Option<String>,
}

const EXAMPLE: &str = "\
Example:
  functiongraph-emulator --print-default-config > functions.yaml
  functiongraph-emulator --config functions.yaml --listen 127.0.0.1:8443 --admin-listen 127.0.0.1:8444

  # in another terminal: what was accepted, then three answers 503
  curl http://127.0.0.1:8444/admin/ledger
  curl http://127.0.0.1:8444/admin/faults -d '{\"when\":{\"next\":3},\"action\":{\"status\":503}}'";

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    error.to_string() + &cause.unwrap_or_default()
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    if args.print_default_config {
        return Ok(io::stdout().write_all(DEFAULT_CONFIG.as_bytes())?);
    }
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&args.log)?)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let host = args.print_cluster_config.clone();
    let config = configuration(args)?;
    if let Some(host) = host {
        return Ok(io::stdout().write_all(cluster_config(&config, &host)?.as_bytes())?);
    }
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let emulator = Emulator::start(config.clone()).await?;
    // All at once, so that a script that reads the first line finds the others.
    welcome(&mut BufWriter::new(io::stdout().lock()), &emulator, &config)?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    emulator.stop().await;
    Ok(())
}

/// The configuration file or the built-in one, overridden by the command line.
fn configuration(args: Args) -> Result<Config, Box<dyn Error>> {
    let mut config = match &args.config {
        Some(path) => {
            let of_file = |error: &dyn Error| format!("{}: {error}", path.display());
            let text = fs::read_to_string(path).map_err(|error| of_file(&error))?;
            let mut config = Config::from_yaml(&text).map_err(|error| of_file(&error))?;
            // An absolute path, because the processes of the functions have other working folders.
            let path = path::absolute(path)?;
            config.run_from(path.parent().unwrap_or(&path));
            config
        }
        None => Config::from_yaml(DEFAULT_CONFIG)?,
    };
    config.listen = args.listen.unwrap_or(config.listen);
    config.admin_listen = args.admin_listen.or(config.admin_listen);
    config.identity.local_listen = args.local_listen.unwrap_or(config.identity.local_listen);
    config.http_listen = args.http_listen.or(config.http_listen);
    config.tls.names.extend(args.tls_names);
    config.hide_events |= args.hide_events;
    config.tls.dir = args.tls_dir.or(config.tls.dir).or_else(|| Some(DEFAULT_TLS_DIR.into()));
    Ok(config)
}

/// What lets the operator in a cluster use this emulator.
fn cluster_config(config: &Config, host: &str) -> Result<String, Box<dyn Error>> {
    let Config { region, project_id, tokens, access_keys, tls, listen, .. } = config;
    let path = tls.dir.clone().unwrap_or_default().join(CA_CERT);
    let authority = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let authority = authority.trim_end().replace('\n', "\n    ");
    let (kind, data) = match (access_keys.first(), tokens.first()) {
        (Some(key), _) => {
            ("accessKey", format!("accessKeyID: {}\n  secretAccessKey: {}", key.id, key.secret))
        }
        (None, Some(token)) => ("token", format!("token: {token}")),
        (None, None) => return Err("the configuration has neither an access key nor a token".into()),
    };
    let port = listen.port();
    Ok(format!(
        "\
# The operator needs this in addition to its other settings. In the chart: settings.allowedEndpointHosts: [{host}]
#   --allowed-endpoint-hosts {host}
# The emulator needs the name in its certificate: --listen 0.0.0.0:{port} --tls-names {host}
apiVersion: v1
kind: Secret
metadata:
  name: functiongraph-emulator
stringData:
  {data}
---
apiVersion: functiongraph.io/v1alpha1
kind: FunctionGraphProvider
metadata:
  name: emulator
spec:
  region: {region}
  projectID: {project_id}
  endpoint: https://{host}:{port}
  caBundle: |
    {authority}
  credentials:
    {kind}:
      secretRef: {{name: functiongraph-emulator}}
"
    ))
}

/// Prints how to make the first call.
fn welcome(out: &mut impl Write, emulator: &Emulator, config: &Config) -> io::Result<()> {
    let url = emulator.url();
    let Config { region, project_id, functions, auth, tokens, access_keys, identity, tls, .. } = config;
    let ca = tls.dir.clone().unwrap_or_default().join(CA_CERT);
    let ca = ca.display();
    writeln!(out, "FunctionGraph emulator at {url}, region {region}, project {project_id}")?;
    writeln!(out, "  authority    {ca}")?;
    if let Some(http) = emulator.http_url() {
        writeln!(out, "  without TLS  {http}")?;
    }
    if let Some(admin) = emulator.admin_url() {
        writeln!(out, "  page         {admin}/")?;
        writeln!(out, "  admin API    {admin}/admin/ledger (also executions, faults, functions, reset)")?;
    }
    if let Some(metadata) = emulator.metadata_url() {
        writeln!(out, "  metadata     {metadata}/openstack/latest/securitykey")?;
    }
    if let Some(pod_identity) = emulator.pod_identity_url() {
        writeln!(out, "  pod identity {pod_identity}")?;
    }
    for token in tokens {
        writeln!(out, "  token        {token}")?;
    }
    for key in access_keys {
        writeln!(out, "  access key   {} / {}", key.id, key.secret)?;
    }
    for user in &identity.users {
        writeln!(out, "  user         {} / {} / {}", user.domain, user.name, user.password)?;
    }
    let urn = |function: &Function| {
        let Function { package, name, .. } = function;
        format!("urn:fss:{region}:{project_id}:function:{package}:{name}:latest")
    };
    for function in functions {
        writeln!(out, "  function     {}", urn(function))?;
    }
    // curl cannot sign, so print no command for a configuration with access keys only.
    let credential = match tokens.first() {
        Some(token) => Some(format!(" -H 'X-Auth-Token: {token}'")),
        None if *auth == AuthMode::None => Some(String::new()),
        None => None,
    };
    if let (Some(function), Some(credential)) = (functions.first(), credential) {
        let path = format!("/v2/{project_id}/fgs/functions/{}/invocations-async", urn(function));
        writeln!(out, "\nTry:")?;
        writeln!(out, "  curl --cacert {ca}{credential} \\")?;
        writeln!(out, "    -H 'Content-Type: application/json' -d '{{\"k\":\"v\"}}' \\")?;
        writeln!(out, "    {url}{path}")?;
    }
    out.flush()
}
