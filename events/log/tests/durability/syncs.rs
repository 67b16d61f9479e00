//! Every sync is needed: without any one of them, the power-cut model finds something lost.

use lastseen_log::SyncSite;

use crate::power_cut::{Weakness, cut_everywhere};
use crate::support::on_all_cores;

#[test]
fn leaving_out_any_sync_is_noticed() {
    const SEEDS: u64 = 200;
    let sites = SyncSite::ALL;
    on_all_cores(0..sites.len() as u64, |site| {
        let site = sites[usize::try_from(site).expect("few")];
        let noticed = (0..SEEDS).find_map(|seed| {
            cut_everywhere(seed, Some(Weakness::LeavesOut(site))).err().map(|error| (seed, error))
        });
        match noticed {
            Some((seed, error)) => println!("without {site:?}, seed {seed}: {error}"),
            None => panic!("{site:?} can be left out: it is not needed, or the model is too weak"),
        }
        1
    });
}

/// The format relies on disks that write a sector whole or not at all: frames share sectors. Where that does not hold, an
/// acknowledged frame is lost, and the model sees it.
#[test]
fn a_disk_that_harms_what_stands_beside_a_write_is_noticed() {
    let noticed = (0..40).find_map(|seed| {
        cut_everywhere(seed, Some(Weakness::HarmsNeighbours)).err().map(|error| (seed, error))
    });
    let (seed, error) = noticed.expect("frames share sectors, or the model is too weak");
    println!("neighbours are harmed, seed {seed}: {error}");
}
