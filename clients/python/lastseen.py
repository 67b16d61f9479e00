"""Publish who was seen to Lastseen, from Python: nothing is dropped on the way.

One file, nothing but the standard library, Python 3.9 or later.

    from lastseen import Publisher, login

    publisher = Publisher("http://127.0.0.1:8080", key="ls_...")
    publisher.publish(login("8127", "usr_01JK", session_id="s-1"))   # takes microseconds
    ...
    publisher.close(within=5.0)                                      # hands back what was not answered

A thread of the publisher sends events in order, many at a time, as often as it takes, with the same ids: the server knows
an id for ever, and a repeated event adds nothing. Events wait in memory: a process that is killed loses those that wait.
"""

from __future__ import annotations

import json
import random
import threading
import time
import unicodedata
import urllib.error
import urllib.request
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

__all__ = [
    "Closed", "Event", "Fault", "Full", "InvalidEvent", "Publisher", "Undelivered", "id_of_token", "login",
    "signup_complete", "tenant_switch", "token_refresh", "user_changed", "user_confirmed", "user_created",
    "user_deleted", "user_restored", "uuid7",
]

_NAMESPACE = uuid.UUID("d6768efc-a8dd-5c9c-9cf4-7540d260961e")
_NAME_BYTES_MAX = 128
_PLACEHOLDERS = {"null", "undefined", "anonymous", "[object Object]", "00000000-0000-0000-0000-000000000000"}
# Memory of an event besides its text.
_EVENT_BYTES = 256


class InvalidEvent(ValueError):
    """A field that no event may have so. Nothing was published."""


class Full(Exception):
    """There is no room in the buffer. The event was not taken."""


class Closed(Exception):
    """The publisher was closed. The event was not taken."""


@dataclass(frozen=True)
class Event:
    """An event that can be published: its id, and one line of JSON."""

    id: uuid.UUID
    line: str


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an event that the server refused."""

    field: Optional[str]
    code: str
    detail: str


class Undelivered(Exception):
    """The publisher was closed before all events were answered. Publish them again with the same ids."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__(f"{len(events)} events were not answered")
        self.events = list(events)


def uuid7() -> uuid.UUID:
    """A UUID of version 7: of this millisecond, and random."""
    at = time.time_ns() // 1_000_000
    value = (at & ((1 << 48) - 1)) << 80 | random.SystemRandom().getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def id_of_token(event_type: str, session_id: str, version: int) -> uuid.UUID:
    """The id of the activity that a token of a session is proof of: whoever publishes it, it is one event."""
    text = json.dumps([event_type, session_id, version], separators=(",", ":"), ensure_ascii=False)
    return uuid.uuid5(_NAMESPACE, text)


def login(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A user signed in. Failed attempts are no events. Options of activity: `session_id`, `token_version` (makes the id follow
    from both), `id`, `at`, `batch`."""
    return _activity("login", tenant_id, user_id, **options)


def token_refresh(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A session was renewed with the current token. Options: those of `login`."""
    return _activity("token_refresh", tenant_id, user_id, **options)


def tenant_switch(from_tenant_id: str, tenant_id: str, user_id: str, **options: Any) -> Event:
    """A user entered `tenant_id`, coming from another tenant. Options: those of `login`."""
    return _activity("tenant_switch", tenant_id, user_id, from_tenant_id=from_tenant_id, **options)


def signup_complete(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A user finished signing up. Options: those of `login`."""
    return _activity("signup_complete", tenant_id, user_id, **options)


def user_created(
    tenant_id: str, user_id: str, confirmed: bool, counts: Optional[bool] = None, **options: Any
) -> Event:
    """A user was created; `confirmed` is false for whoever was only invited. `counts=False` leaves bots and staff out."""
    return _event("user_created", tenant_id, user_id, confirmed=confirmed, counts=counts, **options)


def user_confirmed(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A user confirmed its address. Options: `id`, `at`, `batch`."""
    return _event("user_confirmed", tenant_id, user_id, **options)


def user_changed(tenant_id: str, user_id: str, counts: Optional[bool] = None, **options: Any) -> Event:
    """A role or a profile changed. Options: `id`, `at`, `batch`."""
    return _event("user_changed", tenant_id, user_id, counts=counts, **options)


def user_deleted(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A user was deleted, softly. Options: `id`, `at`, `batch`."""
    return _event("user_deleted", tenant_id, user_id, **options)


def user_restored(tenant_id: str, user_id: str, **options: Any) -> Event:
    """A soft deletion was undone. Options: `id`, `at`, `batch`."""
    return _event("user_restored", tenant_id, user_id, **options)


def _activity(
    event_type: str,
    tenant_id: str,
    user_id: str,
    session_id: Optional[str] = None,
    token_version: Optional[int] = None,
    id: Optional[uuid.UUID] = None,  # noqa: A002: the name on the wire
    **options: Any,
) -> Event:
    if token_version is not None:
        if session_id is None:
            raise InvalidEvent("token_version: expected a session_id beside it")
        id = id_of_token(event_type, session_id, token_version)
    return _event(event_type, tenant_id, user_id, session_id=session_id, id=id, **options)


def _event(
    event_type: str,
    tenant_id: str,
    user_id: str,
    *,
    id: Optional[uuid.UUID] = None,  # noqa: A002: the name on the wire
    at: Optional[datetime] = None,
    session_id: Optional[str] = None,
    from_tenant_id: Optional[str] = None,
    confirmed: Optional[bool] = None,
    counts: Optional[bool] = None,
    batch: Optional[str] = None,
) -> Event:
    if at is not None and at.tzinfo is None:
        raise InvalidEvent("at: expected an instant with a time zone")
    occurred_at = (at or datetime.now(timezone.utc)).astimezone(timezone.utc)
    names = {
        "tenant_id": tenant_id, "user_id": user_id, "session_id": session_id,
        "from_tenant_id": from_tenant_id, "batch": batch,
    }
    for name, value in names.items():
        if value is not None or name in ("tenant_id", "user_id"):
            _check(name, value, may_stand_for_none=name in ("session_id", "batch"))
    event_id = id or uuid7()
    fields = {
        "id": str(event_id), "type": event_type, "tenant_id": tenant_id, "user_id": user_id,
        "occurred_at": occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "session_id": session_id, "from_tenant_id": from_tenant_id, "confirmed": confirmed, "counts": counts,
        "batch": batch,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return Event(event_id, json.dumps(present, separators=(",", ":"), ensure_ascii=False))


def _check(name: str, value: Optional[str], may_stand_for_none: bool) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(f"{name}: expected 1 to {_NAME_BYTES_MAX} bytes of text")
    if len(value.encode()) > _NAME_BYTES_MAX:
        raise InvalidEvent(f"{name}: expected at most {_NAME_BYTES_MAX} bytes")
    if any(unicodedata.category(char) in ("Cc", "Cf") for char in value):
        raise InvalidEvent(f"{name}: expected no control and no format characters")
    if value in _PLACEHOLDERS and not may_stand_for_none:
        raise InvalidEvent(f"{name}: expected a real id, found a placeholder")


@dataclass
class _Buffer:
    events: Deque[Event] = field(default_factory=deque)
    bytes: int = 0


class _Later(Exception):
    """No answer, or one that passes."""

    def __init__(self, reason: str, after: Optional[float] = None) -> None:
        super().__init__(reason)
        self.after = after


class Publisher:
    """Publishes events to a server. All methods may be called from any thread.

    `buffer_bytes` bounds the memory for events that wait; at the bound `publish` waits. `on_refused` is called with each event
    that the server refuses, and its faults; without it, they go to `on_log`. `on_log` is told of failures in words.
    """

    def __init__(
        self,
        server: str,
        key: Optional[str] = None,
        *,
        buffer_bytes: int = 16 << 20,
        batch_events: int = 1_000,
        linger: float = 0.01,
        request_timeout: float = 30.0,
        pauses: Tuple[float, float] = (0.1, 10.0),
        on_refused: Optional[Callable[[Event, List[Fault]], None]] = None,
        on_log: Callable[[str], None] = lambda text: print(f"lastseen: {text}"),
    ) -> None:
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"expected an address such as http://127.0.0.1:8080, found {server!r}")
        self._url = server.rstrip("/") + "/v1/events?on_invalid=skip"
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": "lastseen-python/0.1"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._buffer_bytes = buffer_bytes
        self._batch_events = min(max(batch_events, 1), 10_000)
        self._linger, self._timeout, self._pauses = linger, request_timeout, pauses
        self._on_log = on_log
        self._on_refused = on_refused or (lambda event, faults: on_log(f"refused {event.line}: {faults}"))
        self._changed = threading.Condition()
        self._buffer = _Buffer()
        self._taken = self._answered = self._hurry = 0
        self._deadline: Optional[float] = None
        self._over = False
        self._counts = {"published": 0, "stored": 0, "duplicates": 0, "refused": 0, "failed_attempts": 0}
        self._thread = threading.Thread(target=self._run, name="lastseen", daemon=True)
        self._thread.start()

    def publish(self, event: Event, timeout: Optional[float] = None) -> None:
        """Takes an event. Waits only for room in the buffer: for ever, or for `timeout` seconds; then `Full`."""
        cost = len(event.line) + _EVENT_BYTES
        with self._changed:
            fits = lambda: self._deadline is not None or self._buffer.bytes + cost <= self._buffer_bytes or not self._buffer.events
            if not self._changed.wait_for(fits, timeout):
                raise Full
            if self._deadline is not None:
                raise Closed
            self._buffer.events.append(event)
            self._buffer.bytes += cost
            self._taken += 1
            self._counts["published"] += 1
            if len(self._buffer.events) in (1, self._batch_events):
                self._changed.notify_all()

    def flush(self, timeout: Optional[float] = None) -> bool:
        """Waits until all events that were taken before are answered. `False`: not within `timeout`, or it was closed."""
        with self._changed:
            upto = self._hurry = self._taken
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= upto or self._over, timeout)
            return self._answered >= upto

    def close(self, within: float = 5.0) -> None:
        """Takes no more events, and sends those that wait, for `within` seconds at most. Raises `Undelivered` with the rest."""
        with self._changed:
            self._deadline = time.monotonic() + within
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over, within)
            self._over = True
            left = list(self._buffer.events)
            self._buffer = _Buffer()
            self._changed.notify_all()
        if left:
            raise Undelivered(left)

    def metrics(self) -> Mapping[str, int]:
        """Numbers since the start; `waiting` are the events that are not answered."""
        with self._changed:
            return {**self._counts, "waiting": len(self._buffer.events)}

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None or not self._send(batch):
                break
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _next_batch(self) -> Optional[List[Event]]:
        with self._changed:
            is_closing = lambda: self._deadline is not None
            self._changed.wait_for(lambda: self._buffer.events or is_closing())
            is_enough = lambda: (
                len(self._buffer.events) >= self._batch_events or self._hurry > self._answered or is_closing()
            )
            self._changed.wait_for(is_enough, self._linger)
            if not self._buffer.events or self._is_late():
                return None
            return [event for _, event in zip(range(self._batch_events), self._buffer.events)]

    def _is_late(self) -> bool:
        return self._over or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _send(self, batch: List[Event]) -> bool:
        pause, has_told = self._pauses[0], False
        while True:
            try:
                self._settle(batch, self._post(batch))
                return True
            except _Later as later:
                self._counts["failed_attempts"] += 1
                if not has_told:
                    has_told = True
                    self._on_log(f"events are not taken; trying again: {later}")
                # Between a half and the whole of the pause, so that publishers do not come back all at once.
                wait = pause * random.uniform(0.5, 1.0)
                wait = wait if later.after is None else later.after + wait / 4
                pause = min(pause * 2, self._pauses[1])
            except _TooLarge:
                if len(batch) == 1:
                    self._settle(batch, {"stored": 0, "duplicates": 0, "refused": [
                        {"index": 0, "field": None, "code": "too_large", "detail": "no request may be so large"}]})
                    return True
                batch = batch[: (len(batch) + 1) // 2]
                continue
            until = time.monotonic() + wait
            with self._changed:
                while not self._is_late() and (left := until - time.monotonic()) > 0:
                    closing = left if self._deadline is None else max(0.0, self._deadline - time.monotonic())
                    self._changed.wait(min(left, closing))
                if self._is_late():
                    return False

    def _post(self, batch: List[Event]) -> Dict[str, Any]:
        body = "".join(event.line + "\n" for event in batch).encode()
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer: Dict[str, Any] = json.loads(response.read())
                answer["refused"], answer["stored"], answer["duplicates"]  # noqa: B018: an answer of Lastseen
                return answer
        except urllib.error.HTTPError as error:
            text = error.read(1_000).decode(errors="replace")
            if error.code == 413:
                raise _TooLarge from None
            # A wrong key or address says nothing about events: they wait until somebody mends it.
            after = error.headers.get("Retry-After", "")
            raise _Later(f"{error.code} {text}", float(after) if after.isdigit() else None) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _Later(f"no answer ({error!r})") from None

    def _settle(self, batch: List[Event], answer: Dict[str, Any]) -> None:
        faults: Dict[int, List[Fault]] = {}
        for refused in answer["refused"]:
            fault = Fault(refused.get("field"), refused["code"], refused["detail"])
            faults.setdefault(refused["index"], []).append(fault)
        for index, found in faults.items():
            try:
                self._on_refused(batch[index], found)
            except Exception as error:  # noqa: BLE001: the thread goes on, whatever its caller does
                self._on_log(f"on_refused failed ({error!r}): {batch[index].line}: {found}")
        with self._changed:
            self._counts["stored"] += answer["stored"]
            self._counts["duplicates"] += answer["duplicates"]
            self._counts["refused"] += len(faults)
            for _ in range(min(len(batch), len(self._buffer.events))):
                self._buffer.bytes -= len(self._buffer.events.popleft().line) + _EVENT_BYTES
            self._answered += len(batch)
            self._changed.notify_all()


class _TooLarge(Exception):
    """A proxy takes less than the server."""
