// Publishes with the client of TypeScript: every kind, some that are refused, and many while the server comes and goes.
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

import * as lastseen from "./lastseen.js";
import type { ActivityType, Event, Fault } from "./lastseen.js";

const [, , url = "", vectors = "", count = "0"] = process.argv;
const check = (is: boolean, what: unknown): void => {
  if (!is) throw new Error(JSON.stringify(what));
};

interface Vector {
  type: ActivityType;
  session_id: string;
  version: number;
  id: string;
}
for (const vector of (JSON.parse(readFileSync(vectors, "utf8")) as { of_token: Vector[] }).of_token) {
  check(lastseen.idOfToken(vector.type, vector.session_id, vector.version) === vector.id, vector);
}
check(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(lastseen.uuid7()), lastseen.uuid7());

for (const bad of ["", "null", "a\u0000b", "a\u200bb", "x".repeat(129)]) {
  let isRefused = false;
  try {
    lastseen.login("acme", bad);
  } catch (error) {
    isRefused = error instanceof lastseen.InvalidEvent;
  }
  check(isRefused, bad);
}

const refused: [Event, Fault[]][] = [];
const said: string[] = [];
const onLog = (text: string): void => void said.push(text);
const publisher = new lastseen.Publisher(url, {
  batchEvents: 50,
  pauses: [10, 100],
  onRefused: (event, faults) => refused.push([event, faults]),
  onLog,
});
const day = 86_400_000;
const now = Date.now();
const at = (daysAgo: number): { at: Date } => ({ at: new Date(now - daysAgo * day) });
const kinds = [
  lastseen.userCreated("acme", "Zoë / 1", false, at(3)),
  lastseen.signupComplete("acme", "Zoë / 1", at(2)),
  lastseen.login("acme", "Zoë / 1", { sessionId: "s-1", ...at(1) }),
  lastseen.tokenRefresh("acme", "Zoë / 1", { sessionId: "s-1", tokenVersion: 2, ...at(0) }),
  lastseen.tenantSwitch("acme", "beta", "Zoë / 1", at(0)),
  lastseen.userCreated("acme", "bot", true, { counts: false }),
  lastseen.userChanged("acme", "Zoë / 1"),
  lastseen.userConfirmed("acme", "invited"),
  lastseen.userDeleted("acme", "invited", at(1)),
  lastseen.userRestored("acme", "invited"),
];
const again = kinds[2] as Event;
const future = lastseen.login("acme", "ahead", at(-1));
for (const event of [...kinds, again, future]) await publisher.publish(event);
check(await publisher.flush(), said);
const metrics = publisher.metrics();
check(metrics.stored === 10 && metrics.duplicates === 1 && metrics.refused === 1 && metrics.waiting === 0, metrics);
check(refused.length === 1 && refused[0]?.[0] === future && refused[0][1][0]?.code === "in_future", refused);

const ids = kinds.map((event) => event.id);
console.log("many");
for (let number = 0; number < Number(count); number += 1) {
  const event = lastseen.login("acme", `u${number % 97}`);
  ids.push(event.id);
  await publisher.publish(event);
  if (number % 100 === 0) {
    console.log(`published ${number}`);
    await pause(10);
  }
}
check((await publisher.close(120_000)).length === 0, said);

// Nobody is there: the buffer fills, and what waits is handed back.
const alone = new lastseen.Publisher("http://127.0.0.1:1", { bufferBytes: 4_096, onLog });
const taken: Event[] = [];
for (;;) {
  const event = lastseen.login("acme", `alone${taken.length}`);
  if (!alone.tryPublish(event)) break;
  taken.push(event);
}
const left = await alone.close(50);
check(taken.length > 0 && JSON.stringify(left) === JSON.stringify(taken), [left.length, taken.length]);
let isClosed = false;
try {
  alone.tryPublish(future);
} catch (error) {
  isClosed = error instanceof lastseen.Closed;
}
check(isClosed, "it was closed");
console.log(JSON.stringify({ ids }));
