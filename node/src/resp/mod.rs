//! The Redis protocol (RESP2 and RESP3) as bytes: requests in, replies out.
//!
//! Pure: it reads and appends byte slices and knows no sockets, no runtime, no commands and no keys.
//!
//! ```
//! use greenwich::resp::{Decoded, Decoder, Limits, Reply, Version};
//!
//! let mut decoder = Decoder::new(Limits::default(), true);
//! let input = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING\r\n*1\r\n$4\r\nQU";
//! let mut reply = Reply::new(Version::Resp2);
//! let mut start = 0;
//! let missing = loop {
//!     match decoder.decode(&input[start..])? {
//!         Decoded::Request { bytes } => {
//!             let request = decoder.request(&input[start..]);
//!             match &request[0] {
//!                 b"ECHO" => reply.bulk(&request[1]),
//!                 b"PING" => reply.simple("PONG"),
//!                 _ => reply.error("ERR unknown command"),
//!             }
//!             start += bytes;
//!         }
//!         Decoded::Empty { bytes } => start += bytes,
//!         Decoded::Incomplete { missing } => break missing,
//!     }
//! };
//! assert_eq!(missing, 4); // "IT\r\n"
//! assert_eq!(reply.as_bytes(), b"$2\r\nhi\r\n+PONG\r\n");
//! # Ok::<(), greenwich::resp::ProtocolError>(())
//! ```

mod decode;
mod encode;
mod error;
mod inline;
mod limits;
mod number;
mod request;
mod skim;

pub use decode::{Decoded, Decoder, reserve_bytes};
pub use encode::{Reply, Version};
pub use error::ProtocolError;
pub use limits::Limits;
pub use number::{format_double, parse_integer};
pub use request::{Request, RequestBuf};
pub use skim::{Skim, skim};
