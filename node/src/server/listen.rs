//! The client port: one listening socket a thread, between which the system distributes connections.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted on each socket.
pub const BACKLOG: i32 = 1024;

/// As many sockets on one port. With port 0, the system chooses one.
///
/// # Errors
/// When the port cannot be opened: it is in use, or may not be used.
pub(super) fn listen(bind: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // A port can be shared by accident with another process that shares it too; a socket that does not share finds out.
    let probe = socket(bind, false)?;
    let address = probe.local_addr()?.as_socket().unwrap_or(bind);
    drop(probe);
    let sockets: io::Result<Vec<TcpListener>> = (0..count.max(1))
        .map(|_| {
            let socket = socket(address, true)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect();
    Ok((address, sockets?))
}

fn socket(bind: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier life that the system still remembers must not keep the port.
    socket.set_reuse_address(true)?;
    if shares_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_even_where_it_would_be_shared() {
        let (address, sockets) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        assert_eq!(
            (sockets.len(), sockets[1].local_addr().unwrap()),
            (2, address)
        );
        assert_eq!(
            listen(address, 2).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(sockets);
        assert!(listen(address, 1).is_ok());
    }
}
