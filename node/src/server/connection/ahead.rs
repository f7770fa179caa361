//! Looks ahead in a pipeline: while its first command runs, the memory of the keys behind it is on its way to the
//! processor. (Valkey 8 does the same for the commands of several clients.)

use greenwich_proto::store::{AT_ONCE, Store};

use crate::{keyspace::Keyspace, resp::skim};

/// Has the keys of the next requests in `input` fetched. Returns how many bytes those requests take, at least one.
pub(super) fn foresee(keyspace: &Keyspace, input: &[u8]) -> usize {
    let mut keys = [b"".as_slice(); AT_ONCE];
    let mut requests = skim(input);
    let mut count = 0;
    for (slot, key) in keys.iter_mut().zip(requests.by_ref()) {
        *slot = key;
        count += 1;
    }
    // A request alone has nobody to wait with.
    if count > 1 {
        keyspace.prefetch(&keys[..count]);
    }
    (input.len() - requests.rest().len()).max(1)
}
