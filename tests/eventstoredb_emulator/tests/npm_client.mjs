// The official npm client against an emulator: `npm_client.mjs esdb://...`. Prints `ok`. Its reads go through the
// bridge to the Rust client, its appends do not.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  ANY, KurrentDBClient, NO_STREAM, START, StreamDeletedError, StreamNotFoundError, WrongExpectedVersionError,
  jsonEvent, streamNameFilter,
} from '@kurrent/kurrentdb-client';

const client = KurrentDBClient.connectionString(process.argv[2]);
const stream = `npm-${randomUUID()}`;
const [first, second, third] = [1, 2, 3].map(n => jsonEvent({ id: randomUUID(), type: 't', data: { n } }));

const appended = await client.appendToStream(stream, [first, second], { streamState: NO_STREAM });
assert.equal(appended.nextExpectedRevision, 1n);
const again = await client.appendToStream(stream, [first, second], { streamState: NO_STREAM });
assert.deepEqual(again.position, appended.position);
await assert.rejects(client.appendToStream(stream, third, { streamState: 0n }), WrongExpectedVersionError);

const ids = async events => {
  const found = [];
  for await (const { event } of events) found.push(event.id);
  return found;
};
assert.deepEqual(await ids(client.readStream(stream)), [first.id, second.id]);
assert.deepEqual(await ids(client.readStream(stream, { direction: 'backwards', fromRevision: 'end' })), [second.id, first.id]);
assert.deepEqual(
  await ids(client.readAll({ fromPosition: START, filter: streamNameFilter({ prefixes: ['npm-'] }) })),
  [first.id, second.id],
);

const seen = [];
const subscription = client.subscribeToAll({ fromPosition: START, filter: streamNameFilter({ prefixes: ['npm-'] }) });
for await (const { event } of subscription) {
  seen.push(event.id);
  if (seen.length === 2) await client.appendToStream(stream, third, { streamState: ANY });
  if (seen.length === 3) break;
}
assert.deepEqual(seen, [first.id, second.id, third.id]);

await client.setStreamMetadata(stream, { maxCount: 1 });
assert.equal((await client.getStreamMetadata(stream)).metadata.maxCount, 1);
assert.deepEqual(await ids(client.readStream(stream)), [third.id]);
await client.deleteStream(stream);
await assert.rejects(ids(client.readStream(stream)), StreamNotFoundError);
assert.equal((await client.appendToStream(stream, jsonEvent({ type: 't', data: {} }))).nextExpectedRevision, 3n);
await client.tombstoneStream(stream);
await assert.rejects(ids(client.readStream(stream)), StreamDeletedError);
await client.dispose();
console.log('ok');
process.exit(0);
