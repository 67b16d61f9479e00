// Sends events to a server with the official CloudEvents SDK, in each mode, and prints the answers.
// usage: cloud_events.mjs URL TIME
import { CloudEvent, HTTP, Mode, emitterFor } from "cloudevents";

const [url, time] = process.argv.slice(2);
const answers = [];

function event(id, user, type = "login", more = {}) {
  return new CloudEvent({
    id,
    source: "https://id.example/javascript",
    type: `dev.lastseen.${type}.v1`,
    subject: user,
    time,
    tenantid: "acme",
    ...more,
  });
}

async function send({ headers, body }) {
  const answer = await fetch(`${url}/v1/events`, { method: "POST", headers, body });
  answers.push([answer.status, await answer.json()]);
}

for (const mode of [Mode.STRUCTURED, Mode.BINARY]) {
  const emit = emitterFor(send, { mode });
  await emit(event(`login-${mode}`, "ada"));
  await emit(event(`refresh-${mode}`, "eve", "token_refresh", { data: { ip: "192.0.2.1" }, sessionid: "s1", traceid: "x" }));
  await emit(event(`created-${mode}`, `new-${mode}`, "user_created", { confirmed: true }));
  await emit(event(`login-${mode}`, "ada"));
  await emit(event(`bad-${mode}`, "null"));
}
const batch = [0, 1, 2].map((number) => event(`batch-${number}`, "bob"));
const body = `[${batch.map((event) => HTTP.structured(event).body).join(",")}]`;
await send({ headers: { "content-type": "application/cloudevents-batch+json" }, body });
console.log(JSON.stringify(answers));
