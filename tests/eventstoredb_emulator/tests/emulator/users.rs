//! Users, as in security.txt; and TLS.

use eventstoredb_emulator::proto::client::Empty;
use eventstoredb_emulator::proto::client::gossip::gossip_client::GossipClient;
use eventstoredb_emulator::{AppendFault, Cluster, Options, TlsFiles, User};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::client::{Client, Expect, From, event, of_all, of_stream};

fn options() -> Options {
    let user = User { name: "lastseen".to_owned(), password: "p%w-ord+1".to_owned() };
    Options { users: vec![user], ..Options::default() }
}

#[track_caller]
fn denied<T>(result: Result<T, tonic::Status>) {
    let status = result.err().expect("access is denied");
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "Access Denied"));
    assert_eq!(status.metadata().get("exception").unwrap(), "access-denied");
}

#[tokio::test]
async fn a_wrong_password_or_none_is_denied() {
    let cluster = Cluster::start(options()).unwrap();
    let client = Client::to(cluster.addresses()[0]);
    let append = async |client: &Client| client.append("s", Expect::Any, vec![event("{}")]).await;
    denied(append(&client).await);
    denied(append(&client.clone().with_user("admin", "wrong")).await);
    denied(append(&client.clone().with_user("lastseen", "changeit")).await);
    denied(append(&client.clone().with_user("nobody", "p%w-ord+1")).await);
    append(&client.clone().with_user("admin", "changeit")).await.unwrap();
    append(&client.with_user("lastseen", "p%w-ord+1")).await.unwrap();
    // Clients look for the leader before they say who they are.
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.addresses()[0])).unwrap();
    assert_eq!(
        GossipClient::new(endpoint.connect_lazy()).read(Empty {}).await.unwrap().into_inner().members.len(),
        1
    );
}

#[tokio::test]
async fn a_user_reads_all_only_once_an_administrator_has_allowed_it() {
    let cluster = Cluster::start(options()).unwrap();
    let user = Client::to(cluster.addresses()[0]).with_user("lastseen", "p%w-ord+1");
    let admin = Client::to(cluster.addresses()[0]).with_user("admin", "changeit");
    let metadata = |text: &str| {
        let mut metadata = event(text);
        metadata.metadata.insert("type".to_owned(), "$metadata".to_owned());
        vec![metadata]
    };
    let acl = r#"{"$acl":{"$r":["lastseen","$admins"],"$mr":["lastseen","$admins"]}}"#;
    user.put("s", "{}").await;
    assert_eq!(user.all(of_stream("s")).await.unwrap().len(), 1);
    denied(user.all(of_all(From::Start)).await);
    denied(user.subscribe(From::Start, "s", 32).await);
    denied(user.append("$$$all", Expect::Any, metadata(acl)).await);
    admin.append("$$$all", Expect::Any, metadata(acl)).await.unwrap();
    assert!(user.all(of_all(From::Start)).await.unwrap().len() > 1);
    user.subscribe(From::Start, "s", 32).await.unwrap().caught_up().await;
    user.append("$$s", Expect::Any, metadata(r#"{"$maxCount":9}"#)).await.unwrap();
    user.delete("s").await.unwrap();
}

#[tokio::test]
async fn a_cluster_speaks_tls_and_then_asks_who_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&tls.certificate, certified.cert.pem()).unwrap();
    std::fs::write(&tls.key, certified.signing_key.serialize_pem()).unwrap();
    let cluster = Cluster::start(Options { tls: Some(tls), ..Options::default() }).unwrap();
    let trusted = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certified.cert.pem()))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", cluster.addresses()[0])).unwrap();
    let client = Client::over(endpoint.tls_config(trusted).unwrap().connect_lazy());
    denied(client.append("s", Expect::Any, vec![event("{}")]).await);
    let admin = client.with_user("admin", "changeit");
    admin.put("s", "{}").await;
    assert_eq!(admin.revisions("s").await, [0]);
    // Connections break under TLS as well.
    cluster.faults().next_append(AppendFault::DropBeforeStoring);
    let broken = admin.append("s", Expect::Any, vec![event("{}")]).await.unwrap_err();
    assert_ne!(broken.message(), "Server Is Not Ready", "{broken:?}");
    let plain = Client::to(cluster.addresses()[0]).with_user("admin", "changeit");
    assert!(plain.append("s", Expect::Any, vec![event("{}")]).await.is_err());
}
