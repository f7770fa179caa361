//! Writes every key once, so that a server holds exactly so many.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    connection::ConnectionError,
    mix::{key_name, put_command},
    reply,
    values::Values,
};

/// Writes that are sent together.
const TOGETHER: u64 = 256;
/// The longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Sets the keys `0..keys` that loads ask for.
///
/// # Errors
/// [`ConnectionError`] when the server is not there, goes away, or refuses a write.
pub fn fill(
    address: SocketAddr,
    keys: u64,
    values: &Values,
    seed: u64,
) -> Result<(), ConnectionError> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut requests = Vec::new();
    let mut unread = Vec::new();
    for first in (0..keys).step_by(TOGETHER as usize) {
        let numbers = first..keys.min(first + TOGETHER);
        requests.clear();
        for number in numbers.clone() {
            put_command(
                &mut requests,
                &[
                    b"SET",
                    key_name('k', number).as_bytes(),
                    values.pick(&mut random),
                ],
            );
        }
        stream.write_all(&requests)?;
        for _ in numbers {
            take_answer(&mut stream, &mut unread)?;
        }
    }
    Ok(())
}

/// Reads one reply, and what follows it into `unread`.
fn take_answer(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<(), ConnectionError> {
    loop {
        if let Some(answer) = reply::scan(unread)? {
            if answer.is_error {
                let text = String::from_utf8_lossy(&unread[1..answer.bytes])
                    .trim()
                    .to_owned();
                return Err(ConnectionError::Refused(text));
            }
            unread.drain(..answer.bytes);
            return Ok(());
        }
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer)? {
            0 => return Err(ConnectionError::Closed),
            read => unread.extend_from_slice(&buffer[..read]),
        }
    }
}
