"""The official Python client against an emulator: `python_client.py esdb://...`. Prints `ok`."""

import sys
from uuid import uuid4

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import NotFoundError, StreamIsDeletedError, WrongCurrentVersionError


def new(data=b"{}"):
    return NewEvent(type="t", data=data)


client = KurrentDBClient(uri=sys.argv[1])
stream = "python-" + str(uuid4())
first, second = new(), new(b'{"n":2}')

position = client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[first, second])
assert client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[first, second]) == position
try:
    client.append_to_stream(stream, current_version=0, events=[new()])
    raise AssertionError("a wrong revision was accepted")
except WrongCurrentVersionError:
    pass

events = client.get_stream(stream)
assert [event.id for event in events] == [first.id, second.id]
assert [event.stream_position for event in events] == [0, 1]
assert events[1].commit_position == position
assert client.get_current_version(stream) == 1
assert client.get_commit_position() == position
assert [event.id for event in client.get_stream(stream, backwards=True)] == [second.id, first.id]

everything = list(client.read_all(filter_include=[stream], filter_by_stream_name=True))
assert [event.id for event in everything] == [first.id, second.id]

with client.subscribe_to_all(filter_include=[stream], filter_by_stream_name=True) as subscription:
    assert [next(subscription).id for _ in range(2)] == [first.id, second.id]
    third = new()
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[third])
    assert next(subscription).id == third.id
with client.subscribe_to_all(commit_position=position, filter_include=[stream], filter_by_stream_name=True) as rest:
    assert next(rest).id == third.id

client.set_stream_metadata(stream, metadata={"$maxCount": 1}, current_version=StreamState.ANY)
assert client.get_stream_metadata(stream)[0] == {"$maxCount": 1}
assert [event.id for event in client.get_stream(stream)] == [third.id]

client.delete_stream(stream, current_version=2)
try:
    client.get_stream(stream)
    raise AssertionError("a deleted stream was read")
except NotFoundError:
    pass
client.append_to_stream(stream, current_version=StreamState.ANY, events=[new()])
assert [event.stream_position for event in client.get_stream(stream)] == [3]
client.tombstone_stream(stream, current_version=3)
try:
    client.get_stream(stream)
    raise AssertionError("a tombstoned stream was read")
except StreamIsDeletedError:
    pass
# Left to the end of the interpreter, it now and then waits for a lock for ever.
client.close()
print("ok")
