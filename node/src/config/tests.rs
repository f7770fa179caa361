use std::path::Path;

use super::*;

const REGION: &str = "[region]\nname = \"us-east\"\nid = 1\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("node.toml"))
}

fn refusal(text: &str) -> String {
    parse(text)
        .expect_err("the text must be refused")
        .to_string()
}

/// A file whose lines after the region are `lines`: they start at line 4.
fn refusal_after_region(lines: &str) -> String {
    refusal(&format!("{REGION}{lines}"))
}

#[test]
fn every_default_is_what_the_printed_configuration_says() {
    let printed = parse(REGION).unwrap().to_commented_toml();
    let settings: Vec<&str> = printed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .collect();
    assert_eq!(
        settings,
        [
            "cluster = \"greenwich\"",
            "data_dir = \"data\"",
            "[region]",
            "name = \"us-east\"",
            "id = 1",
            "[client]",
            "bind = \"127.0.0.1:6401\"",
            "threads = 0",
            "max_clients = 10000",
            "output_buffer_limit = \"64MiB\"",
            "query_buffer_limit = \"1GiB\"",
            "max_value_size = \"512MiB\"",
            "idle_timeout = \"0s\"",
            "[admin]",
            "bind = \"127.0.0.1:9401\"",
            "[replication]",
            "bind = \"127.0.0.1:7401\"",
            "ca = \"ca.pem\"",
            "cert = \"cert.pem\"",
            "key = \"key.pem\"",
            "congestion = \"steady\"",
            "compression = \"none\"",
            "log_limit = \"256MiB\"",
            "batch_limit = \"64KiB\"",
            "flush_interval = \"750us\"",
            "in_flight_min = \"1MiB\"",
            "in_flight_max = \"64MiB\"",
            "max_skew = \"5s\"",
            "loading_patience = \"10s\"",
            "horizon = \"1day\"",
            "horizon_bytes = \"256MiB\"",
            "[log]",
            "level = \"info\"",
            "format = \"text\"",
        ]
    );
}

#[test]
fn every_printed_setting_has_a_description_above_it() {
    let printed = Config::example("us-east", 1).to_commented_toml();
    let mut above = "";
    for line in printed.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if line.contains(" = ") && !line.starts_with('#') || bare.ends_with(" is not set") {
            assert!(above.starts_with("# "), "no description above: {line}");
        }
        above = line;
    }
    assert!(
        printed.contains("# password is not set"),
        "optional settings are shown:\n{printed}"
    );
}

#[test]
fn a_printed_configuration_reads_as_itself() {
    let text = format!(
        "{REGION}[[replication.peers]]\nregion = \"b\"\nid = 2\naddress = \"b.example:7401\"\n\
         [[emulation]]\npeer = \"b\"\ndelay = \"40ms\"\njitter = \"2ms\"\nloss = \"1%\"\nrate = \"100mbit\"\n"
    );
    let config = parse(&text).unwrap();
    assert_eq!(config.emulation[0].rate, Some(BitRate(100_000_000)));
    assert_eq!(parse(&config.to_commented_toml()).unwrap(), config);
}

#[test]
fn a_printed_configuration_hides_secrets() {
    let text = format!("{REGION}[client]\npassword = \"hunter2\"\n");
    let printed = parse(&text).unwrap().to_commented_toml();
    assert!(printed.contains("password = \"(hidden)\""), "{printed}");
    assert!(!printed.contains("hunter2"));
}

#[test]
fn an_unknown_field_is_refused_with_its_line_and_what_is_allowed() {
    let text = refusal_after_region("[client]\nmaxclients = 5\n");
    assert!(
        text.starts_with("node.toml:5: unknown field `maxclients`, expected one of"),
        "{text}"
    );
    assert!(text.contains("`max_clients`"), "{text}");
    let text = refusal_after_region("[clients]\n");
    assert!(
        text.starts_with("node.toml:4: unknown field `clients`"),
        "{text}"
    );
}

#[test]
fn a_missing_region_is_refused() {
    let text = refusal("cluster = \"a\"\n");
    assert_eq!(text, "node.toml:1: missing field `region`");
}

#[test]
fn a_bad_value_is_refused_with_its_line_and_what_is_allowed() {
    let cases = [
        (
            "[replication]\nlog_limit = 5\n",
            "node.toml:5:",
            "a size such as",
        ),
        (
            "[replication]\nflush_interval = \"1 fortnight\"\n",
            "node.toml:5:",
            "a duration such as",
        ),
        (
            "[replication]\ncongestion = \"reno\"\n",
            "node.toml:5:",
            "expected `steady` or `cubic`",
        ),
        (
            "[client]\nbind = \"nowhere\"\n",
            "node.toml:5:",
            "socket address",
        ),
        ("[client]\nthreads = -1\n", "node.toml:5:", "expected usize"),
        ("[log]\nlevel = \n", "node.toml:5:", "string"),
    ];
    for (lines, place, allowed) in cases {
        let text = refusal_after_region(lines);
        assert!(
            text.starts_with(place) && text.contains(allowed),
            "{lines} gave: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn relations_between_settings_are_checked() {
    let cases = [
        (
            "\n[replication]\nbatch_limit = \"2MiB\"\n",
            "node.toml:6: `replication.batch_limit` must be 1KiB to 1MiB",
        ),
        (
            "[replication]\nlog_limit = \"8KiB\"\n",
            "node.toml:5: `replication.log_limit` must hold",
        ),
        (
            "[replication]\nin_flight_max = \"64KiB\"\n",
            "node.toml:5: `replication.in_flight_max` must not",
        ),
        (
            "[replication]\nmax_skew = \"0s\"\n",
            "node.toml:5: `replication.max_skew` must be 10ms to 1h",
        ),
        (
            "[replication]\nhorizon = \"500ms\"\n",
            "node.toml:5: `replication.horizon` must be 1s or more, and is 500ms",
        ),
        (
            "[replication]\nhorizon_bytes = \"1kB\"\n",
            "node.toml:5: `replication.horizon_bytes` must be 1MiB or more",
        ),
        (
            "[client]\nquery_buffer_limit = \"1MiB\"\n",
            "node.toml:5: `client.query_buffer_limit` must exceed",
        ),
        (
            "[client]\nquery_buffer_limit = \"4GiB\"\n",
            "node.toml:5: `client.query_buffer_limit` must be less than 4GiB",
        ),
        (
            "[admin]\nbind = \"0.0.0.0:9401\"\n",
            "node.toml:5: `admin.bind` is 0.0.0.0:9401, which is not loopback",
        ),
        (
            "[admin]\ntoken = \"short\"\n",
            "node.toml:5: `admin.token` must have 16",
        ),
    ];
    for (lines, expected) in cases {
        let text = refusal_after_region(lines);
        assert!(text.starts_with(expected), "{lines} gave: {text}");
    }
    let text = refusal("[region]\nname = \"US East\"\nid = 1\n");
    assert!(
        text.starts_with("node.toml:2: `region.name` must be 1 to 63 lower-case"),
        "{text}"
    );
}

#[test]
fn peers_and_emulation_must_fit_together() {
    let peer = "[[replication.peers]]\nregion = \"b\"\nid = 2\naddress = \"b:7401\"\n";
    let cases = [
        (
            format!("{peer}{peer}"),
            "node.toml:9: `replication.peers.1.region` is \"b\"",
        ),
        (
            peer.replace("2", "1"),
            "node.toml:6: `replication.peers.0.id` is 1",
        ),
        (
            peer.replace("2", "64"),
            "node.toml:6: `replication.peers.0.id` must be 1 to 63",
        ),
        (
            peer.replace("b:7401", "b"),
            "node.toml:7: `replication.peers.0.address` must be \"host:port\"",
        ),
        (
            "[[emulation]]\npeer = \"c\"\n".into(),
            "node.toml:5: `emulation.0.peer` is \"c\"",
        ),
        (
            format!("{peer}[[emulation]]\npeer = \"b\"\njitter = \"1ms\"\n"),
            "node.toml:10: `emulation.0.jitter`",
        ),
        (
            format!("{peer}[[emulation]]\npeer = \"b\"\nloss = \"100%\"\n"),
            "node.toml:10: `emulation.0.loss`",
        ),
    ];
    for (lines, expected) in cases {
        let text = refusal_after_region(&lines);
        assert!(text.starts_with(expected), "{lines} gave: {text}");
    }
}

#[test]
fn a_relation_with_a_default_names_the_table_around_it() {
    let text = refusal_after_region("[replication]\nin_flight_min = \"65MiB\"\n");
    assert!(
        text.contains("replication.in_flight_max") && text.starts_with("node.toml:4:"),
        "{text}"
    );
}

#[test]
fn relative_paths_start_at_the_directory_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    fs::write(
        &file,
        format!("{REGION}[replication]\nca = \"/etc/ca.pem\"\n"),
    )
    .unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.data_dir, directory.path().join("data"));
    assert_eq!(config.replication.ca, Path::new("/etc/ca.pem"));
    assert_eq!(config.replication.key, directory.path().join("key.pem"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let text = Config::load(Path::new("no/such/node.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("cannot read the configuration no/such/node.toml"),
        "{text}"
    );
}

#[test]
fn every_file_in_deploy_config_is_accepted() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config");
    let files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        Config::load(&file).unwrap_or_else(|refused| panic!("{refused}"));
    }
}
