//! `[tracking]` of `config/train.toml`.

use serde::{Deserialize, Serialize};

use super::require;
use crate::error::Result;

/// `[tracking]`: where else metrics go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackingSection {
    /// Address of an MLflow server; empty for none.
    pub mlflow: String,
    /// The experiment that the run belongs to; made where it is missing.
    pub experiment: String,
    /// Name of the run; empty lets the server choose one.
    pub run_name: String,
}

impl Default for TrackingSection {
    fn default() -> Self {
        Self { mlflow: String::new(), experiment: "geoseg".into(), run_name: String::new() }
    }
}

impl TrackingSection {
    pub(super) fn validate(&self) -> Result<()> {
        if self.mlflow.is_empty() {
            return Ok(());
        }
        let schemes = ["http://", "https://"];
        let host = schemes.iter().find_map(|scheme| self.mlflow.strip_prefix(scheme));
        let expected = "http://host:port or https://host:port (or empty)";
        let holds = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'));
        require(holds, "tracking.mlflow", &self.mlflow, expected)?;
        let secret = self.mlflow.contains('@');
        let expected =
            "without a password, which belongs into MLFLOW_TRACKING_USERNAME and _PASSWORD";
        require(!secret, "tracking.mlflow", "an address with one", expected)?;
        let experiment = &self.experiment;
        require(!experiment.is_empty(), "tracking.experiment", "empty", "the experiment's name")
    }
}
