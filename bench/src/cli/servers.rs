//! Which servers a suite measures, and where the greenwich binaries are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use crate::{
    notice::notice,
    scenario::file::ScenarioFile,
    server::{
        Adapter,
        dragonfly::Dragonfly,
        greenwich::{self, Greenwich},
        redis::RedisLike,
    },
};

/// What was asked for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// The greenwich binary; the default is the one beside this program, which is built if this runs under cargo.
    #[arg(long, value_name = "FILE")]
    greenwich: Option<PathBuf>,
    /// A second greenwich binary, measured as greenwich-baseline wherever greenwich is, the two taking turns.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Measure these servers alone, of those that the scenarios name.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    servers: Vec<String>,
}

/// One for each server that is known.
pub(super) type Adapters = Vec<Box<dyn Adapter>>;

impl ServerArgs {
    /// Whether two greenwich binaries are compared.
    pub(super) fn has_baseline(&self) -> bool {
        self.baseline.is_some()
    }

    /// The scenarios with the servers that are asked for, without those that have none of them, and an adapter for each
    /// known server.
    pub(super) fn choose(
        &self,
        files: &[ScenarioFile],
    ) -> anyhow::Result<(Vec<ScenarioFile>, Adapters)> {
        let is_asked = |server: &str| self.servers.is_empty() || names(&self.servers, server);
        let mut chosen = files.to_vec();
        for file in &mut chosen {
            file.servers.retain(|server| is_asked(server));
            let greenwich = file.servers.iter().position(|name| name == greenwich::NAME);
            if let (Some(at), true) = (greenwich, self.has_baseline()) {
                file.servers
                    .insert(at + 1, greenwich::BASELINE_NAME.to_owned());
            }
        }
        let is_chosen = |server: &str| chosen.iter().any(|file| names(&file.servers, server));
        let is_compared = is_chosen(greenwich::NAME);
        let servers = self.adapters(is_compared || is_chosen(greenwich::ZSTD_NAME))?;
        check_names(&self.servers, files, &servers)?;
        ensure!(
            is_compared || !self.has_baseline(),
            "--baseline is compared with greenwich, which is not among the servers to measure"
        );
        chosen.retain(|file| !file.servers.is_empty());
        Ok((chosen, servers))
    }

    fn adapters(&self, is_greenwich_needed: bool) -> anyhow::Result<Adapters> {
        let greenwich = match &self.greenwich {
            Some(program) => existing(program).context("--greenwich")?,
            None if is_greenwich_needed => built_greenwich()?,
            None => PathBuf::from(greenwich::NAME),
        };
        let mut servers: Adapters = vec![
            Box::new(Greenwich::new(greenwich.clone())),
            Box::new(Greenwich::zstd(greenwich)),
        ];
        if let Some(program) = &self.baseline {
            let program = existing(program).context("--baseline")?;
            servers.push(Box::new(Greenwich::baseline(program)));
        }
        servers.push(Box::new(RedisLike::redis()));
        servers.push(Box::new(RedisLike::redis_alone()));
        servers.push(Box::new(RedisLike::valkey()));
        servers.push(Box::new(RedisLike::keydb()));
        servers.push(Box::new(Dragonfly::default()));
        Ok(servers)
    }
}

/// Whether `server` is among `servers`.
pub(super) fn names(servers: &[String], server: &str) -> bool {
    servers.iter().any(|name| name == server)
}

/// Whether what is measured as greenwich is one, by what it says of its version.
pub(super) fn check_greenwich(versions: &BTreeMap<String, Option<String>>) -> anyhow::Result<()> {
    for name in [
        greenwich::NAME,
        greenwich::ZSTD_NAME,
        greenwich::BASELINE_NAME,
    ] {
        let Some(version) = versions.get(name) else {
            continue;
        };
        let version = version.as_deref().unwrap_or_default();
        ensure!(
            version.starts_with("greenwich "),
            "the program that was given for {name} is no greenwich: asked for its --version it says {version:?}"
        );
    }
    Ok(())
}

fn existing(program: &Path) -> anyhow::Result<PathBuf> {
    ensure!(program.is_file(), "there is no file {}", program.display());
    Ok(program.canonicalize()?)
}

/// The greenwich beside this program. Under `cargo run` it is built first, so that it is the tree's.
fn built_greenwich() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's directory")?;
    let beside = own.with_file_name("greenwich");
    if let (Some(cargo), false) = (std::env::var_os("CARGO"), cfg!(debug_assertions)) {
        notice("building greenwich");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let built = std::process::Command::new(cargo)
            .args(["build", "--release", "--quiet"])
            .args(["--package", "greenwich", "--manifest-path", manifest])
            .status()
            .context("cannot run cargo to build greenwich")?;
        ensure!(built.success(), "greenwich cannot be built");
    }
    ensure!(
        beside.is_file(),
        "there is no {}: build it with `cargo build --release`, name one with --greenwich, or leave it out with --servers",
        beside.display()
    );
    Ok(beside)
}

fn check_names(
    wanted: &[String],
    files: &[ScenarioFile],
    servers: &[Box<dyn Adapter>],
) -> anyhow::Result<()> {
    let known: Vec<&str> = servers.iter().map(|server| server.name()).collect();
    let named = files.iter().flat_map(|file| &file.servers);
    for name in wanted.iter().chain(named) {
        ensure!(
            known.contains(&name.as_str()),
            "there is no server {name:?}: known are {}",
            known.join(", ")
        );
    }
    for file in files {
        let mut pairs = (1..file.servers.len()).map(|at| file.servers.split_at(at));
        let twice = pairs.find(|(before, rest)| names(before, &rest[0]));
        if let Some((_, rest)) = twice {
            bail!("{} names the server {} twice", file.name, rest[0]);
        }
        let is_same = |other: &&ScenarioFile| other.name == file.name;
        ensure!(
            files.iter().filter(is_same).count() == 1,
            "two scenarios are named {}: rename one of the files",
            file.name
        );
    }
    for name in wanted
        .iter()
        .filter(|&name| name != greenwich::BASELINE_NAME)
    {
        let is_named = files.iter().any(|file| names(&file.servers, name));
        ensure!(
            is_named,
            "no scenario names the server {name}: add it to the `servers` of a file, and run that"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::file::Suite;

    fn choose(servers: &[&str], baseline: bool) -> anyhow::Result<Vec<ScenarioFile>> {
        let own = std::env::current_exe()?;
        let args = ServerArgs {
            greenwich: Some(own.clone()),
            baseline: baseline.then_some(own),
            servers: servers.iter().map(ToString::to_string).collect(),
        };
        args.choose(&Suite::Quick.scenarios())
            .map(|(files, _)| files)
    }

    #[test]
    fn a_baseline_stands_behind_greenwich() {
        let files = choose(&["redis-alone", "greenwich"], true).unwrap();
        assert_eq!(files.len(), Suite::Quick.scenarios().len());
        for file in &files {
            let at = file.servers.iter().position(|name| name == greenwich::NAME);
            assert_eq!(file.servers[at.unwrap() + 1], greenwich::BASELINE_NAME);
        }
    }

    #[test]
    fn compressed_batches_take_part_where_a_scenario_names_them() {
        let mut files = Suite::Quick.scenarios();
        files.truncate(1);
        files[0].servers = vec![greenwich::ZSTD_NAME.to_owned()];
        let args = |baseline: bool| ServerArgs {
            greenwich: std::env::current_exe().ok(),
            baseline: baseline.then(|| std::env::current_exe().unwrap()),
            servers: Vec::new(),
        };
        let (chosen, servers) = args(false).choose(&files).unwrap();
        assert_eq!(chosen[0].servers, [greenwich::ZSTD_NAME]);
        let known: Vec<&str> = servers.iter().map(|server| server.name()).collect();
        assert!(known.contains(&greenwich::ZSTD_NAME), "{known:?}");
        let refusal = args(true)
            .choose(&files)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(refusal.contains("--baseline is compared with greenwich"));
    }

    #[test]
    fn scenarios_without_the_servers_are_left_out() {
        let files = choose(&["redis-alone"], false).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["local"]);
        assert_eq!(files[0].servers, ["redis-alone"]);
    }

    #[test]
    fn only_a_greenwich_is_measured_as_one() {
        let check = |name: &str, version: Option<&str>| {
            let versions = [(name.to_owned(), version.map(str::to_owned))];
            check_greenwich(&versions.into()).map_err(|error| error.to_string())
        };
        for name in [
            greenwich::NAME,
            greenwich::ZSTD_NAME,
            greenwich::BASELINE_NAME,
        ] {
            assert_eq!(check(name, Some("greenwich 0.1.0")), Ok(()));
            let refusal = check(name, Some("ls (GNU coreutils) 9.1")).unwrap_err();
            assert!(
                refusal.contains(&format!("for {name} is no greenwich")),
                "{refusal}"
            );
            assert!(refusal.contains("ls (GNU"), "{refusal}");
            assert!(check(name, None).is_err());
        }
        assert_eq!(check("redis", None), Ok(()));
    }

    #[test]
    fn nothing_is_named_twice() {
        let own = std::env::current_exe().ok();
        let args = ServerArgs {
            greenwich: own,
            baseline: None,
            servers: Vec::new(),
        };
        let refusal = |files: &[ScenarioFile]| {
            let chosen = args.choose(files).map(|_| ());
            chosen.unwrap_err().to_string()
        };
        let mut files = Suite::Quick.scenarios();
        files[0].servers = ["redis", "redis"].map(str::to_owned).into();
        assert!(refusal(&files).contains("the server redis twice"));
        let mut files = Suite::Quick.scenarios();
        files.push(files[0].clone());
        assert!(refusal(&files).contains("two scenarios are named"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refusal = |servers, baseline| choose(servers, baseline).unwrap_err().to_string();
        let unknown = refusal(&["radish"], false);
        assert!(
            unknown.contains("no server \"radish\": known are greenwich, greenwich-zstd, redis"),
            "{unknown}"
        );
        assert!(refusal(&["redis"], true).contains("--baseline is compared with greenwich"));
        let nowhere = refusal(&[greenwich::BASELINE_NAME], false);
        assert!(nowhere.contains("no server"), "{nowhere}");
        let unnamed = refusal(&["redis", "dragonfly"], false);
        assert!(
            unnamed.contains("no scenario names the server dragonfly"),
            "{unnamed}"
        );
    }
}
