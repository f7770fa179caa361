//! What regions of a scenario may be called, and how many it needs. Directories and network namespaces bear the names.

use super::problem;

/// Regions of a scenario.
const REGIONS_MAX: usize = 8;
/// Of a name: it is a part of the name of a node, which certificates hold.
const NAME_CHARS_MAX: usize = 63;

/// Why there can be no such regions, if so.
pub(super) fn refusal(regions: &[String]) -> Option<String> {
    let count = regions.len();
    if !(1..=REGIONS_MAX).contains(&count) {
        return Some(format!(
            "it has {count} regions, and there may be 1 to {REGIONS_MAX}"
        ));
    }
    if let Some(name) = regions.iter().find(|name| !is_name(name)) {
        return Some(format!(
            "regions: a name is 1 to {NAME_CHARS_MAX} lower-case letters, digits and dashes (no dash at either end), and not {name:?}"
        ));
    }
    problem::twice("regions", regions)
}

/// The rule that nodes have for the names of their regions.
fn is_name(name: &str) -> bool {
    let is_part = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let has_ends = !name.starts_with('-') && !name.ends_with('-');
    (1..=NAME_CHARS_MAX).contains(&name.len()) && has_ends && name.bytes().all(is_part)
}

/// Why a scenario that compares regions cannot be run between these, if so.
pub(super) fn lone(regions: &[String]) -> Option<String> {
    let lone = || "it compares regions, and needs at least two".to_owned();
    (regions.len() < 2).then(lone)
}

#[cfg(test)]
mod tests {
    use greenwich_replicator::identity::check_name;

    use super::*;

    fn regions(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_those_that_nodes_can_have() {
        let (longest, longer) = ("x".repeat(63), "x".repeat(64));
        for name in [
            "a",
            "us-east",
            "eu-west-2",
            "0",
            &longest,
            &longer,
            "",
            "-",
            "-a",
            "a-",
            "A",
            "a b",
            "a.b",
            "a/b",
            "../../escape",
            "/etc",
            "é",
            "a\0",
        ] {
            assert_eq!(is_name(name), check_name(name).is_ok(), "{name:?}");
        }
        assert_eq!(refusal(&regions(&["us-east", &longest])), None);
    }

    #[test]
    fn each_name_stands_for_a_directory_of_its_own() {
        let said = |names: &[&str]| refusal(&regions(names)).unwrap();
        for name in ["../../escape", "", "A"] {
            let said = said(&["a", name]);
            let allowed = "1 to 63 lower-case letters, digits and dashes";
            assert!(
                said.contains(allowed) && said.contains(&format!("{name:?}")),
                "{said}"
            );
        }
        assert_eq!(said(&["a", "b", "a"]), "regions: a is named twice");
        assert!(said(&[]).contains("0 regions"));
        assert!(said(&["a"; 9]).contains("1 to 8"));
    }
}
