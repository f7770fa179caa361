//! A server that is a few threads and knows what it was asked, and what it sent to other regions.

use std::{
    collections::HashMap,
    fs::File,
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::common::answer_all;
use greenwich_bench::server::{Adapter, Running, ServerError, Site, process::Process};
use parking_lot::Mutex;
use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

const PORT: u16 = 9001;
const PAYLOAD_BYTES: usize = 1000;
/// With the headers of UDP and IPv4.
pub(crate) const PACKET_BYTES: usize = PAYLOAD_BYTES + 28;

/// What the server does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Regions but the first refuse writes.
    pub(crate) has_replicas: bool,
    /// Keys of a load or a conflict whose number ends with this digit stay where they are written, once they are
    /// everywhere.
    pub(crate) kept: Option<char>,
    /// Packets that regions send to each other before anything is asked.
    pub(crate) sent_before: usize,
    /// Reads are told to other regions too, by a packet each.
    pub(crate) tells_reads: bool,
    /// A region that is asked for `INFO` loses keys of a load whose number ends with this digit.
    pub(crate) loses: Option<char>,
    /// A region says so often that it is still loading.
    pub(crate) denials: u64,
    /// Links do not let packets into the last region, by a fault of the emulation.
    pub(crate) is_deaf: bool,
}

/// Regions share their keys at once, and send each other packets that say nothing.
pub(crate) struct Fake {
    manner: Manner,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Of each region.
    keys: Mutex<Vec<HashMap<String, Vec<u8>>>>,
    sent_bytes: AtomicU64,
    denied: AtomicU64,
}

/// A region.
#[derive(Clone)]
struct Region {
    manner: Manner,
    shared: Arc<Shared>,
    index: usize,
    /// To all other regions, if there are links.
    to_others: Option<Arc<(UdpSocket, Vec<Site>)>>,
}

impl Fake {
    pub(crate) fn new(manner: Manner) -> Self {
        Self {
            manner,
            shared: Arc::default(),
        }
    }

    /// Bytes of all packets that regions have sent to each other.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.shared.sent_bytes.load(Ordering::Relaxed)
    }

    /// Sockets of a region. They stay in its namespace when their thread is gone.
    fn sockets(site: &Site) -> (TcpListener, Option<UdpSocket>) {
        let site = site.clone();
        let inside = move || {
            let links = site.namespace.as_ref().map(|name| {
                let namespace = File::open(format!("/run/netns/{name}")).unwrap();
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).unwrap();
                // Nobody reads it: it is there so that the kernel sends nothing back.
                UdpSocket::bind((site.link, PORT)).unwrap()
            });
            (TcpListener::bind(site.client).unwrap(), links)
        };
        thread::spawn(inside).join().unwrap()
    }

    fn open(&self, index: usize, sites: &[Site]) {
        let (clients, links) = Self::sockets(&sites[index]);
        let mut others = sites.to_vec();
        others.remove(index);
        let region = Region {
            manner: self.manner,
            shared: Arc::clone(&self.shared),
            index,
            to_others: links.map(|links| Arc::new((links, others))),
        };
        (0..self.manner.sent_before).for_each(|_| region.tell_others());
        thread::spawn(move || {
            for stream in clients.incoming() {
                let (region, stream) = (region.clone(), stream.unwrap());
                thread::spawn(move || region.serve(stream));
            }
        });
    }
}

impl Region {
    /// A packet to each other region.
    fn tell_others(&self) {
        let Some((socket, others)) = self.to_others.as_deref() else {
            return;
        };
        for other in others {
            if socket
                .send_to(&[0; PAYLOAD_BYTES], (other.link, PORT))
                .is_ok()
            {
                let sent = &self.shared.sent_bytes;
                sent.fetch_add(PACKET_BYTES as u64, Ordering::Relaxed);
            }
        }
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        answer_all(stream, |request| self.answer(&words(request)));
    }

    fn answer(&self, words: &[Vec<u8>]) -> Vec<u8> {
        let name = String::from_utf8_lossy(&words[0]);
        if name == "INFO" {
            let keys = &mut self.shared.keys.lock()[self.index];
            keys.retain(|key, _| key.chars().last() != self.manner.loses);
            let denied = self.shared.denied.fetch_add(1, Ordering::Relaxed);
            let info = format!("loading:{}\r\n", u8::from(denied < self.manner.denials));
            return format!("${}\r\n{info}\r\n", info.len()).into_bytes();
        }
        let key = String::from_utf8_lossy(&words[1]).into_owned();
        match &*name {
            "SET" if self.manner.has_replicas && self.index > 0 => {
                b"-READONLY this is a replica\r\n".to_vec()
            }
            "SET" => {
                self.set(key, &words[2]);
                self.tell_others();
                b"+OK\r\n".to_vec()
            }
            "GET" => {
                if self.manner.tells_reads {
                    self.tell_others();
                }
                match self.shared.keys.lock()[self.index].get(&key) {
                    Some(value) => {
                        [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
                    }
                    None => b"$-1\r\n".to_vec(),
                }
            }
            "EXISTS" => {
                let is_there = self.shared.keys.lock()[self.index].contains_key(&key);
                format!(":{}\r\n", u8::from(is_there)).into_bytes()
            }
            "PTTL" => b":-1\r\n".to_vec(),
            _ => panic!("{name} is not known"),
        }
    }

    fn set(&self, key: String, value: &[u8]) {
        let mut regions = self.shared.keys.lock();
        let is_kept = !key.starts_with("probe:") && key.chars().last() == self.manner.kept;
        let stays = is_kept && regions[self.index].contains_key(&key);
        for (region, keys) in regions.iter_mut().enumerate() {
            if region == self.index || !stays {
                keys.insert(key.clone(), value.to_vec());
            }
        }
    }
}

/// Words of a request that is complete.
fn words(request: &[u8]) -> Vec<Vec<u8>> {
    let end_of_line = |at: usize| {
        at + request[at..]
            .iter()
            .position(|&byte| byte == b'\r')
            .unwrap()
    };
    let mut words = Vec::new();
    let mut at = end_of_line(0) + 2;
    while at < request.len() {
        let end = end_of_line(at);
        let length = str::from_utf8(&request[at + 1..end]).unwrap();
        let length: usize = length.parse().unwrap();
        words.push(request[end + 2..end + 2 + length].to_vec());
        at = end + 2 + length + 2;
    }
    words
}

impl Adapter for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn version(&self) -> Option<String> {
        None
    }

    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError> {
        std::fs::create_dir_all(directory).unwrap();
        *self.shared.keys.lock() = vec![HashMap::new(); sites.len()];
        (0..sites.len()).for_each(|index| self.open(index, sites));
        if self.manner.is_deaf {
            let namespace = sites
                .last()
                .and_then(|site| site.namespace.clone())
                .unwrap();
            let device = namespace.replace("gwb", "gwt");
            let ip = Command::new("ip")
                .args(["-n", &namespace, "link", "set", &device, "down"])
                .status();
            assert!(ip.unwrap().success());
        }
        let running = sites.iter().enumerate().map(|(index, site)| {
            // What a server is: something whose process can be looked at.
            let mut process = Command::new("sleep");
            process.arg("3600");
            let log = directory.join(format!("{}.log", site.region));
            Ok(Running {
                site: site.clone(),
                process: Process::start("fake", &process, &log)?,
                is_writable: index == 0 || !self.manner.has_replicas,
            })
        });
        running.collect()
    }
}
