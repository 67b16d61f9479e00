//! Every sync is needed: without any one of them, the power-cut model finds something lost.

use lastseen_log::SyncSite;

use crate::power_cut::cut_everywhere;

#[test]
fn leaving_out_any_sync_is_noticed() {
    const SEEDS: u64 = 40;
    for site in SyncSite::ALL {
        let noticed =
            (0..SEEDS).find_map(|seed| cut_everywhere(seed, Some(site)).err().map(|error| (seed, error)));
        match noticed {
            Some((seed, error)) => println!("without {site:?}, seed {seed}: {error}"),
            None => panic!("{site:?} can be left out: it is not needed, or the model is too weak"),
        }
    }
}
