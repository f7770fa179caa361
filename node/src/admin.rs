//! The admin port: is the node alive, is it ready, and what does it say about itself.
//!
//! `/healthz` and `/readyz` are open, for load balancers. `/status` and `/metrics` need the token
//! when one is configured, and so does `/regions`, the only one that changes something: which regions the cluster has. What
//! changes is JSON, which a page in an operator's browser cannot send here.
//!
//! A connection carries one request, and its time is limited as a whole: a client that sends nothing, sends slowly or
//! does not read costs one of a bounded number of places for a bounded time. When all are taken, others wait for one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Secret;
use crate::metrics;
use crate::regions::{Addition, Question, Regions, Removal};
use crate::status::Status;

/// Where the admin port reads the node's status. Called for every request: it must not block.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// Where the admin port asks for the regions, and has them changed. It may wait for the disk; an error is for an operator.
pub type RegionsSource = Arc<dyn Fn(Question) -> Result<Regions, String> + Send + Sync>;

/// Serves the admin port on `listener` for as long as it is polled.
pub async fn serve(
    listener: TcpListener,
    token: Option<Secret>,
    source: StatusSource,
    regions: RegionsSource,
) {
    serve_within(LIMITS, listener, router(token, source, regions)).await;
}

/// What clients of the admin port may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at the same time.
    connections: usize,
    /// From accepting a connection to the last byte of its answer.
    connection_time: Duration,
}

/// Connections to the admin port at the same time.
pub const CONNECTIONS_MAX: usize = 128;

const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    connection_time: Duration::from_secs(10),
};

async fn serve_within(limits: Limits, mut listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let service = TowerToHyperService::new(router);
    let mut protocol = http1::Builder::new();
    protocol.keep_alive(false);
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        // The trait's `accept` waits and tries again where the listener's own returns an error.
        let (stream, _) = Listener::accept(&mut listener).await;
        let connection = protocol.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            match timeout(limits.connection_time, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "admin connection ended"),
                Err(_) => {
                    tracing::debug!(limit = ?limits.connection_time, "admin connection took too long")
                }
            }
            drop(place);
        });
    }
}

fn router(token: Option<Secret>, source: StatusSource, regions: RegionsSource) -> Router {
    let token = token.map(|token| Arc::from(token.0));
    let regions = Router::new()
        .route("/regions", get(list_regions))
        .route("/regions/add", post(add_region))
        .route("/regions/remove", post(remove_region))
        .with_state(regions);
    Router::new()
        .route("/status", get(status))
        .route("/metrics", get(scrape))
        .merge(regions)
        .layer(middleware::from_fn_with_state(token, authorize))
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(readyz))
        .with_state(source)
}

async fn authorize(
    State(token): State<Option<Arc<str>>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match token {
        Some(token) if !given.is_some_and(|given| same(given, token.as_bytes())) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (
                StatusCode::UNAUTHORIZED,
                challenge,
                "give admin.token as a bearer token\n",
            )
                .into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares without stopping at the first difference, so that time does not tell where it is.
fn same(given: &[u8], token: &[u8]) -> bool {
    let difference = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && difference == 0
}

async fn readyz(State(source): State<StatusSource>) -> Response {
    let reasons = source().not_ready;
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}

async fn status(State(source): State<StatusSource>) -> Response {
    axum::Json(source()).into_response()
}

async fn scrape(State(source): State<StatusSource>) -> Response {
    match metrics::render(source()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn list_regions(State(regions): State<RegionsSource>) -> Response {
    ask_regions(regions, Question::List).await
}

async fn add_region(
    State(regions): State<RegionsSource>,
    axum::Json(region): axum::Json<Addition>,
) -> Response {
    ask_regions(regions, Question::Add(region)).await
}

async fn remove_region(
    State(regions): State<RegionsSource>,
    axum::Json(region): axum::Json<Removal>,
) -> Response {
    ask_regions(regions, Question::Remove(region)).await
}

/// Answers with the regions, or with a sentence that says why not.
async fn ask_regions(regions: RegionsSource, question: Question) -> Response {
    match tokio::task::spawn_blocking(move || regions(question)).await {
        Ok(Ok(regions)) => axum::Json(regions).into_response(),
        Ok(Err(reason)) => (StatusCode::CONFLICT, reason + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Instant;

    /// Serves an admin port for the rest of the test's life.
    fn serve_once(token: Option<&str>, status: Status) -> SocketAddr {
        serve_limited(LIMITS, token, status)
    }

    fn serve_limited(limits: Limits, token: Option<&str>, status: Status) -> SocketAddr {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let token = token.map(|token| Secret(token.into()));
        let source: StatusSource = Arc::new(move || status.clone());
        let regions: RegionsSource = Arc::new(|question| match question {
            Question::Add(region) => Err(format!("{} is taken", region.region)),
            Question::List | Question::Remove(_) => Ok(Regions::default()),
        });
        let router = router(token, source, regions);
        std::thread::spawn(move || runtime.block_on(serve_within(limits, listener, router)));
        address
    }

    fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        let mut request = agent.get(format!("http://{address}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().unwrap();
        (
            answer.status().as_u16(),
            answer.body_mut().read_to_string().unwrap(),
        )
    }

    #[test]
    fn an_open_port_answers_everything() {
        let status = Status {
            region: "us-east".into(),
            keys: 3,
            ..Status::default()
        };
        let served = serve_once(None, status.clone());
        assert_eq!(ask(served, "/healthz", None), (200, "ok\n".into()));
        assert_eq!(ask(served, "/readyz", None), (200, "ready\n".into()));
        let (code, body) = ask(served, "/status", None);
        assert_eq!(
            (code, serde_json::from_str::<Status>(&body).unwrap()),
            (200, status)
        );
        let (code, body) = ask(served, "/metrics", None);
        assert!(
            code == 200 && body.contains("greenwich_keyspace_keys{region=\"us-east\"} 3"),
            "{body}"
        );
        assert_eq!(ask(served, "/nothing", None).0, 404);
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let not_ready = vec![
            "no client port yet".into(),
            "no replication port yet".into(),
        ];
        let served = serve_once(
            None,
            Status {
                not_ready,
                ..Status::default()
            },
        );
        assert_eq!(
            ask(served, "/readyz", None),
            (503, "no client port yet\nno replication port yet\n".into())
        );
    }

    #[test]
    fn a_token_guards_status_and_metrics_alone() {
        let served = serve_once(Some("0123456789abcdef"), Status::default());
        for path in ["/status", "/metrics", "/regions"] {
            assert_eq!(ask(served, path, None).0, 401);
            assert_eq!(ask(served, path, Some("0123456789abcdeX")).0, 401);
            assert_eq!(ask(served, path, Some("0123456789abcdef0")).0, 401);
            assert_eq!(ask(served, path, Some("0123456789abcdef")).0, 200);
        }
        assert_eq!(ask(served, "/healthz", None).0, 200);
        assert_eq!(ask(served, "/readyz", None).0, 200);
    }

    /// Whether the server closes the connection before `deadline`, whatever it says until then.
    fn is_closed_by(mut client: &TcpStream, deadline: Instant) -> bool {
        let mut rest = [0; 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            client.set_read_timeout(Some(left)).unwrap();
            match client.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }

    #[test]
    fn clients_that_say_nothing_are_closed_and_hold_up_nobody_for_long() {
        let limits = Limits {
            connections: 4,
            connection_time: Duration::from_millis(300),
        };
        let served = serve_limited(limits, None, Status::default());
        // Twice as many as there are places, one of them half-way through a request.
        let silent: Vec<_> = (0..8)
            .map(|_| TcpStream::connect(served).unwrap())
            .collect();
        (&silent[0])
            .write_all(b"GET /healthz HTTP/1.1\r\nhost")
            .unwrap();
        assert_eq!(ask(served, "/healthz", None), (200, "ok\n".into()));
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(silent.iter().all(|client| is_closed_by(client, deadline)));
    }

    #[test]
    fn no_more_connections_are_served_at_once_than_there_are_places() {
        let limits = Limits {
            connections: 1,
            connection_time: Duration::from_secs(3600),
        };
        let served = serve_limited(limits, None, Status::default());
        let silent = TcpStream::connect(served).unwrap();
        let waiting = TcpStream::connect(served).unwrap();
        (&waiting)
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        waiting
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let early = (&waiting).read(&mut [0; 16]).map_err(|error| error.kind());
        assert!(
            matches!(early, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "{early:?}"
        );
        drop(silent);
        assert!(is_closed_by(
            &waiting,
            Instant::now() + Duration::from_secs(20)
        ));
    }

    #[test]
    fn an_answer_that_is_not_read_is_given_up() {
        let limits = Limits {
            connections: 1,
            connection_time: Duration::from_millis(300),
        };
        // More than the sockets' buffers hold.
        let status = Status {
            not_ready: vec!["x".repeat(64 << 20)],
            ..Status::default()
        };
        let served = serve_limited(limits, None, status);
        let deaf = TcpStream::connect(served).unwrap();
        (&deaf)
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        // The only place is free again although the first client neither reads nor leaves.
        assert_eq!(ask(served, "/healthz", None), (200, "ok\n".into()));
    }
}
