// What happens to keys and topics, as it happens: each thing once and in order, from one node after another.
import { decode, encode } from "@msgpack/msgpack";
import { Connection, Refused, pause } from "./conclave.mjs";

const SUBSCRIBE = 14, CREDIT = 15, UNSUBSCRIBE = 16;
const KEYS = 1, TOPIC = 2;
const BEGUN = 1, EVENTS = 2, STATE = 3, PROGRESS = 4, RESYNC = 5;
const OK = 0, NOT_FOUND = 1, ELSEWHERE = [6, 7, 8, 9, 15, 16]; // ends that another node can go on from
const FIRST = 3000, SILENCE = 8000; // so long a node may be silent: it has something to say at once, and then every 3 s
const AGE = 8000; // one that knows only of what is older is cut off from the others
export const STATE_FIRST = 1, NO_PUTS = 2; // of `what` of a watch
export const PUT = 1, DELETE = 2, EXPIRE = 3;

/**
 * Is iterated over; gives one after another of
 *
 *   { type: "events", position, events }    all that happened before position and was not told
 *   { type: "state", position, items }      all that there was before position
 *   { type: "resync", oldest }              what happened before oldest was not kept
 *   { type: "progress", position, asked }   everything before position has been told
 */
export class Subscription {
  constructor(endpoints, kind, spec, { position = 0, window = 1 << 20 } = {}) {
    Object.assign(this, { endpoints, kind, spec, position, window, node: 0, connection: null, wish: null });
    Object.assign(this, { ready: [], wake: () => {}, closed: false, failed: null });
  }

  /** At the next node, from where everything was told. */
  begin() {
    this.connection?.close();
    Object.assign(this, { number: 0, received: 0, held: [], state: new Map(), lifetime: 30000, over: false });
    const connection = new Connection(this.endpoints[this.node++ % this.endpoints.length], (id, code, body) => {
      if (connection === this.connection && !this.over) this.over = !this.take(code, body);
      this.wake();
    });
    this.connection = connection;
    this.granted = this.window;
    connection.send(1, SUBSCRIBE, encode([this.kind, this.position, this.granted, this.spec]));
    this.heard = this.spoke = performance.now();
  }

  credit(...ask) {
    this.granted = this.received + this.window;
    this.spoke = performance.now();
    this.connection.send(1, CREDIT, encode([this.granted, ...ask]));
  }

  /** A "progress" with this number will come behind everything that is committed by now. */
  ask(number) {
    this.wish = number;
    if (this.connection) this.credit(number);
  }

  async *[Symbol.asyncIterator]() {
    while (!this.closed) {
      if (this.failed) throw this.failed;
      if (this.ready.length) {
        yield this.ready.shift();
        continue;
      }
      const silent = performance.now() - this.heard > (this.number ? SILENCE : FIRST);
      if (!this.connection || this.over || silent) {
        if (this.over) await pause(50);
        this.begin();
      }
      const low = this.granted - this.received < this.window / 2;
      if (low || performance.now() - this.spoke > this.lifetime / 3) this.credit();
      await new Promise((done) => {
        const timer = setTimeout(done, 1000);
        this.wake = () => (clearTimeout(timer), done());
      });
    }
  }

  /** One reply; false if this subscription is over and another one has to go on. */
  take(code, body) {
    this.heard = performance.now();
    if (code !== OK) {
      // NOT_FOUND after the beginning: the node does not know the subscription any more
      if (!ELSEWHERE.includes(code) && !(code === NOT_FOUND && this.number)) this.failed = new Refused(code, body);
      return false;
    }
    if (!body.length) return false;
    const [number, kind, position, ...rest] = decode(body);
    if (number !== this.number + 1) return false; // something was lost
    this.number = number;
    if (kind === BEGUN) {
      [this.position, this.lifetime] = [position, rest[0]];
      if (this.wish !== null) this.credit(this.wish);
    } else if (kind === EVENTS) {
      this.received += body.length;
      this.held.push(...rest[1]);
      if (rest[0]) return true;
      this.tell({ type: "events", position, events: this.held });
      this.held = [];
    } else if (kind === STATE) {
      this.received += body.length;
      for (const item of rest[1]) this.state.set(Buffer.from(item[0]).toString("latin1"), item);
      if (rest[0]) return true;
      this.tell({ type: "state", position, items: [...this.state.values()].filter((item) => item[4]) });
      this.state = new Map();
      this.spec = this.spec.map((field, place) => (place === 2 ? field & ~STATE_FIRST : field));
    } else if (kind === PROGRESS) {
      if (rest[1] === this.wish) this.wish = null;
      this.tell({ type: "progress", position, asked: rest[1] });
      return rest[0] <= AGE;
    } else if (kind === RESYNC) {
      this.held = [];
      this.state = new Map();
      this.ready.push({ type: "resync", oldest: rest[0] });
    }
    return true;
  }

  tell(what) {
    this.position = what.position;
    this.ready.push(what);
  }

  /** Tells the node, which would otherwise find out after the lifetime. */
  async close() {
    this.closed = true;
    this.wake();
    this.connection?.send(1, UNSUBSCRIBE, null);
    await this.connection?.queue;
    await pause(10);
    this.connection?.close();
  }
}

/** The changes of the keys from start to before end; an event is [kind, key, value, revision, created, version]. */
export const watch = (endpoints, start, end, { what = 0, position = 0, space = 0 } = {}) =>
  new Subscription(endpoints, KEYS, [start, end, what, space], { position });

/** The messages of a topic; one is [sequence, revision, time, data, id]. */
export const subscribe = (endpoints, topic, { position = 1, window } = {}) =>
  new Subscription(endpoints, TOPIC, [topic], { position, window });
