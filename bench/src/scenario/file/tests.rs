use super::*;

#[test]
fn all_that_come_with_the_program_are_read() {
    assert!(!Suite::Quick.scenarios().is_empty());
    assert_eq!(
        Suite::Quick.scenarios().len(),
        Suite::Full.scenarios().len()
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let refusal = |text: &str| ScenarioFile::parse("x", text).unwrap_err().to_string();
    let start = "servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n";
    assert!(refusal("servers = []\nregions = [\"a\"]\n").contains("names no server"));
    assert!(refusal(start).contains("exactly one table"));
    let lag = "[lag]\ndata = { keys = 1, spread = \"uniform\", value_size = \"1\" }\nconnections = 1\nlength = \"2s\"\nwarm_up = \"1s\"\n";
    let case = |case: &str| refusal(&format!("{start}{lag}cases = [{case}]\n"));
    assert!(case("").contains("at least one"));
    for (wrong, reason) in [
        ("{ rate = 0 }", "rate must be"),
        (
            "{ rate = 1, network.link = { loss_percent = 101 } }",
            "loss_percent must be 0 to 100",
        ),
        (
            "{ rate = 1, writers = [\"c\"] }",
            "writers: there is no region \"c\"",
        ),
        (
            "{ rate = 1, faults = [{ at = \"1s\", kill = \"c\" }] }",
            "fault 1: there is no region \"c\"",
        ),
        (
            "{ rate = 1, faults = [{ at = \"1s\", kill = \"a\" }, { at = \"2s\", start = \"a\" }] }",
            "fault 2: 2s is not before the end",
        ),
    ] {
        let said = case(&format!("{{ rate = 1 }},\n  {{ rate = 2 }},\n  {wrong}"));
        let place = "the scenario x is wrong: line 10, lag, case 3: ";
        assert!(said.starts_with(place) && said.contains(reason), "{said}");
    }
    let connections = refusal(&format!(
        "{start}{}cases = [{{ rate = 1 }}]\n",
        lag.replace("connections = 1", "connections = 0")
    ));
    assert!(connections.contains("line 3, lag: "), "{connections}");
    let regions = refusal("servers = [\"redis\"]\nregions = [\"A\"]\n");
    assert!(regions.contains("line 2, regions: "), "{regions}");
    for (length, reason) in [
        ("\"80 parsecs\"", "such as 80ms or 1m 30s"),
        ("2", "such as \"80ms\" or \"1m 30s\""),
        ("\"9000000000years\"", "7 days"),
    ] {
        let said = refusal(&format!(
            "{start}{}cases = [{{ rate = 1 }}]\n",
            lag.replace("\"2s\"", length)
        ));
        assert!(said.contains("line 6") && said.contains(reason), "{said}");
    }
    let unknown = refusal(&format!("{start}[local]\nkyes = 3\n"));
    assert!(
        unknown.contains("line 4") && unknown.contains("kyes"),
        "{unknown}"
    );
}

#[test]
fn regions_are_what_can_be_compared() {
    let refusal = |regions: &str, table: &str| {
        let text = format!("servers = [\"redis\"]\nregions = {regions}\n{table}\n");
        let parsed = ScenarioFile::parse("x", &text);
        parsed.err().map(|error| error.to_string())
    };
    let data = "data = { keys = 1, spread = \"uniform\", value_size = \"1\" }\nconnections = 1\n";
    let local = format!(
        "[local]\n{data}rounds = 1\nturn = \"1s\"\ncases = [{{ mix = \"get\", pipeline = 1 }}]"
    );
    let lag = format!("[lag]\n{data}length = \"2s\"\nwarm_up = \"1s\"\ncases = [{{ rate = 1 }}]");
    let conflict = "[conflict]\nkeys = 1\nrounds = 1\ntypes = [\"set\"]\nsettle_limit = \"1s\"";
    let partition = format!(
        "[partition]\nmix = \"get\"\n{data}before = \"1s\"\nsettle_limit = \"1s\"\ncases = [{{ rate = 1, cut = \"1s\" }}]"
    );
    let restart = format!(
        "[restart]\nmix = \"get\"\n{data}before = \"1s\"\ndown = \"1s\"\nsettle_limit = \"1s\"\ncases = [{{ rate = 1 }}]"
    );
    let soak = format!(
        "[soak]\nmix = \"get\"\n{data}rate = 1\nlength = \"2s\"\nwarm_up = \"1s\"\nsettle_limit = \"1s\""
    );
    let escape = refusal("[\"../../escape\"]", &local).unwrap();
    assert!(escape.contains("lower-case letters"), "{escape}");
    assert!(refusal("[\"a\", \"a\"]", &local).unwrap().contains("twice"));
    for table in [&*lag, conflict, &partition, &restart] {
        let said = refusal("[\"a\"]", table).expect(table);
        assert!(said.contains("needs at least two"), "{said}");
        assert_eq!(refusal("[\"a\", \"b\"]", table), None);
    }
    for table in [&local, &soak] {
        assert_eq!(refusal("[\"a\"]", table), None);
    }
    let far = format!("{soak}\nnetwork.link = {{ rtt = \"80ms\" }}");
    let said = refusal("[\"a\"]", &far).expect("a link needs two ends");
    assert!(
        said.contains("network") && said.contains("one region"),
        "{said}"
    );
    assert_eq!(refusal("[\"a\", \"b\"]", &far), None);
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.toml");
    std::fs::write(&path, "servers = []\nregions = [\"a\"]\n").unwrap();
    let said = ScenarioFile::read(&path).unwrap_err().to_string();
    let place = format!("the scenario {} is wrong: line 1, ", path.display());
    assert!(said.starts_with(&place), "{said}");
}

const LAG: &str = "[lag]\nDATAlength = \"2s\"\nwarm_up = \"0s\"\ncases = [{ rate = 2, \
        until = { p99_over = \"9ms\", factor = 1.5, rate_max = 3 }, \
        faults = [{ at = \"1s\", clock-step = { region = \"a\", seconds = 3600.0 } }, { at = \"1s\", cut = [\"b\", \"a\"] }] }]";
const CONFLICT: &str = "[conflict]\nkeys = 1\nrounds = 1\ntypes = [\"set\"]\nsettle_limit = \"4s\"";
const PARTITION: &str = "[partition]\nmix = \"get\"\nDATAbefore = \"3s\"\nsettle_limit = \"4s\"\n\
        cases = [{ rate = 1, cut = \"5s\" }]";
const RESTART: &str = "[restart]\nmix = \"get\"\nDATAbefore = \"3s\"\ndown = \"5s\"\nsettle_limit = \"4s\"\n\
        cases = [{ rate = 1 }]";
const SOAK: &str =
    "[soak]\nmix = \"get\"\nDATArate = 1\nlength = \"2s\"\nwarm_up = \"1s\"\nsettle_limit = \"4s\"";
const LOCAL: &str =
    "[local]\nDATArounds = 1\nturn = \"6s\"\ncases = [{ mix = \"get\", pipeline = 1 }]";
/// A table, what is right in it, what is wrong instead, and what is said of it.
const WRONG: &[(&str, &str, &str, &str)] = &[
    (
        LAG,
        "\"0s\"",
        "\"0s\"\nnever_after = \"51s\"",
        "never_after must be above 0 and at most 50s",
    ),
    (
        LAG,
        "\"0s\"",
        "\"0s\"\nnever_after = \"0s\"",
        "never_after must be above 0",
    ),
    (LAG, "factor = 1.5", "factor = nan", "factor must be"),
    (LAG, "factor = 1.5", "factor = 1", "factor must be"),
    (LAG, "factor = 1.5", "factor = inf", "factor must be"),
    (
        LAG,
        "rate_max = 3",
        "rate_max = 1",
        "rate_max must be at least rate",
    ),
    (LAG, "rate_max = 3", "rate_max = nan", "rate_max must be"),
    (LAG, "9ms", "0ms", "p99_over must be above 0"),
    (LAG, "rate = 2", "rate = 1e-9", "rate must be"),
    (LAG, "keys = 1", "keys = 10_000_000_000", "keys must be"),
    (
        LAG,
        "rate = 2",
        "writers = [\"a\", \"a\"], rate = 2",
        "writers: a is named twice",
    ),
    (LAG, "3600.0", "nan", "fault 1: a clock steps by at most"),
    (
        LAG,
        "[\"b\", \"a\"]",
        "[\"b\", \"b\"]",
        "fault 2: a link is between two regions",
    ),
    (CONFLICT, "4s", "0s", "settle_limit must be above 0"),
    (CONFLICT, "4s", "8days", "7 days"),
    (
        CONFLICT,
        "keys = 1",
        "keys = 10_000_000_000",
        "keys must be",
    ),
    (
        CONFLICT,
        "[\"set\"]",
        "[\"set\", \"set\"]",
        "types: set is named twice",
    ),
    (PARTITION, "3s", "0s", "before must be above 0"),
    (PARTITION, "4s", "0s", "settle_limit must be above 0"),
    (PARTITION, "5s", "0s", "case 1: cut must be above 0"),
    (RESTART, "3s", "0s", "before must be above 0"),
    (RESTART, "5s", "0s", "down must be above 0"),
    (RESTART, "4s", "0s", "settle_limit must be above 0"),
    (RESTART, "rate = 1", "rate = 0", "case 1: rate must be"),
    (SOAK, "4s", "0s", "settle_limit must be above 0"),
    (LOCAL, "6s", "0s", "turn must be above 0"),
    (
        LOCAL,
        "pipeline = 1",
        "pipeline = 0",
        "case 1: pipeline must be",
    ),
];

#[test]
fn settings_that_never_end_or_never_begin_are_refused() {
    let data = "data = { keys = 1, spread = \"uniform\", value_size = \"1\" }\nconnections = 1\n";
    let whole = |table: &str| table.replace("DATA", data);
    let refusal = |table: &str| {
        let text = format!("servers = [\"redis\"]\nregions = [\"a\", \"b\"]\n{table}\n");
        let parsed = ScenarioFile::parse("x", &text);
        parsed.err().map(|error| error.to_string())
    };
    for table in [LAG, CONFLICT, PARTITION, RESTART, SOAK, LOCAL] {
        assert_eq!(refusal(&whole(table)), None, "{table}");
    }
    for &(table, right, wrong, reason) in WRONG {
        let said = refusal(&whole(table).replace(right, wrong)).expect(wrong);
        assert!(said.contains(reason), "{wrong}: {said}");
    }
}
