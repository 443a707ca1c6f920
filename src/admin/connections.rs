//! The connections of a port: a bounded number, shared fairly between client addresses.

use std::net::IpAddr;
use tokio_util::task::AbortOnDropHandle;

/// The open connections, oldest first. A dropped connection ends.
pub struct Connections {
    max: usize,
    open: Vec<(IpAddr, AbortOnDropHandle<()>)>,
}

impl Connections {
    pub fn new(max: usize) -> Self {
        Self { max, open: Vec::with_capacity(max) }
    }

    /// Adds a connection. If there are too many, another one ends.
    pub fn admit(&mut self, peer: IpAddr, task: AbortOnDropHandle<()>) {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= self.max {
            let peers: Vec<_> = self.open.iter().map(|(peer, _)| *peer).collect();
            drop(self.open.remove(victim(&peers)));
        }
        self.open.push((peer, task));
    }
}

/// The oldest connection of the address with the most of them.
fn victim(peers: &[IpAddr]) -> usize {
    let of_its_address = |peer: &IpAddr| peers.iter().filter(|other| *other == peer).count();
    // `max_by_key` returns the last of several maxima.
    let oldest_last = peers.iter().enumerate().rev();
    oldest_last.max_by_key(|(_, peer)| of_its_address(peer)).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn peers<const N: usize>(last_bytes: [u8; N]) -> [IpAddr; N] {
        last_bytes.map(|byte| Ipv4Addr::new(10, 0, 0, byte).into())
    }

    #[test]
    fn t18_the_address_with_the_most_connections_loses_its_oldest() {
        assert_eq!(victim(&peers([1, 2, 2, 3, 2])), 1);
        assert_eq!(victim(&peers([1, 2, 1, 2])), 0);
        assert_eq!(victim(&peers([1, 2, 3])), 0);
        assert_eq!(victim(&peers([1])), 0);
    }
}
