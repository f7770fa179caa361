//! The addresses behind a peer's configured name, asked for anew each time: they change while a node runs. It dials
//! nothing.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};

use crate::error::LinkError;

/// A resolver that has not answered by then is asked again with the next dial.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// Each address may take a handshake's time limit: of more, the first are tried.
const ADDRESSES_MAX: usize = 8;

type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// A host and port as an operator wrote them.
pub(crate) struct Name {
    text: String,
    lookup: Lookup,
    limit: Duration,
    /// The lookup under way. None can be stopped, so whoever asks next waits for it instead of beginning another one.
    under_way: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Name {
    /// A name that the system resolves.
    pub(crate) fn new(text: String) -> Self {
        Self::with_lookup(text, Arc::new(|text| Ok(text.to_socket_addrs()?.collect())))
    }

    pub(crate) fn with_lookup(text: String, lookup: Lookup) -> Self {
        Self {
            text,
            lookup,
            limit: LOOKUP_LIMIT,
            under_way: None,
        }
    }

    /// The addresses that a socket bound to `own` can reach, in the order of the answer, at least one. Safe to cancel.
    pub(crate) async fn resolve(&mut self, own: IpAddr) -> Result<Vec<SocketAddr>, LinkError> {
        let answer = self.ask().await.map_err(|reason| self.failed(reason))?;
        if answer.is_empty() {
            return Err(self.failed("it names no address".to_owned()));
        }
        let reachable = answer
            .iter()
            .copied()
            .filter(|addr| reaches(own, addr.ip()));
        let reachable: Vec<SocketAddr> = reachable.take(ADDRESSES_MAX).collect();
        if reachable.is_empty() {
            let found: Vec<String> = answer.iter().map(|addr| addr.ip().to_string()).collect();
            let found = found.join(", ");
            let reason = format!("{found}: not to be reached from a socket bound to {own}");
            return Err(self.failed(reason));
        }
        Ok(reachable)
    }

    async fn ask(&mut self) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.text.parse() {
            return Ok(vec![address]);
        }
        let under_way = self.under_way.get_or_insert_with(|| {
            let (text, lookup) = (self.text.clone(), Arc::clone(&self.lookup));
            // A resolver may take its time: it has a thread of its own.
            tokio::task::spawn_blocking(move || lookup(&text))
        });
        let Ok(ended) = timeout(self.limit, under_way).await else {
            return Err(format!("no answer within {:?}", self.limit));
        };
        self.under_way = None;
        match ended {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn failed(&self, reason: String) -> LinkError {
        let name = self.text.clone();
        LinkError::Name { name, reason }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// Whether a socket bound to `own` can send to `peer`. One of IPv6 that is bound to no address sends to both families.
fn reaches(own: IpAddr, peer: IpAddr) -> bool {
    match (own.to_canonical(), peer.to_canonical()) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => true,
        (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use parking_lot::Mutex;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn answering(answer: &[&str]) -> Name {
        let answer: Vec<SocketAddr> = answer.iter().map(|text| text.parse().unwrap()).collect();
        Name::with_lookup("eu:7".to_owned(), Arc::new(move |_| Ok(answer.clone())))
    }

    #[test]
    fn only_a_socket_of_both_families_reaches_both() {
        for (own, peer, is_reached) in [
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::ffff:127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("127.0.0.1", "::1", false),
            ("::", "::1", true),
            ("::", "127.0.0.1", true),
            ("::1", "127.0.0.1", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
        ] {
            assert_eq!(reaches(ip(own), ip(peer)), is_reached, "{own} to {peer}");
        }
    }

    #[tokio::test]
    async fn addresses_out_of_reach_are_left_out_and_named_when_there_are_no_others() {
        let mut both = answering(&["[::1]:7", "127.0.0.1:7"]);
        let found = both.resolve(ip("0.0.0.0")).await.unwrap();
        assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
        let refused = answering(&["[::1]:7"]).resolve(ip("0.0.0.0")).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("eu:7: ::1: not to be reached"), "{text}");
        let none = answering(&[]).resolve(ip("::")).await.unwrap_err();
        assert!(none.to_string().contains("names no address"), "{none}");
    }

    #[tokio::test]
    async fn a_name_of_many_addresses_does_not_take_for_ever_to_dial() {
        let many: Vec<String> = (0..200).map(|last| format!("10.0.0.{last}:7")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = answering(&many).resolve(ip("0.0.0.0")).await.unwrap();
        assert_eq!(found.len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_is_not_asked_a_second_time_meanwhile() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, answers) = mpsc::channel::<()>();
        let (count, answers) = (Arc::clone(&asked), Mutex::new(answers));
        let lookup = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            answers.lock().recv().map_err(io::Error::other)?;
            Ok(vec![(ip("127.0.0.1"), 7).into()])
        };
        let mut name = Name::with_lookup("eu:7".to_owned(), Arc::new(lookup));
        name.limit = Duration::from_millis(1);
        for _ in 0..3 {
            let error = name.resolve(ip("::")).await.unwrap_err();
            assert!(error.to_string().contains("no answer within"), "{error}");
        }
        answer.send(()).unwrap();
        name.limit = LOOKUP_LIMIT;
        assert_eq!(name.resolve(ip("::")).await.unwrap().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
