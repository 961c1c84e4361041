// Everything that the client can do, once, on a running cluster: node tour.mjs [ENDPOINT,...]
//
// Prints a line for each thing that it did, and ends with 1 where something was not as docs/protocol.md says.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Client, Refused, prefixEnd } from "./conclave.mjs";
import { Lock } from "./lock.mjs";
import { DELETE, PUT, STATE_FIRST, subscribe, watch } from "./streams.mjs";

const DEFAULT = "tcp://127.0.0.1:7501,tcp://127.0.0.1:7502,tcp://127.0.0.1:7503";
const endpoints = (process.argv[2] ?? process.env.CONCLAVE_ENDPOINTS ?? DEFAULT).split(",");
const WAIT = Number(process.env.CONCLAVE_PATIENCE ?? 1) * 30000;

const join = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const text = (bytes) => bytes && Buffer.from(bytes).toString("latin1");

function expect(got, wanted, what) {
  assert.deepEqual(got, wanted, what);
  console.log(what);
}

/** What the stream tells, to the first thing for which wanted() is true. */
async function until(stream, wanted) {
  const told = [];
  const late = setTimeout(() => assert.fail(`nothing more came behind ${JSON.stringify(told)}`), WAIT);
  for (;;) {
    told.push((await stream.next()).value);
    if (wanted(told.at(-1))) break;
  }
  clearTimeout(late);
  return told;
}
const events = (told) => told.filter((one) => one.type === "events").flatMap((one) => one.events);

async function keys(client, base) {
  const key = join(base, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))); // any bytes
  const value = Buffer.from([0, 1, 255]);
  const first = await client.put(key, value, { ifRevision: 0 });
  const got = await client.get(key);
  expect([text(got.key), text(got.value), got.modified], [text(key), text(value), first],
    "a key of 256 different bytes is put and got");
  const refused = await client.put(key, "again", { ifRevision: 0 }).catch((error) => error);
  expect([refused instanceof Refused, refused.code, refused.answer[1]], [true, 2, first], "it is not created twice");
  const second = await client.put(key, "two", { ifRevision: first });
  expect(text((await client.get(key, first)).value), text(value), "what it was before is still known");
  const names = Array.from({ length: 250 }, (_, number) => `${base}list/${String(number).padStart(3, "0")}`);
  await Promise.all(names.map((name) => client.put(name, Buffer.alloc(3000))));
  const listed = [];
  for await (const item of client.range(`${base}list/`, prefixEnd(`${base}list/`))) listed.push(text(item.key));
  expect(listed, names, "250 keys, put all at once, are listed in several answers");
  expect(await client.deleteRange(`${base}list/`, prefixEnd(`${base}list/`)), 250, "and deleted in one revision");
  expect([await client.delete(key, second), await client.get(key)], [1, null], "the first one is deleted");
}

async function transactions(client, base) {
  const [a, b] = [`${base}a`, `${base}b`];
  await client.put(a, "10");
  const move = [[[3, 0, a, "10"], [2, 0, b, 0]], [[1, a, "7"], [1, b, "3"]], [[64, a]]];
  const once = await client.transaction(...move);
  expect([once.held, once.answers.map(([code]) => code)], [true, [0, 0]], "a transaction moves 3 from a to b");
  const twice = await client.transaction(...move);
  expect([twice.held, text(twice.answers[0][1][1][1])], [false, "7"], "and the second time reads a instead");
  expect((await client.get(a)).modified, (await client.get(b)).modified, "both have one revision");
}

async function leases(client, base) {
  const lease = await client.grant(60000);
  await Promise.all([client.put(`${base}1`, "", { lease }), client.put(`${base}2`, "", { lease })]);
  await client.renew(lease);
  expect([await client.revoke(lease), await client.get(`${base}1`)], [2, null], "two keys end with their lease");
}

async function watches(client, base) {
  await client.put(`${base}0`, "zero");
  const first = watch(endpoints, base, prefixEnd(base), { what: STATE_FIRST });
  const state = await until(first[Symbol.asyncIterator](), (told) => told.type === "state");
  expect(state.at(-1).items.map((item) => text(item[1])), ["zero"], "a watch tells what there is");
  await client.put(`${base}1`, "one");
  const seen = events(await until(first[Symbol.asyncIterator](), (told) => told.type === "events"));
  await first.close();
  await client.transaction([], [[1, `${base}2`, "two"], [2, `${base}1`]]);
  const others = [...endpoints.slice(1), endpoints[0]];
  const second = watch(others, base, prefixEnd(base), { position: first.position });
  second.ask(7);
  seen.push(...events(await until(second[Symbol.asyncIterator](), (told) => told.asked === 7)));
  await second.close();
  const plain = seen.map(([kind, key, value]) => [kind, text(key), text(value)]);
  expect(plain[0], [PUT, `${base}1`, "one"], "and then what happens");
  expect([plain.slice(1).sort(), seen[1][3] === seen[2][3]],
    [[[PUT, `${base}2`, "two"], [DELETE, `${base}1`, null]], true],
    "another node goes on, with the two changes of one transaction");
}

async function locks(client, base) {
  const name = join(base, [0xff]);
  const first = await Lock.enqueue(client, name);
  const other = new Client(endpoints, { timeout: WAIT });
  const second = await Lock.enqueue(other, name);
  const order = [];
  const waiting = second.acquire(WAIT).then((held) => order.push(held && second.token));
  expect([first.held(), order], [true, []], "who came first holds the lock");
  await first.renew();
  await first.release();
  await waiting;
  expect(order[0] > first.token, true, "who waited holds it next, with a higher token");
  await second.release();
  await other.close();
}

async function topics(client, base) {
  const topic = join(base, [0]);
  const sent = Array.from({ length: 400 }, (_, number) => String(number).repeat(100));
  await client.createTopic(topic, { dedup: 600000 });
  for (let at = 0; at < 400; at += 100) await client.publish(topic, sent.slice(at, at + 100), { expect: at });
  const stream = subscribe(endpoints, topic, { window: 32768 }); // the node waits for credit again and again
  const told = stream[Symbol.asyncIterator]();
  const got = [];
  while (got.length < 400) got.push(...events(await until(told, (one) => one.type === "events")));
  expect([got.map((message) => text(message[3])), got.map((message) => message[0])],
    [sent, sent.map((_, number) => number + 1)], "400 messages are replayed, under credit");
  await client.must(26, topic, ["last"], null, ["id"]);
  const again = await client.must(26, topic, ["last"], null, ["id"]);
  expect(again.slice(2), [0, [[0, 401]]], "a message is not published twice under one id");
  const [last] = events(await until(told, (one) => one.type === "events"));
  expect([last[0], text(last[3]), text(last[4])], [401, "last", "id"], "and is told when it comes");
  await stream.close();
}

const client = new Client(endpoints, { timeout: WAIT });
const base = `tour/${randomBytes(6).toString("hex")}/`;
for (const part of [keys, transactions, leases, watches, locks, topics]) await part(client, `${base}${part.name}/`);
await client.deleteRange(base, prefixEnd(base));
await client.close();
