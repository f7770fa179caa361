//! The regions of the cluster as one node knows them, and what may be asked of it: the shape of `/regions`.
//!
//! Plain data. It does not know how a change reaches other nodes.

use serde::{Deserialize, Serialize};

use crate::status::LinkState;

/// What a node answers, whatever it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Regions {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node's own region.
    pub region: String,
    /// Its number.
    pub id: u8,
    /// Where other regions find the node's replication port, in the words of one of them; none while none has said so.
    pub address: Option<String>,
    /// The other regions, those that were removed included.
    pub others: Vec<Other>,
}

/// Another region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its name.
    pub region: String,
    /// Its number.
    pub id: u8,
    /// Where its replication port is, as host:port; where it was once the region is removed.
    pub address: String,
    /// Whether it was removed from the cluster.
    pub removed: bool,
    /// Whether it was added or removed by command, whatever the node's file says.
    pub by_command: bool,
    /// Whether its node has confirmed on the present link that it knows all that this one does of the regions.
    pub informed: bool,
    /// Where the link to it stands.
    pub link: Option<LinkState>,
    /// Why it is not up.
    pub reason: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which regions there are.
    List,
    /// Adds one.
    Add(Addition),
    /// Removes one.
    Remove(Removal),
}

/// A region to be added, or to be given another address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addition {
    /// Its name.
    pub region: String,
    /// Its number.
    pub id: u8,
    /// Where its replication port is, as host:port.
    pub address: String,
}

/// A region to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Its name.
    pub region: String,
}
