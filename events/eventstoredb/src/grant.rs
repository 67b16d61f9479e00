//! The right to read `$all`, which only administrators have unless it is given.

use std::time::Duration;

use eventstore::{AppendToStreamOptions, Error, EventData, ReadStreamOptions, StreamPosition, StreamState};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::ClusterSettings;
use crate::supervisor::{Fault, Lease, Supervisor};

/// Gives `user` the right to read `$all`, on top of those who have it. The settings have the name of an administrator. Waits for the
/// cluster.
///
/// # Errors
/// [`Fault`]; that the cluster does not answer after a minute.
pub async fn grant_read(settings: &ClusterSettings, user: &str) -> Result<(), Fault> {
    const PATIENCE: Duration = Duration::from_mins(1);
    let supervisor = Supervisor::new(settings.clone());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lease = supervisor.lease().await?;
        match give(&supervisor, &lease, user).await {
            Err(Fault::Unreachable(cause)) if Instant::now() < deadline => {
                tracing::debug!(cause, "the cluster is asked again");
                supervisor.failed(&lease).await;
            }
            done => return done,
        }
    }
}

async fn give(supervisor: &Supervisor, lease: &Lease, user: &str) -> Result<(), Fault> {
    /// The stream of the metadata of `$all`.
    const METADATA: &str = "$$$all";
    let newest = ReadStreamOptions::default().backwards().position(StreamPosition::End).max_count(1);
    let options = supervisor.authenticated(newest, ReadStreamOptions::authenticated);
    let read = async {
        let mut events = lease.client.read_stream(METADATA, &options).await?;
        match events.next().await {
            Ok(event) => Ok(event),
            Err(Error::ResourceNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let found = supervisor.within("read the rights of $all", read).await?;
    let mut expected = StreamState::NoStream;
    let mut before = json!({});
    if let Some(event) = &found {
        let event = event.get_original_event();
        expected = StreamState::StreamRevision(event.revision);
        before = event.as_json().map_err(|error| Fault::Refused(format!("the rights of $all: {error}")))?;
    }
    let odd = || Fault::Refused(format!("the rights of $all are not of the form that is known: {before}"));
    let after = with_reader(before.clone(), user).ok_or_else(odd)?;
    if after == before {
        return Ok(());
    }
    let data = EventData::json("$metadata", &after).map_err(|error| Fault::Refused(error.to_string()))?;
    let data = data.id(Uuid::new_v4());
    // Where somebody else has changed them meanwhile, all is begun anew.
    let options = AppendToStreamOptions::default().stream_state(expected);
    let options = supervisor.authenticated(options, AppendToStreamOptions::authenticated);
    let write = Box::pin(async { lease.client.append_to_stream(METADATA, &options, data).await.map(drop) });
    supervisor.within("change the rights of $all", write).await
}

/// The metadata with one more reader of events and of metadata. What else stands there stays. `None`: it has another form.
fn with_reader(mut metadata: Value, user: &str) -> Option<Value> {
    const ADMINISTRATORS: &str = "$admins";
    let rights = metadata.as_object_mut()?.entry("$acl").or_insert_with(|| json!({})).as_object_mut()?;
    for right in ["$r", "$mr"] {
        let mut readers: Vec<String> = match rights.get(right) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                several.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => vec![ADMINISTRATORS.to_owned()],
        };
        if readers.iter().all(|reader| reader != user) {
            readers.insert(0, user.to_owned());
        }
        rights.insert(right.to_owned(), json!(readers));
    }
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_added_and_everything_else_stays() {
        let given = with_reader(json!({}), "lastseen").unwrap();
        assert_eq!(given, json!({"$acl": {"$r": ["lastseen", "$admins"], "$mr": ["lastseen", "$admins"]}}));
        assert_eq!(with_reader(given.clone(), "lastseen").unwrap(), given);
        let before = json!({"$maxAge": 7, "$acl": {"$r": "ops", "$w": ["$admins"]}});
        let expected = json!({"$maxAge": 7,
            "$acl": {"$r": ["lastseen", "ops"], "$mr": ["lastseen", "$admins"], "$w": ["$admins"]}});
        assert_eq!(with_reader(before, "lastseen").unwrap(), expected);
        for odd in [json!("text"), json!({"$acl": "$admins"})] {
            assert_eq!(with_reader(odd, "lastseen"), None);
        }
    }
}
