"""Sends events to a server with the official CloudEvents SDK, in each mode, and prints the answers.

usage: cloud_events.py URL TIME
"""

import datetime
import json
import sys
import urllib.error
import urllib.request

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

URL, TIME = sys.argv[1] + "/v1/events", datetime.datetime.fromisoformat(sys.argv[2])


def event(id, user, type="login", data=None, **extensions):
    attributes = {
        "id": id,
        "source": "https://id.example/python",
        "type": f"dev.lastseen.{type}.v1",
        "subject": user,
        "time": TIME,
        "tenantid": "acme",
        "datacontenttype": "application/json",
        **extensions,
    }
    return CloudEvent(attributes, data)


def send(body, headers):
    request = urllib.request.Request(URL, body or b"", headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error:
        return [error.code, json.load(error)]


answers = []
for number, to in enumerate([to_structured_event, to_binary_event]):
    for sent in [
        event(f"login-{number}", "ada"),
        event(f"refresh-{number}", 'Zoë "100%" 用', "token_refresh", {"ip": "192.0.2.1"}, sessionid="s 1", traceid="x"),
        event(f"created-{number}", f"new-{number}", "user_created", confirmed=True),
        event(f"login-{number}", "ada"),
        event(f"bad-{number}", "null"),
    ]:
        message = to(sent)
        answers.append(send(message.body, message.headers))
batch = [json.loads(to_structured_event(event(f"batch-{number}", "bob")).body) for number in range(3)]
answers.append(send(json.dumps(batch).encode(), {"content-type": "application/cloudevents-batch+json; charset=utf-8"}))
print(json.dumps(answers))
