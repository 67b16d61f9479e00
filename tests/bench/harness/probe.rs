//! An open loop: requests at fixed times, however slowly they are answered.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::connection::is_whole;
use super::latency::Latencies;
use super::load::Load;

/// Sends a request `every` so often for `span`; latencies count from when each was due, so a slow answer is not left out
/// of them by making the next request late.
pub(crate) fn open_loop(
    address: &str,
    (span, every): (Duration, Duration),
    mut request: impl FnMut(usize) -> Vec<u8>,
) -> Load {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a socket takes its options");
    let (mut all, started) = (Vec::new(), Instant::now());
    for number in 0.. {
        let due = started + every * number;
        if due > started + span {
            break;
        }
        let request = request(number as usize);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        round_trip(&mut stream, &request).expect("the server answers 200");
        all.push(due.elapsed());
    }
    Load { latencies: Latencies::new(all), elapsed: started.elapsed() }
}

fn round_trip(stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    stream.write_all(request)?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !is_whole(&answer)? {
        let read = stream.read(&mut part)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..read]);
    }
    Ok(())
}
