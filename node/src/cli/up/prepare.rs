//! Everything on disk that the nodes need, made before the first one starts.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use greenwich_replicator::{
    certs::{CertificateFiles, Credentials, Overwrite, create_ca, issue_node},
    files,
};

use super::plan::{Plan, RegionPlan};
use super::record::Record;
use crate::assembly::REGIONS_FILE;
use crate::cli::lock::{self, Lock};
use crate::cli::ports;

/// Checks that nothing is in the way, and writes certificates and configurations. The data
/// directory stays locked as long as the result lives.
pub(crate) fn prepare(plan: &Plan) -> anyhow::Result<Lock> {
    let lock = lock_data(plan)?;
    check_ports(plan)?;
    make_certificates(plan)?;
    for region in &plan.regions {
        write_config(region)?;
        forget_changes(region)?;
    }
    Ok(lock)
}

fn lock_data(plan: &Plan) -> anyhow::Result<Lock> {
    let data = plan.data.display();
    let locked = lock::acquire(&plan.lock()).with_context(|| {
        format!("cannot write to the data directory {data} (choose another with --data)")
    })?;
    match locked {
        Some(lock) => Ok(lock),
        None => bail!(
            "another `greenwich up`{} runs on {data}: stop it first, or choose another directory with --data",
            match Record::read(&plan.data) {
                Ok(Some(record)) => format!(" (pid {})", record.pid),
                Ok(None) | Err(_) => String::new(),
            }
        ),
    }
}

fn check_ports(plan: &Plan) -> anyhow::Result<()> {
    let claims: Vec<_> = plan
        .regions
        .iter()
        .flat_map(|region| ports::claims(&region.config))
        .collect();
    match ports::check(&claims) {
        Ok(()) => Ok(()),
        Err(refused) => bail!(
            "{refused}: stop what uses it, or choose other ports with --port, --admin-port and --replication-port"
        ),
    }
}

/// Keeps the authority and the certificates of an earlier run where they fit.
fn make_certificates(plan: &Plan) -> anyhow::Result<()> {
    let directory = plan.certificates();
    let cluster = &plan.regions[0].config.cluster;
    let kept = plan
        .regions
        .iter()
        .all(|region| has_certificate(&directory, region))
        || directory.join("ca.pem").exists() && directory.join("ca-key.pem").exists();
    if !kept {
        create_ca(&directory, cluster, Overwrite::Yes)?;
    }
    for region in &plan.regions {
        if kept && has_certificate(&directory, region) {
            continue;
        }
        let issued = issue_node(&directory, region.name(), Overwrite::Yes)?;
        if issued.cluster != *cluster {
            bail!(
                "{} belongs to cluster {}, not {cluster}: remove that directory to have new certificates made",
                directory.display(),
                issued.cluster
            );
        }
    }
    Ok(())
}

fn has_certificate(directory: &Path, region: &RegionPlan) -> bool {
    let files = CertificateFiles::in_dir(directory, region.name());
    let named = |credentials: Credentials| {
        credentials.name.cluster == region.config.cluster
            && credentials.name.region == region.name()
    };
    Credentials::load(&files).is_ok_and(named)
}

/// All regions begin empty together, as `up` is told: what was added and removed in an earlier run does not count.
fn forget_changes(region: &RegionPlan) -> anyhow::Result<()> {
    let file = region.directory.join(REGIONS_FILE);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_config(region: &RegionPlan) -> anyhow::Result<()> {
    let file = region.config_file();
    let text = format!(
        "# Written by `greenwich up`, which overwrites it at every start.\n\n{}",
        region.config.to_commented_toml()
    );
    fs::create_dir_all(&region.directory)
        .and_then(|()| files::write_whole(&file, text.as_bytes(), files::PUBLIC))
        .with_context(|| format!("cannot write {}", file.display()))
}
