//! What servers of tests share.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use greenwich_bench::load::reply;

/// Gives each request of a connection to `answer`, and sends back what that returns, until the connection ends.
pub(crate) fn answer_all(mut stream: TcpStream, mut answer: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut unread = Vec::new();
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        unread.extend_from_slice(&buffer[..read]);
        let mut replies = Vec::new();
        while let Some(request) = reply::scan(&unread).expect("a request of the protocol") {
            let request: Vec<u8> = unread.drain(..request.bytes).collect();
            replies.extend(answer(&request));
        }
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}
