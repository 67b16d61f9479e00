//! Users who are no administrators.

use eventstoredb_emulator::{Options, User};

use crate::cluster::{Emulated, TestCluster};
use crate::ground::Ground;
use crate::raw::{Client, Expect, From, event, of_all, of_stream, proposed};
use crate::waiting::{enter, wait};

/// A user may do everything but read `$all`, until an administrator allows it.
pub(crate) fn a_user_reads_all_only_once_it_is_allowed(_: &Ground) {
    let user = User { name: "plain".to_owned(), password: "secret".to_owned() };
    let cluster = Emulated::start(Options { users: vec![user], ..Options::default() });
    let context = enter();
    let raw = || Client::to(cluster.script().addresses()[0]);
    let (plain, admin) = (raw().with_user("plain", "secret"), raw().with_user("admin", "changeit"));
    drop(context);
    wait(async {
        plain.append("s", Expect::Any, vec![event("{}")]).await.unwrap();
        assert_eq!(plain.seen(of_stream("s")).await.len(), 1);
        assert!(plain.all(of_all(From::Start)).await.is_err());
        assert!(plain.subscribe(From::Start, "s", 32).await.is_err());
        let rights = r#"{"$acl":{"$r":["plain","$admins"],"$mr":["plain","$admins"]}}"#;
        let metadata = || vec![proposed(uuid::Uuid::new_v4(), "$metadata", rights, "")];
        assert!(plain.append("$$$all", Expect::Any, metadata()).await.is_err());
        admin.append("$$$all", Expect::Any, metadata()).await.unwrap();
        assert!(!plain.all(of_all(From::Start)).await.unwrap().is_empty());
        plain.delete("s").await.unwrap();
    });
}
