//! What one request may ask for. It does not know where the values are configured.

/// Bounds on one request; each is checked before anything of that size is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument in bytes. Default 512 MiB, as `proto-max-bulk-len` of redis-server.
    pub bulk_bytes_max: usize,
    /// Most arguments in a request. Default 1,048,576; redis-server 7 stops at the largest `int`,
    /// which no buffer within `request_bytes_max` holds.
    pub args_max: usize,
    /// Longest inline request, and longest `*` or `$` header line, in bytes without the line end.
    /// Default 64 KiB, as redis-server.
    pub inline_bytes_max: usize,
    /// Most arguments before the client has authenticated. Default 10, as redis-server.
    pub unauthenticated_args_max: usize,
    /// Longest argument in bytes before the client has authenticated. Default 16 KiB, as redis-server.
    pub unauthenticated_bulk_bytes_max: usize,
    /// Longest request in bytes, headers included. Default 1 GiB, as `client-query-buffer-limit`
    /// of redis-server. 32 bits wide because argument offsets are kept in 32 bits.
    pub request_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 << 20,
            args_max: 1 << 20,
            inline_bytes_max: 64 << 10,
            unauthenticated_args_max: 10,
            unauthenticated_bulk_bytes_max: 16 << 10,
            request_bytes_max: 1 << 30,
        }
    }
}
