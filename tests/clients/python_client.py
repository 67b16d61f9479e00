"""Publishes with the client of Python: every kind, some that are refused, and many while the server comes and goes."""

import json
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

clients, url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.dont_write_bytecode = True
sys.path.insert(0, str(clients / "python"))
import lastseen  # noqa: E402

for vector in json.loads((clients / "vectors.json").read_text())["of_token"]:
    found = lastseen.id_of_token(vector["type"], vector["session_id"], vector["version"])
    assert str(found) == vector["id"], (vector, found)

for bad in ("", "null", "a\u0000b", "a\u200bb", "x" * 129):
    try:
        lastseen.login("acme", bad)
    except lastseen.InvalidEvent:
        continue
    raise AssertionError(bad)

refused, said = [], []
publisher = lastseen.Publisher(
    url, batch_events=50, pauses=(0.01, 0.1), on_refused=lambda event, faults: refused.append((event, faults)),
    on_log=said.append,
)
now = datetime.now(timezone.utc)
kinds = [
    lastseen.user_created("acme", "Zoë / 1", False, at=now - timedelta(days=3)),
    lastseen.signup_complete("acme", "Zoë / 1", at=now - timedelta(days=2)),
    lastseen.login("acme", "Zoë / 1", session_id="s-1", at=now - timedelta(days=1)),
    lastseen.token_refresh("acme", "Zoë / 1", session_id="s-1", token_version=2, at=now),
    lastseen.tenant_switch("acme", "beta", "Zoë / 1", at=now),
    lastseen.user_created("acme", "bot", True, counts=False),
    lastseen.user_changed("acme", "Zoë / 1"),
    lastseen.user_confirmed("acme", "invited"),
    lastseen.user_deleted("acme", "invited", at=now - timedelta(days=1)),
    lastseen.user_restored("acme", "invited"),
]
future = lastseen.login("acme", "ahead", at=now + timedelta(days=1))
for event in [*kinds, kinds[2], future]:
    publisher.publish(event)
assert publisher.flush(60), said
metrics = publisher.metrics()
assert (metrics["stored"], metrics["duplicates"], metrics["refused"], metrics["waiting"]) == (10, 1, 1, 0), metrics
assert [event for event, _ in refused] == [future] and refused[0][1][0].code == "in_future", refused

ids = [str(event.id) for event in kinds]
print("many", flush=True)
for number in range(count):
    event = lastseen.login("acme", f"u{number % 97}")
    ids.append(str(event.id))
    publisher.publish(event)
    if number % 100 == 0:
        print(f"published {number}", flush=True)
        time.sleep(0.01)
publisher.close(within=120)

# Nobody is there: the buffer fills, and what waits is handed back.
alone = lastseen.Publisher("http://127.0.0.1:1", buffer_bytes=4_096, on_log=said.append)
taken = []
try:
    while True:
        event = lastseen.login("acme", f"alone{len(taken)}")
        alone.publish(event, timeout=0.05)
        taken.append(event)
except lastseen.Full:
    pass
try:
    alone.close(within=0.05)
    raise AssertionError("it was not delivered")
except lastseen.Undelivered as undelivered:
    assert undelivered.events == taken and taken, (len(undelivered.events), len(taken))
try:
    alone.publish(future)
    raise AssertionError("it was closed")
except lastseen.Closed:
    pass
print(json.dumps({"ids": ids}))
