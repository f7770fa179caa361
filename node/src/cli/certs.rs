//! `greenwich certs`: a certificate authority for a cluster, and certificates for its nodes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use greenwich_replicator::certs::{CertError, CertificateFiles, Overwrite, create_ca, issue_node};

use super::say;

/// Make a cluster's certificate authority and its nodes' certificates.
///
/// Replication accepts only certificates of the cluster's own authority. Make the authority once,
/// make a certificate for every region, and give each node ca.pem, REGION.pem and REGION-key.pem.
/// Keep ca-key.pem away from the nodes: whoever has it can join the cluster.
#[derive(Debug, Args)]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    /// Make the authority: ca.pem and ca-key.pem. A new one makes all earlier certificates worthless.
    Ca {
        /// Name of the cluster: lower-case letters, digits and dashes.
        #[arg(long, default_value = "greenwich")]
        cluster: String,
        #[command(flatten)]
        to: Destination,
    },
    /// Make a node's certificate with the authority in the same directory: REGION.pem and
    /// REGION-key.pem.
    Node {
        /// Name of the node's region: lower-case letters, digits and dashes.
        #[arg(long)]
        region: String,
        #[command(flatten)]
        to: Destination,
    },
}

#[derive(Debug, Args)]
struct Destination {
    /// Directory of the certificates; it is made when missing.
    #[arg(long, default_value = "certs", value_name = "DIR")]
    out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

impl Destination {
    fn overwrite(&self) -> Overwrite {
        if self.force {
            Overwrite::Yes
        } else {
            Overwrite::No
        }
    }
}

pub(super) fn run(args: &CertsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        CertsCommand::Ca { cluster, to } => make_ca(cluster, to)?,
        CertsCommand::Node { region, to } => make_node(region, to)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn make_ca(cluster: &str, to: &Destination) -> anyhow::Result<()> {
    create_ca(&to.out, cluster, to.overwrite()).map_err(with_hint)?;
    let directory = to.out.display();
    say(&format!(
        "Made the authority of cluster {cluster} in {directory}: ca.pem for every node, ca-key.pem for nobody.\n\
         Next, for each region: greenwich certs node --out {directory} --region REGION\n"
    ));
    Ok(())
}

fn make_node(region: &str, to: &Destination) -> anyhow::Result<()> {
    let files = CertificateFiles::in_dir(&to.out, region);
    if !files.ca.exists() {
        anyhow::bail!(
            "no authority in {}: make one first with `greenwich certs ca --out {0}`",
            to.out.display()
        );
    }
    let name = issue_node(&to.out, region, to.overwrite()).map_err(with_hint)?;
    say(&format!(
        "Made {} and {} for region {} of cluster {}.\n",
        files.certificate.display(),
        files.key.display(),
        name.region,
        name.cluster
    ));
    Ok(())
}

fn with_hint(error: CertError) -> anyhow::Error {
    match error {
        CertError::Exists(path) => {
            anyhow::anyhow!(
                "{} exists already: give --force to replace it",
                path.display()
            )
        }
        error @ (CertError::File { .. }
        | CertError::Content { .. }
        | CertError::Name(_)
        | CertError::Make(_)) => error.into(),
    }
}
