//! Writes every key once, so that a server holds exactly so many.

use std::net::SocketAddr;

use rand::{SeedableRng, rngs::StdRng};

use super::{
    client::Client,
    connection::ConnectionError,
    dataset::Dataset,
    mix::{LOADED, key_name, put_command},
    values::Values,
};

/// Writes that are sent together.
const TOGETHER: usize = 256;

/// Sets the keys that loads on `data` ask for.
///
/// # Errors
/// [`ConnectionError`] when the server is not there, goes away, or refuses a write.
pub fn fill(address: SocketAddr, data: &Dataset, seed: u64) -> Result<(), ConnectionError> {
    let mut random = StdRng::seed_from_u64(seed);
    let values = Values::new(data.value_size, data.value_content, &mut random);
    let mut client = Client::connect(address)?;
    let mut requests = Vec::new();
    for first in (0..data.keys).step_by(TOGETHER) {
        let numbers = first..data.keys.min(first + TOGETHER as u64);
        requests.clear();
        for number in numbers.clone() {
            put_command(
                &mut requests,
                &[
                    b"SET",
                    key_name(LOADED, number).as_bytes(),
                    values.pick(&mut random),
                ],
            );
        }
        client.exchange(&requests, numbers.count(), |_| {})?;
    }
    Ok(())
}
