//! The nodes as processes: started, watched and stopped together.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout_at};

use super::plan::{Plan, RegionPlan};

/// What an orderly stop may take before the nodes are killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// A log larger than this at a start is moved to `node.log.1`, over the one before it.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// The running nodes, in the order of the plan. Dropping the value kills them.
#[derive(Debug)]
pub(crate) struct Children {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    region: String,
    pid: u32,
    process: Child,
    ended: bool,
}

/// A node that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) position: usize,
    pub(crate) region: String,
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
}

impl Children {
    /// Starts a node for every region; when one cannot be started, none is left.
    pub(crate) fn start(plan: &Plan) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut children = Self { nodes: Vec::new() };
        for region in &plan.regions {
            let process = spawn(&program, region)
                .with_context(|| format!("cannot start the node of {}", region.name()))?;
            let pid = process
                .id()
                .expect("a process that was not waited for has an id");
            children.nodes.push(Node {
                region: region.name().into(),
                pid,
                process,
                ended: false,
            });
        }
        Ok(children)
    }

    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().map(|node| node.pid)
    }

    pub(crate) fn running(&self) -> usize {
        self.nodes.iter().filter(|node| !node.ended).count()
    }

    /// A node that ended since the last call.
    pub(crate) fn poll_ended(&mut self) -> io::Result<Option<Ended>> {
        for (position, node) in self
            .nodes
            .iter_mut()
            .enumerate()
            .filter(|(_, node)| !node.ended)
        {
            if let Some(status) = node.process.try_wait()? {
                node.ended = true;
                return Ok(Some(Ended {
                    position,
                    region: node.region.clone(),
                    pid: node.pid,
                    status,
                }));
            }
        }
        Ok(None)
    }

    /// Ends every node: by the end of its input, and by force when that takes too long. Returns the
    /// regions that had to be killed.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        for node in &mut self.nodes {
            drop(node.process.stdin.take());
        }
        let deadline = Instant::now() + STOP_TIME_MAX;
        let mut killed = Vec::new();
        for node in &mut self.nodes {
            if timeout_at(deadline, node.process.wait()).await.is_err() {
                killed.push(node.region.clone());
                node.process.kill().await.ok();
            }
        }
        killed
    }
}

fn spawn(program: &Path, region: &RegionPlan) -> io::Result<Child> {
    let log = open_log(&region.log_file())?;
    Command::new(program)
        .args(["node", "--exit-with-stdin", "--config"])
        .arg(region.config_file())
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in a terminal goes to a process group; only `up` is to get it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn open_log(file: &Path) -> io::Result<File> {
    if fs::metadata(file).is_ok_and(|about| about.len() > LOG_BYTES_MAX) {
        fs::rename(file, file.with_extension("log.1"))?;
    }
    File::options().create(true).append(true).open(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_moved_away_and_a_small_one_continued() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.log");
        fs::write(&file, "small").unwrap();
        assert_eq!(open_log(&file).unwrap().metadata().unwrap().len(), 5);
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(LOG_BYTES_MAX + 1)
            .unwrap();
        assert_eq!(open_log(&file).unwrap().metadata().unwrap().len(), 0);
        let moved = fs::metadata(directory.path().join("node.log.1")).unwrap();
        assert_eq!(moved.len(), LOG_BYTES_MAX + 1);
    }
}
