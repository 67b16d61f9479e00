//! Every sync is needed: without any one of them, the power-cut model finds something lost.

use lastseen_log::SyncSite;

use crate::power_cut::cut_everywhere;
use crate::support::on_all_cores;

#[test]
fn leaving_out_any_sync_is_noticed() {
    const SEEDS: u64 = 200;
    let sites = SyncSite::ALL;
    on_all_cores(0..sites.len() as u64, |site| {
        let site = sites[usize::try_from(site).expect("few")];
        let noticed =
            (0..SEEDS).find_map(|seed| cut_everywhere(seed, Some(site)).err().map(|error| (seed, error)));
        match noticed {
            Some((seed, error)) => println!("without {site:?}, seed {seed}: {error}"),
            None => panic!("{site:?} can be left out: it is not needed, or the model is too weak"),
        }
        1
    });
}
