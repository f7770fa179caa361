//! `greenwich node`: one region's node, as an operator runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{io, process, thread};

use anyhow::{Context, bail};
use clap::Args;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use super::signals::StopSignals;
use super::{lock, ports, say};
use crate::admin;
use crate::assembly::{self, Assembly};
use crate::config::{Config, Format, Level, Log};
use crate::server::descriptors;

/// After a stop is asked for, the process ends at the latest after this, whatever still runs.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Run one region's node.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The node's configuration (TOML).
    #[arg(long, value_name = "FILE", required_unless_present = "print_config")]
    config: Option<PathBuf>,
    /// Print every setting with its meaning and its effective value as TOML, and end. Without
    /// --config, the defaults.
    #[arg(long)]
    print_config: bool,
    /// Stop at the end of standard input.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

pub(super) fn run(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    let config = match &args.config {
        Some(file) => Config::load(file)?,
        None => Config::example("region-1", 1),
    };
    if args.print_config {
        say(&config.to_commented_toml());
        return Ok(ExitCode::SUCCESS);
    }
    start_log(&config.log);
    let lock_file = config.data_dir.join("node.lock");
    let locked = lock::acquire(&lock_file).with_context(|| {
        format!(
            "cannot use the data directory {}",
            config.data_dir.display()
        )
    })?;
    let Some(_lock) = locked else {
        bail!(
            "another node runs in {}: stop it first, or give this node another data_dir",
            config.data_dir.display()
        );
    };
    ports::check(&ports::claims(&config))?;
    make_room_for_clients(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(Arc::new(config), args.exit_with_stdin))?;
    Ok(ExitCode::SUCCESS)
}

/// Lets the process have as many files open as the system allows, and says so when that is not enough.
fn make_room_for_clients(config: &Config) -> anyhow::Result<()> {
    if let Err(error) = descriptors::raise_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let limit = descriptors::limit();
    let configured = config.client.max_clients;
    let possible = descriptors::clients_possible(config);
    let needed = configured.saturating_add(descriptors::reserve(config));
    if possible == 0 {
        bail!(
            "this process may have {limit} files open, which leaves none for clients: allow {needed} (ulimit -n, \
             LimitNOFILE=)"
        );
    }
    if possible < configured {
        warn!(
            limit,
            needed,
            "client.max_clients is {configured}, but the limit of open files leaves {possible}: so many are allowed"
        );
    } else {
        info!(limit, "limit of open files");
    }
    Ok(())
}

async fn serve(config: Arc<Config>, exit_with_stdin: bool) -> anyhow::Result<()> {
    let mut signals = StopSignals::listen()?;
    if exit_with_stdin {
        signals = signals.and_input_end();
    }
    warn_of_emulation(&config);
    warn_of_open_door(&config);
    let listener = tokio::net::TcpListener::bind(config.admin.bind)
        .await
        .with_context(|| format!("cannot open the admin port {}", config.admin.bind))?;
    let Assembly {
        status,
        regions,
        stopped: mut ended,
        stop,
    } = assembly::start(&config)?;
    let admin = tokio::spawn(admin::serve(
        listener,
        config.admin.token.clone(),
        status,
        regions,
    ));
    info!(
        region = config.region.name,
        id = config.region.id,
        redis = %config.client.bind,
        admin = %config.admin.bind,
        replication = %config.replication.bind,
        "node started"
    );
    let failure = tokio::select! {
        cause = signals.stop() => {
            info!(cause, "stopping");
            None
        }
        reason = &mut ended => Some(reason.unwrap_or_else(|_| "a thread ended".into())),
    };
    end_in_time();
    let undelivered = stop();
    admin.abort();
    for left in &undelivered {
        warn!("stopped: {left}");
    }
    match failure {
        None => {
            info!(peers_that_lack_updates = undelivered.len(), "node stopped");
            Ok(())
        }
        Some(reason) => bail!("the node cannot go on: {reason}"),
    }
}

fn warn_of_open_door(config: &Config) {
    let bind = config.client.bind;
    if !bind.ip().is_loopback() && config.client.password.is_none() {
        warn!(%bind, "client port: open to everybody who reaches it; set client.password, or bind to loopback");
    }
}

fn warn_of_emulation(config: &Config) {
    for link in &config.emulation {
        let rate = link
            .rate
            .map_or_else(|| "unlimited".into(), |rate| rate.to_string());
        warn!(
            peer = link.peer,
            delay = %link.delay,
            jitter = %link.jitter,
            loss = %link.loss,
            rate,
            "REHEARSAL: this link is impaired on purpose"
        );
    }
}

/// Ends the process if an orderly stop takes too long: nobody may be left who could kill it.
fn end_in_time() {
    thread::spawn(|| {
        thread::sleep(STOP_TIME_MAX);
        error!(after = ?STOP_TIME_MAX, "the orderly stop took too long");
        process::exit(1);
    });
}

fn start_log(log: &Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let colour = io::IsTerminal::is_terminal(&io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(colour)
        .with_writer(io::stderr);
    match log.format {
        Format::Text => lines.init(),
        Format::Json => lines.json().init(),
    }
}
