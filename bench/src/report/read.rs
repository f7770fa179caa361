//! Reports of earlier runs.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{FORMAT, JSON_FILE, Report};

/// What compressed files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Report {
    /// Reads a `report.json`, or the one in a directory.
    ///
    /// # Errors
    /// When there is none, or another version of this program wrote it in a way that this one cannot read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let path = match path.is_dir() {
            true => path.join(JSON_FILE),
            false => path.to_owned(),
        };
        let name = path.display();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        ensure!(
            !bytes.starts_with(&GZIP),
            "{name} is compressed: `gunzip --keep {name}` first"
        );
        let text = String::from_utf8(bytes).with_context(|| format!("{name} cannot be used"))?;
        Self::parse(&text).with_context(|| format!("{name} cannot be used"))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let report: Value = serde_json::from_str(text).context("it is not JSON")?;
        if report.get("scenarios").is_none() {
            bail!("it is not a report of greenwich-bench");
        }
        let format = report.get("format").and_then(Value::as_u64);
        match format {
            Some(format) if format == u64::from(FORMAT) => serde_json::from_value(report).context(
                "another version of greenwich-bench wrote it: measure again with this one",
            ),
            Some(format) => bail!(
                "its format is {format}, and this greenwich-bench reads {FORMAT}: use the version that wrote it"
            ),
            None => bail!(
                "it has no format number, so an older greenwich-bench wrote it: measure again with this one"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_with_the_reason() {
        let refusal = |text: &str| format!("{:#}", Report::parse(text).unwrap_err());
        assert!(refusal("{").contains("not JSON"));
        assert!(refusal("[1]").contains("not a report"));
        assert!(refusal(r#"{"scenarios":[]}"#).contains("no format number"));
        assert!(refusal(r#"{"scenarios":[],"format":999}"#).contains("format is 999"));
        let unknown = r#"{"scenarios":[{"name":"x"}],"format":1}"#;
        assert!(refusal(unknown).contains("another version"));
        let missing = Report::read(Path::new("/nowhere.json")).unwrap_err();
        assert!(missing.to_string().contains("cannot read /nowhere.json"));
        let home = tempfile::tempdir().expect("a directory");
        let compressed = home.path().join("report.json.gz");
        std::fs::write(&compressed, [0x1f, 0x8b, 8, 0]).expect("a file");
        let refusal = Report::read(&compressed).unwrap_err().to_string();
        assert!(refusal.contains("gunzip"), "{refusal}");
    }
}
