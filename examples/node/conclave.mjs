// A client of conclave, written from docs/protocol.md: keys, transactions, leases and topics.
//
// Keys, values and names are Uint8Array, Buffer or string (sent as UTF-8); what comes back is Uint8Array. Any number
// of operations may be under way at once. streams.mjs has watches and subscriptions, lock.mjs locks.
import { Dealer } from "zeromq";
import { decode, encode } from "@msgpack/msgpack";

const PROPOSE = 1, READ = 2, SESSION = 5;
const OK = 0, NOT_FOUND = 1, NOT_LEADER = 5, UNKNOWN = 10, SESSION_EXPIRED = 23, FORGOTTEN = 24;
const NOT_NOW = [5, 6, 7, 8, 25]; // NOT_LEADER, NO_LEADER, BUSY, STOPPING, HANDOVER: surely not applied, ask again
const OPEN = 1, COMMAND = 2, CLOSE = 4;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** The cluster said no, and changed nothing: code and answer say why. */
export class Refused extends Error {
  constructor(code, answer) {
    super(`code ${code}: ${answer instanceof Uint8Array ? Buffer.from(answer) : JSON.stringify(answer)}`);
    Object.assign(this, { code, answer });
  }
}

/** No answer until the deadline. A command was surely not carried out. */
export class Unreachable extends Error {}

/** Nobody can tell any more whether the command was carried out; it may still be. */
export class Unknown extends Error {}

/** The array of an answer; a map, a sentence and an empty answer stay what they are. */
const decoded = (body) => (body instanceof Uint8Array && body.length ? decode(body) : body);

/** One socket to one node, which is closed rather than asked again when the node is silent. */
export class Connection {
  constructor(endpoint, take) {
    this.endpoint = endpoint;
    this.socket = new Dealer({ linger: 0 });
    this.socket.connect(endpoint);
    this.queue = Promise.resolve(); // a socket takes one message at a time
    this.reading = this.read(take);
  }

  async read(take) {
    for await (const [frame] of this.socket) {
      const [version, ...replies] = decode(frame);
      if (version === 1) for (const reply of replies) take(...reply);
    }
  }

  send(id, type, body) {
    const frame = encode([1, [id, type, body]]);
    this.queue = this.queue.then(() => (this.socket.closed ? undefined : this.socket.send(frame))).catch(() => {});
  }

  close() {
    this.socket.close();
  }
}

/** Sends commands in a session: each is carried out once, however often it has to be sent. */
export class Client {
  constructor(endpoints, { timeout = 10000, patience = 1000 } = {}) {
    Object.assign(this, { endpoints, timeout, patience, next: 0, id: 0, waiting: new Map(), connection: null });
    Object.assign(this, { opening: null, session: null });
  }

  connect(endpoint) {
    this.connection?.close();
    this.connection = endpoint ? new Connection(endpoint, (...reply) => this.take(...reply)) : null;
    return this.connection;
  }

  take(id, code, body) {
    this.waiting.get(id)?.([code, body]); // others are late, to what was given up
  }

  /** [code, body], or [] if the node was silent. */
  async ask(connection, type, body, ms) {
    const id = ++this.id;
    let timer;
    const answer = new Promise((done) => {
      this.waiting.set(id, done);
      timer = setTimeout(done, ms, []);
    });
    connection.send(id, type, body);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      this.waiting.delete(id);
    }
  }

  /** Asks one node after another, and the leader where it is named: [code, answer, was it sent before?]. */
  async request(type, body, once = false) {
    const until = Date.now() + this.timeout;
    let wait = 10;
    let perhaps = false;
    for (let left; (left = until - Date.now()) > 0; ) {
      const asked = this.connection ?? this.connect(this.endpoints[this.next++ % this.endpoints.length]);
      const [code, answer] = await this.ask(asked, type, body, once ? left : Math.min(left, this.patience));
      if (code !== undefined && code !== UNKNOWN && !NOT_NOW.includes(code)) return [code, decoded(answer), perhaps];
      perhaps ||= !NOT_NOW.includes(code);
      const named = code === NOT_LEADER ? answer.endpoint : "";
      if (this.connection === asked) this.connect(named); // else another operation has moved on already
      if (once && perhaps) break;
      if (!named) {
        await pause(Math.min(wait * (0.5 + Math.random() / 2), Math.max(0, until - Date.now())));
        wait = Math.min(500, wait * 2);
      }
    }
    throw perhaps && type !== READ ? new Unknown("no answer in time") : new Unreachable("no answer in time");
  }

  /** A command without a session, which may be carried out without an answer (Unknown): [code, answer]. */
  async propose(...command) {
    return (await this.request(PROPOSE, encode(command), true)).slice(0, 2);
  }

  async open() {
    const [code, answer] = await this.request(SESSION, encode([OPEN]));
    if (code !== OK) throw new Refused(code, answer);
    return { id: answer[0], sequence: 0, unanswered: new Set() };
  }

  /** A command in the session: [code, answer]. */
  async command(...command) {
    const packed = encode(command);
    for (;;) {
      const session = await (this.opening ??= this.open());
      this.session = session;
      const sequence = ++session.sequence;
      session.unanswered.add(sequence);
      try {
        const acknowledged = Math.min(...session.unanswered) - 1; // all answers up to here have come
        const body = encode([COMMAND, session.id, sequence, acknowledged, packed]);
        const [code, answer, perhaps] = await this.request(SESSION, body);
        if (code === SESSION_EXPIRED && this.session === session) this.opening = this.session = null;
        if (code === SESSION_EXPIRED && !perhaps) continue;
        if (code === SESSION_EXPIRED || code === FORGOTTEN) throw new Unknown(`code ${code}, when it was sent again`);
        return [code, answer];
      } finally {
        session.unanswered.delete(sequence);
      }
    }
  }

  /** A query, linearizable at any node: [code, answer]. */
  async read(...query) {
    return (await this.request(READ, encode(query))).slice(0, 2);
  }

  async close() {
    if (this.session) await this.request(SESSION, encode([CLOSE, this.session.id]));
    this.connect(null);
  }

  async must(...command) {
    const [code, answer] = await (command[0] >= 64 ? this.read(...command) : this.command(...command));
    if (code !== OK) throw new Refused(code, answer);
    return answer;
  }

  /** The revision. ifRevision: the one that the key has to have, 0 if it may not be there; else Refused. */
  put = async (key, value, { ifRevision = null, lease = null, ttl = null } = {}) =>
    (await this.must(1, key, value, ifRevision, lease, ttl))[0];

  /** { key, value, created, modified, version, lease }, or null: there is no such key. */
  async get(key, at = null) {
    const [code, answer] = await this.read(64, key, at);
    if (code !== OK && code !== NOT_FOUND) throw new Refused(code, answer);
    return code === OK ? item(answer[1]) : null;
  }

  /** All items from start to before end, as they are at one revision. */
  async *range(start = null, end = null) {
    let at = null;
    do {
      const [revision, items, , next] = await this.must(65, start, end, null, null, null, at);
      yield* items.map(item);
      [start, at] = [next, at ?? revision];
    } while (start !== null);
  }

  delete = async (key, ifRevision = null) => (await this.must(2, key, ifRevision))[1];
  deleteRange = async (start, end) => (await this.must(3, start, end))[1];

  /** Whether the compares held, and [[code, answer], ...] of the steps. */
  async transaction(compares, then, otherwise = []) {
    const [, held, answers] = await this.must(5, compares, then, otherwise);
    return { held: held === 1, answers };
  }

  grant = async (ttl) => (await this.must(6, ttl))[1];
  renew = async (lease) => void (await this.must(7, lease));
  revoke = async (lease) => (await this.must(8, lease))[1];

  createTopic = async (name, { count = 0, bytes = 0, age = 0, dedup = 0 } = {}) =>
    (await this.must(24, name, count, bytes, age, dedup))[1];

  /** The sequence of the first new message; the others follow it. */
  publish = async (topic, messages, { expect = null, ids = null } = {}) =>
    (await this.must(26, topic, messages, expect, ids))[1];
}

export const item = ([key, value, created, modified, version, lease = 0]) =>
  ({ key, value, created, modified, version, lease });

/** The first key behind all those that begin with the prefix; null: there is no end. */
export function prefixEnd(prefix) {
  const bytes = Buffer.from(prefix);
  let length = bytes.length;
  while (length && bytes[length - 1] === 0xff) length--;
  if (!length) return null;
  const end = Buffer.from(bytes.subarray(0, length));
  end[length - 1]++;
  return end;
}
