/**
 * Publish who was seen to Lastseen, from TypeScript: nothing is dropped on the way.
 *
 * One file, no dependencies; Node 18 or later, Deno, Bun.
 *
 *     import { Publisher, login } from "./lastseen.js";
 *
 *     const publisher = new Publisher("http://127.0.0.1:8080", { key: "ls_..." });
 *     await publisher.publish(login("8127", "usr_01JK", { sessionId: "s-1" }));   // waits for room in the buffer alone
 *     ...
 *     const left = await publisher.close(5_000);                                  // events that were not answered
 *
 * Events are sent in order, many at a time, as often as it takes, with the same ids: the server knows an id for ever, and a
 * repeated event adds nothing. Events wait in memory: a process that is killed loses those that wait.
 */

/** An event that can be published: its id, and one line of JSON. */
export interface Event {
  readonly id: string;
  readonly line: string;
}

/** Options of every event. */
export interface Options {
  /** A UUID; without it, one of version 7. */
  id?: string;
  /** The time of the event by the clock of this service; without it, now. */
  at?: Date;
  /** The backfill that the event belongs to. */
  batch?: string;
}

/** Options of observed activity. */
export interface ActivityOptions extends Options {
  sessionId?: string;
  /** Makes the id follow from the session and this version of its token. Needs `sessionId`, and `at`: when it was issued. */
  tokenVersion?: number;
}

/** Options of an event about a profile. */
export interface ProfileOptions extends Options {
  /** False leaves the user out of the numbers: bots, staff, test users. */
  counts?: boolean;
}

/** One thing that is wrong with an event that the server refused. */
export interface Fault {
  field: string | null;
  code: string;
  detail: string;
}

/** A field that no event may have so. Nothing was published. */
export class InvalidEvent extends Error {}

/** The publisher was closed. The event was not taken. */
export class Closed extends Error {}

export type ActivityType = "login" | "token_refresh" | "tenant_switch" | "signup_complete";

/** A user signed in. Failed attempts are no events. */
export const login = (tenantId: string, userId: string, options: ActivityOptions = {}): Event =>
  activity("login", tenantId, userId, options);

/** A session was renewed with the current token. */
export const tokenRefresh = (tenantId: string, userId: string, options: ActivityOptions = {}): Event =>
  activity("token_refresh", tenantId, userId, options);

/** A user entered `tenantId`, coming from another tenant. */
export const tenantSwitch = (
  fromTenantId: string,
  tenantId: string,
  userId: string,
  options: ActivityOptions = {},
): Event => activity("tenant_switch", tenantId, userId, options, fromTenantId);

/** A user finished signing up. */
export const signupComplete = (tenantId: string, userId: string, options: ActivityOptions = {}): Event =>
  activity("signup_complete", tenantId, userId, options);

/** A user was created; `confirmed` is false for whoever was only invited. */
export const userCreated = (
  tenantId: string,
  userId: string,
  confirmed: boolean,
  options: ProfileOptions = {},
): Event => build("user_created", tenantId, userId, options, { confirmed, counts: options.counts });

/** A user confirmed its address. */
export const userConfirmed = (tenantId: string, userId: string, options: Options = {}): Event =>
  build("user_confirmed", tenantId, userId, options, {});

/** A role or a profile changed. */
export const userChanged = (tenantId: string, userId: string, options: ProfileOptions = {}): Event =>
  build("user_changed", tenantId, userId, options, { counts: options.counts });

/** A user was deleted, softly. */
export const userDeleted = (tenantId: string, userId: string, options: Options = {}): Event =>
  build("user_deleted", tenantId, userId, options, {});

/** A soft deletion was undone. */
export const userRestored = (tenantId: string, userId: string, options: Options = {}): Event =>
  build("user_restored", tenantId, userId, options, {});

/** The id of the activity that a token of a session is proof of: whoever publishes it, it is one event. */
export function idOfToken(type: ActivityType, sessionId: string, version: number): string {
  const text = JSON.stringify([type, sessionId, version]);
  const name = new TextEncoder().encode(text);
  const bytes = new Uint8Array(16 + name.length);
  bytes.set(NAMESPACE);
  bytes.set(name, 16);
  return uuidOf(sha1(bytes).slice(0, 16), 5);
}

/** A UUID of version 7: of this millisecond, and random. */
export function uuid7(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let at = Date.now();
  for (let place = 5; place >= 0; place -= 1) {
    bytes[place] = at % 256;
    at = Math.floor(at / 256);
  }
  return uuidOf(bytes, 7);
}

const NAMESPACE = Uint8Array.from(
  "d6768efca8dd5c9c9cf47540d260961e".match(/../g) ?? [],
  (pair) => Number.parseInt(pair, 16),
);
const NAME_BYTES_MAX = 128;
const PLACEHOLDERS = new Set([
  "null",
  "undefined",
  "anonymous",
  "[object Object]",
  "00000000-0000-0000-0000-000000000000",
]);

function uuidOf(bytes: Uint8Array, version: number): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | (version << 4);
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** SHA-1 (RFC 3174): names of version 5 are made of it. It protects nothing here. */
function sha1(message: Uint8Array): Uint8Array {
  const padded = new Uint8Array(((message.length + 8) >> 6 << 6) + 64);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, message.length * 8);
  const turn = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));
  let [a, b, c, d, e] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const words = new Int32Array(80);
  for (let block = 0; block < padded.length; block += 64) {
    for (let at = 0; at < 80; at += 1) {
      words[at] =
        at < 16
          ? view.getInt32(block + 4 * at)
          : turn((words[at - 3] ?? 0) ^ (words[at - 8] ?? 0) ^ (words[at - 14] ?? 0) ^ (words[at - 16] ?? 0), 1);
    }
    const before = [a, b, c, d, e];
    for (let at = 0; at < 80; at += 1) {
      const [f, k] =
        at < 20
          ? [(b & c) | (~b & d), 0x5a827999]
          : at < 40
            ? [b ^ c ^ d, 0x6ed9eba1]
            : at < 60
              ? [(b & c) | (b & d) | (c & d), 0x8f1bbcdc]
              : [b ^ c ^ d, 0xca62c1d6];
      [a, b, c, d, e] = [(turn(a, 5) + f + e + k + (words[at] ?? 0)) | 0, a, turn(b, 30), c, d];
    }
    [a, b, c, d, e] = [a, b, c, d, e].map((value, at) => (value + (before[at] ?? 0)) | 0) as [number, number, number, number, number];
  }
  const digest = new DataView(new ArrayBuffer(20));
  [a, b, c, d, e].forEach((value, at) => digest.setInt32(4 * at, value));
  return new Uint8Array(digest.buffer);
}

function activity(
  type: ActivityType,
  tenantId: string,
  userId: string,
  options: ActivityOptions,
  fromTenantId?: string,
): Event {
  const { sessionId, tokenVersion } = options;
  const own = { session_id: sessionId, from_tenant_id: fromTenantId };
  if (tokenVersion === undefined) return build(type, tenantId, userId, options, own);
  if (sessionId === undefined) throw new InvalidEvent("tokenVersion: expected a sessionId beside it");
  return build(type, tenantId, userId, { ...options, id: idOfToken(type, sessionId, tokenVersion) }, own);
}

function build(
  type: string,
  tenantId: string,
  userId: string,
  options: Options,
  own: {
    session_id?: string | undefined;
    from_tenant_id?: string | undefined;
    confirmed?: boolean | undefined;
    counts?: boolean | undefined;
  },
): Event {
  check("tenant_id", tenantId, false);
  check("user_id", userId, false);
  if (own.from_tenant_id !== undefined) check("from_tenant_id", own.from_tenant_id, false);
  if (own.session_id !== undefined) check("session_id", own.session_id, true);
  if (options.batch !== undefined) check("batch", options.batch, true);
  const at = options.at ?? new Date();
  if (Number.isNaN(at.getTime())) throw new InvalidEvent("at: expected an instant");
  const id = options.id ?? uuid7();
  const event = { id, type, tenant_id: tenantId, user_id: userId, occurred_at: at.toISOString(), ...own, batch: options.batch };
  return { id, line: JSON.stringify(event) };
}

function check(field: string, value: string, mayStandForNone: boolean): void {
  if (typeof value !== "string" || value === "") throw new InvalidEvent(`${field}: expected 1 to ${NAME_BYTES_MAX} bytes of text`);
  if (new TextEncoder().encode(value).length > NAME_BYTES_MAX) throw new InvalidEvent(`${field}: expected at most ${NAME_BYTES_MAX} bytes`);
  if (/[\p{Cc}\p{Cf}]/u.test(value)) throw new InvalidEvent(`${field}: expected no control and no format characters`);
  if (PLACEHOLDERS.has(value) && !mayStandForNone) throw new InvalidEvent(`${field}: expected a real id, found a placeholder`);
}

/** The way in which a publisher works. Times are milliseconds. */
export interface PublisherOptions {
  key?: string;
  /** Memory for events that wait; at the bound, `publish` waits. 16 MiB without it. */
  bufferBytes?: number;
  /** Most events of a request, from 1 to 10,000. 1,000 without it. */
  batchEvents?: number;
  /** The time that the first event of a request waits for others. 10 without it. */
  linger?: number;
  requestTimeout?: number;
  /** The first pause after an attempt that was not answered, and the longest. */
  pauses?: [number, number];
  /** Is given each event that the server refuses. Without it, they go to `onLog`. */
  onRefused?: (event: Event, faults: Fault[]) => void;
  /** Is told of failures in words. */
  onLog?: (text: string) => void;
}

/** Numbers since the start; `waiting` are the events that are not answered. */
export interface Metrics {
  published: number;
  stored: number;
  duplicates: number;
  refused: number;
  failedAttempts: number;
  waiting: number;
}

interface Answer {
  stored: number;
  duplicates: number;
  refused: (Fault & { index: number })[];
}

/** Memory of an event besides its text. */
const EVENT_BYTES = 128;

/** Publishes events to a server. */
export class Publisher {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #options: Required<Omit<PublisherOptions, "key">>;
  #buffer: Event[] = [];
  #bytes = 0;
  #taken = 0;
  #answered = 0;
  #hurry = 0;
  #deadline = Number.POSITIVE_INFINITY;
  #isClosed = false;
  #isOver = false;
  /** Called at each change. */
  #waiting: (() => void)[] = [];
  readonly #counts = { published: 0, stored: 0, duplicates: 0, refused: 0, failedAttempts: 0 };

  constructor(server: string, options: PublisherOptions = {}) {
    if (!/^https?:\/\/\S+$/.test(server)) throw new TypeError(`expected an address such as http://127.0.0.1:8080, found ${server}`);
    this.#url = `${server.replace(/\/+$/, "")}/v1/events?on_invalid=skip`;
    this.#headers = { "content-type": "application/x-ndjson" };
    if (options.key !== undefined) this.#headers["authorization"] = `Bearer ${options.key}`;
    const onLog = options.onLog ?? ((text: string) => console.error(`lastseen: ${text}`));
    this.#options = {
      bufferBytes: options.bufferBytes ?? 16 << 20,
      batchEvents: Math.min(Math.max(options.batchEvents ?? 1_000, 1), 10_000),
      linger: options.linger ?? 10,
      requestTimeout: options.requestTimeout ?? 30_000,
      pauses: options.pauses ?? [100, 10_000],
      onRefused: options.onRefused ?? ((event, faults) => onLog(`refused ${event.line}: ${JSON.stringify(faults)}`)),
      onLog,
    };
    void this.#run();
  }

  /** Takes an event. Waits only for room in the buffer. */
  async publish(event: Event): Promise<void> {
    while (!this.tryPublish(event)) await this.#change();
  }

  /** Takes an event if there is room for it at once. */
  tryPublish(event: Event): boolean {
    if (this.#isClosed) throw new Closed("the publisher was closed");
    const cost = event.line.length + EVENT_BYTES;
    if (this.#buffer.length > 0 && this.#bytes + cost > this.#options.bufferBytes) return false;
    this.#buffer.push(event);
    this.#bytes += cost;
    this.#taken += 1;
    this.#counts.published += 1;
    if (this.#buffer.length === 1 || this.#buffer.length === this.#options.batchEvents) this.#changed();
    return true;
  }

  /** Waits until all events that were taken before are answered. False: the publisher was closed first. */
  async flush(): Promise<boolean> {
    const upto = this.#taken;
    this.#hurry = upto;
    this.#changed();
    while (this.#answered < upto && !this.#isOver) await this.#change();
    return this.#answered >= upto;
  }

  /** Takes no more events, and sends those that wait, for so many milliseconds at most. Hands back those that were not answered. */
  async close(within = 5_000): Promise<Event[]> {
    this.#isClosed = true;
    this.#deadline = Date.now() + within;
    this.#changed();
    while (!this.#isOver && Date.now() < this.#deadline) await this.#change(this.#deadline - Date.now());
    this.#isOver = true;
    this.#changed();
    const left = this.#buffer;
    this.#buffer = [];
    return left;
  }

  metrics(): Metrics {
    return { ...this.#counts, waiting: this.#buffer.length };
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const tell of waiting) tell();
  }

  /** Waits for a change, or for a time. */
  #change(within?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = within === undefined ? undefined : setTimeout(resolve, Math.max(0, within));
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #isLate(): boolean {
    return this.#isOver || Date.now() >= this.#deadline;
  }

  async #run(): Promise<void> {
    for (;;) {
      while (this.#buffer.length === 0 && !this.#isClosed) await this.#change();
      const until = Date.now() + this.#options.linger;
      const isEnough = (): boolean =>
        this.#buffer.length >= this.#options.batchEvents || this.#hurry > this.#answered || this.#isClosed;
      while (!isEnough() && Date.now() < until) await this.#change(until - Date.now());
      if (this.#buffer.length === 0 || this.#isLate()) break;
      if (!(await this.#send(this.#buffer.slice(0, this.#options.batchEvents)))) break;
    }
    this.#isOver = true;
    this.#changed();
  }

  async #send(events: Event[]): Promise<boolean> {
    let batch = events;
    let [pause] = this.#options.pauses;
    let hasTold = false;
    for (;;) {
      const outcome = await this.#post(batch);
      if ("answer" in outcome) {
        this.#settle(batch, outcome.answer);
        return true;
      }
      // A proxy may take less than the server.
      if (outcome.status === 413) {
        if (batch.length === 1) {
          const fault = { index: 0, field: null, code: "too_large", detail: "no request may be so large" };
          this.#settle(batch, { stored: 0, duplicates: 0, refused: [fault] });
          return true;
        }
        batch = batch.slice(0, Math.ceil(batch.length / 2));
        continue;
      }
      this.#counts.failedAttempts += 1;
      if (!hasTold) this.#options.onLog(`events are not taken; trying again: ${outcome.reason}`);
      hasTold = true;
      // Between a half and the whole of the pause, so that publishers do not come back all at once.
      const jittered = pause * (0.5 + Math.random() / 2);
      const until = Date.now() + (outcome.after === undefined ? jittered : outcome.after + jittered / 4);
      pause = Math.min(2 * pause, this.#options.pauses[1]);
      while (Date.now() < until && !this.#isLate()) await this.#change(Math.min(until, this.#deadline) - Date.now());
      if (this.#isLate()) return false;
    }
  }

  async #post(batch: Event[]): Promise<{ answer: Answer } | { status: number; reason: string; after?: number }> {
    const body = batch.map((event) => `${event.line}\n`).join("");
    try {
      const signal = AbortSignal.timeout(this.#options.requestTimeout);
      const response = await fetch(this.#url, { method: "POST", headers: this.#headers, body, signal });
      const text = await response.text();
      if (response.status === 200) {
        const answer = JSON.parse(text) as Answer;
        if (Array.isArray(answer.refused)) return { answer };
      }
      // A wrong key or address says nothing about events: they wait until somebody mends it.
      const after = response.headers.get("retry-after") ?? "";
      const seconds = /^\d+$/.test(after) ? { after: Number(after) * 1_000 } : {};
      return { status: response.status, reason: `${response.status} ${text.slice(0, 200)}`, ...seconds };
    } catch (error) {
      return { status: 0, reason: `no answer (${String(error)})` };
    }
  }

  #settle(batch: Event[], answer: Answer): void {
    const faults = new Map<number, Fault[]>();
    for (const { index, field, code, detail } of answer.refused) {
      faults.set(index, [...(faults.get(index) ?? []), { field, code, detail }]);
    }
    for (const [index, found] of faults) {
      const event = batch[index];
      if (event === undefined) continue;
      try {
        this.#options.onRefused(event, found);
      } catch (error) {
        this.#options.onLog(`onRefused failed (${String(error)}): ${event.line}: ${JSON.stringify(found)}`);
      }
    }
    this.#counts.stored += answer.stored;
    this.#counts.duplicates += answer.duplicates;
    this.#counts.refused += faults.size;
    for (const event of this.#buffer.splice(0, batch.length)) this.#bytes -= event.line.length + EVENT_BYTES;
    this.#answered += batch.length;
    this.#changed();
  }
}
