//! Appends: positions, expected states, repeats, sizes.

use tonic::Code;
use uuid::Uuid;

use super::{Asked, id};
use crate::ground::Ground;
use crate::raw::{Appended, Expect, From, event, filtered, of_all, of_stream, proposed, with_id};
use crate::waiting::wait;

/// An append of several events tells the place of the last one, and both kinds of position are one number.
pub(crate) fn an_answer_has_the_position_of_its_last_event(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let stream = asked.stream("a");
        let events = (0..5).map(|_| event("{}")).collect();
        let told = asked.client.append(&stream, Expect::Any, events).await.unwrap();
        let seen = asked.client.seen(of_stream(&stream)).await;
        assert_eq!(seen.len(), 5);
        assert_eq!(told, Appended::At(Some(4), seen[4].position));
        let all = asked.client.seen(filtered(of_all(From::Start), &asked.prefix, 4096)).await;
        assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
        assert_eq!(all.len(), 5);
    });
}

/// Type, data and metadata come back byte for byte, with the leader's clock.
pub(crate) fn an_event_comes_back_as_it_was_appended(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let (stream, id) = (asked.stream("a"), id());
        let data = r#"{"user":"Zoë \u0007 \"quoted\"","n":1.50}"#;
        let message = proposed(id, "login", data, r#"{"lastseen":1}"#);
        asked.client.append(&stream, Expect::Any, vec![message]).await.unwrap();
        let text = proposed(Uuid::new_v4(), "login", "no json", "\u{1}\u{2}");
        asked.client.append(&stream, Expect::Any, vec![text]).await.unwrap();
        let seen = asked.client.seen(of_stream(&stream)).await;
        assert_eq!((seen[0].id, seen[0].event_type.as_str()), (id, "login"));
        assert_eq!(seen[0].data, data.as_bytes());
        assert_eq!(seen[0].metadata, br#"{"lastseen":1}"#);
        assert_eq!((&seen[1].data[..], &seen[1].metadata[..]), (&b"no json"[..], &b"\x01\x02"[..]));
        assert!(seen[0].ticks > 17_000_000_000_000_000 && seen[0].ticks <= seen[1].ticks);
    });
}

/// The state of the stream decides; a repeat under a state is known without a limit in time.
pub(crate) fn an_append_is_stored_only_in_the_state_that_it_expects(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let (stream, client) = (asked.stream("a"), &asked.client);
        let append =
            async |expect, id| client.append(&stream, expect, vec![with_id(id, "{}")]).await.unwrap();
        let first = id();
        assert_eq!(append(Expect::Exists, id()).await, Appended::Wrong(None));
        assert_eq!(append(Expect::At(7), id()).await, Appended::Wrong(None));
        let stored = append(Expect::None, first).await;
        assert_eq!(append(Expect::None, id()).await, Appended::Wrong(Some(0)));
        assert_eq!(append(Expect::At(7), id()).await, Appended::Wrong(Some(0)));
        assert_eq!(append(Expect::None, first).await, stored, "a repeat");
        assert!(matches!(append(Expect::At(0), id()).await, Appended::At(Some(1), _)));
        assert_eq!(append(Expect::None, first).await, stored, "a repeat, though the stream went on");
    });
}

/// After so many other ids that the cluster has forgotten it, an id is known by the revision and stored again without one.
pub(crate) fn an_id_is_known_by_revision_for_ever_and_otherwise_for_a_while(ground: &Ground) {
    /// Bytes that the name of a stream has in the figures of the ledger.
    const NAME: usize = 51;
    let asked = Asked::one(ground);
    wait(async {
        let name = |kind: &str| {
            let stream = asked.stream(kind);
            format!("{stream}{}", "n".repeat(NAME.saturating_sub(stream.len())))
        };
        let (client, others) = (&asked.client, name("others"));
        let ids = [id(), id(), id()];
        let streams = [name("none"), name("any1"), name("any2")];
        let mut stored = Vec::new();
        for ((stream, id), expect) in streams.iter().zip(ids).zip([Expect::None, Expect::Any, Expect::Any]) {
            stored.push(client.append(stream, expect, vec![with_id(id, "{}")]).await.unwrap());
        }
        let others = async |count: usize| {
            for _ in 0..count / 1_000 {
                let events = (0..1_000).map(|_| event("{}")).collect();
                client.append(&others, Expect::Any, events).await.unwrap();
            }
        };
        let again = async |stream: usize, expect| {
            client.append(&streams[stream], expect, vec![with_id(ids[stream], "{}")]).await.unwrap()
        };
        others(40_000).await;
        assert_eq!(again(1, Expect::Any).await, stored[1], "known after 40,000 others");
        others(80_000).await;
        assert!(
            matches!(again(2, Expect::Any).await, Appended::At(Some(1), _)),
            "stored again after 120,000"
        );
        assert_eq!(again(0, Expect::None).await, stored[0], "known by its revision");
    });
}

/// A repeat is a success with the first position, and its content is lost.
pub(crate) fn a_known_id_again_is_a_success_with_its_first_position(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let (stream, client, first) = (asked.stream("a"), &asked.client, id());
        let stored = client.append(&stream, Expect::Any, vec![with_id(first, "{}")]).await.unwrap();
        client.append(&stream, Expect::Any, vec![event("{}")]).await.unwrap();
        for data in ["{}", r#"{"other":1}"#] {
            let again = client.append(&stream, Expect::Any, vec![with_id(first, data)]).await.unwrap();
            assert_eq!(again.position(), stored.position());
        }
        assert_eq!(client.seen(of_stream(&stream)).await.len(), 2);
        let other = asked.stream("b");
        let elsewhere = client.append(&other, Expect::Any, vec![with_id(first, "{}")]).await.unwrap();
        assert!(elsewhere.position() > stored.position(), "stored in another stream");
    });
}

/// The reason why the store sends single events once it has no answer.
pub(crate) fn only_the_first_id_of_an_append_decides(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let client = &asked.client;
        let append = async |stream: &str, ids: &[Uuid]| {
            let events = ids.iter().map(|id| with_id(*id, "{}")).collect();
            client.append(&asked.stream(stream), Expect::Any, events).await.unwrap()
        };
        let one = id();
        append("twice", &[one, one]).await;
        assert_eq!(client.seen(of_stream(&asked.stream("twice"))).await.len(), 2, "both are stored");
        // The cluster knows the last stream of an id only.
        let (one, two) = (id(), id());
        append("new", &[one]).await;
        append("new", &[two, one]).await;
        assert_eq!(client.seen(of_stream(&asked.stream("new"))).await.len(), 3, "the known one again");
        let (one, two) = (id(), id());
        append("known", &[one]).await;
        assert!(matches!(append("known", &[one, two]).await, Appended::Wrong(_)));
        assert_eq!(client.seen(of_stream(&asked.stream("known"))).await.len(), 1);
    });
}

/// Servers before 25.1 take a mebibyte. A later one differs, and the store does without the number.
pub(crate) fn an_append_has_a_mebibyte_at_most(ground: &Ground) {
    let asked = Asked::one(ground);
    wait(async {
        let (stream, client) = (asked.stream("a"), &asked.client);
        let of = |kibibytes: usize| event(&format!("\"{}\"", "x".repeat(kibibytes * 1024 - 2)));
        client.append(&stream, Expect::Any, vec![of(1_023)]).await.unwrap();
        for events in [vec![of(1_025)], vec![of(600), of(600)]] {
            let status = client.append(&stream, Expect::Any, events).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert_eq!(status.metadata().get("exception").unwrap(), "maximum-append-size-exceeded");
        }
        assert_eq!(client.seen(of_stream(&stream)).await.len(), 1);
    });
}
