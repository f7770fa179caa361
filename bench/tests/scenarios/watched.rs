//! A redis-server that is looked at from outside: what it counts itself, and what the kernel counts.

use std::{net::SocketAddr, path::Path, process::Command, time::Instant};

use greenwich_bench::{
    load::{client::Client, mix::put_command},
    server::{Adapter, Running, ServerError, Site, find_program, redis::RedisLike},
};
use parking_lot::Mutex;

/// What a redis-server itself says, and what the kernel says of its memory and of what regions sent to each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) gets: f64,
    pub(crate) sets: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) keys: f64,
    pub(crate) resident_bytes: f64,
    pub(crate) link_bytes: f64,
}

impl Look {
    fn at(address: SocketAddr, pid: u32, sites: &[Site]) -> Self {
        let mut client = Client::connect(address).unwrap();
        let mut info = String::new();
        for words in [&[&b"INFO"[..], b"everything"][..], &[b"DBSIZE"]] {
            let mut request = Vec::new();
            put_command(&mut request, words);
            let keep = |reply: &[u8]| info.push_str(&String::from_utf8_lossy(reply));
            client.exchange(&request, 1, keep).unwrap();
        }
        let number = |name: &str| {
            let value = info.split_once(name).map(|(_, rest)| rest);
            let value = value.and_then(|rest| rest.split([',', '\r']).next());
            value.map_or(0.0, |value| value.parse::<f64>().unwrap())
        };
        let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let resident = memory.split_once("\nRss:").unwrap().1;
        let kib: f64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        Self {
            at: Instant::now(),
            gets: number("\ncmdstat_get:calls="),
            sets: number("\ncmdstat_set:calls="),
            cpu_seconds: number("\nused_cpu_sys:") + number("\nused_cpu_user:"),
            keys: number("\r\n:"),
            resident_bytes: kib * 1024.0,
            link_bytes: sites.iter().map(link_bytes).sum(),
        }
    }
}

/// Bytes that a region's device has sent, as its kernel counts them.
fn link_bytes(site: &Site) -> f64 {
    let Some(namespace) = &site.namespace else {
        return 0.0;
    };
    let output = Command::new("ip")
        .args(["-n", namespace, "-j", "-s", "link", "show"])
        .output()
        .unwrap();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_tun = |link: &&serde_json::Value| link["ifname"].as_str().unwrap().starts_with("gwt");
    let link = links.as_array().unwrap().iter().find(is_tun).unwrap();
    link["stats64"]["tx"]["bytes"].as_f64().unwrap()
}

/// A redis-server in each region, the first of which is looked at when it is empty and when somebody asks for it.
pub(crate) struct Watched {
    redis: RedisLike,
    first: Mutex<Option<(SocketAddr, u32, Vec<Site>)>>,
    looks: Mutex<Vec<Look>>,
}

impl Watched {
    /// `None` where there is no redis-server, which is said.
    pub(crate) fn new() -> Option<Self> {
        if find_program("redis-server").is_none() {
            eprintln!("skipped: redis-server is not installed");
            return None;
        }
        Some(Self {
            redis: RedisLike::redis(),
            first: Mutex::new(None),
            looks: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn look(&self) {
        let first = self.first.lock();
        let (address, pid, sites) = first.as_ref().unwrap();
        self.looks.lock().push(Look::at(*address, *pid, sites));
    }

    pub(crate) fn looks<const N: usize>(&self) -> [Look; N] {
        self.looks.lock().as_slice().try_into().unwrap()
    }
}

impl Adapter for Watched {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn version(&self) -> Option<String> {
        self.redis.version()
    }

    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError> {
        let running = self.redis.start(sites, directory)?;
        let (address, pid) = (running[0].site.client, running[0].process.pid());
        *self.first.lock() = Some((address, pid, sites.to_vec()));
        self.look();
        Ok(running)
    }
}
