// A lock of conclave: a lease, a place in a queue, and a watch for the entry ahead to go.
import { Refused, pause } from "./conclave.mjs";
import { NO_PUTS, watch } from "./streams.mjs";

const QUEUES = 1; // the space of their entries
const NOT_FOUND = 1, LEASE_EXPIRED = 29;

/** The lease is over: somebody else may hold by now. */
export class Lost extends Error {}

/** Hold it while held() is true. Send the token with whatever is done under the lock, and have lower ones refused. */
export class Lock {
  static async enqueue(client, name, { ttl = 10000, value = "", slots = 1 } = {}) {
    const until = performance.now() + ttl; // the time counts from before it is asked for
    const lock = Object.assign(new Lock(), { client, name: Buffer.from(name), ttl, until });
    lock.lease = await client.grant(ttl);
    [lock.revision, lock.token, lock.awaited] = await client.must(16, lock.name, lock.lease, value, slots);
    return lock;
  }

  held = () => this.awaited === 0 && performance.now() < this.until;

  /** To be called every third of the time. */
  async renew() {
    const asked = performance.now();
    await this.ask(7, this.lease);
    this.until = asked + this.ttl;
  }

  async ask(...command) {
    try {
      return await this.client.must(...command);
    } catch (error) {
      if (error instanceof Refused && [NOT_FOUND, LEASE_EXPIRED].includes(error.code)) throw new Lost();
      throw error;
    }
  }

  /** True when it holds; false if it still waits, and may be asked again. */
  async acquire(timeout) {
    const deadline = performance.now() + timeout;
    while (this.awaited && performance.now() < deadline) {
      await this.wait(deadline);
      [this.revision, , this.awaited] = await this.ask(70, this.name, this.token); // what is seen is confirmed
    }
    return this.held();
  }

  /** Until the entry ahead is gone, which is told from the revision on that named it. */
  async wait(deadline) {
    const token = Buffer.alloc(9);
    token.writeBigUInt64BE(BigInt(this.awaited), 1);
    const ahead = Buffer.concat([this.name, token]);
    const range = [ahead, Buffer.concat([ahead, Buffer.alloc(1)])];
    const options = { what: NO_PUTS, position: this.revision + 1, space: QUEUES };
    const stream = watch(this.client.endpoints, ...range, options);
    let gone = false;
    const watching = (async () => {
      for await (const told of stream) if ((gone ||= told.type === "events")) break;
    })();
    try {
      while (!gone && performance.now() < deadline) {
        if (this.until - performance.now() < (this.ttl * 2) / 3) await this.renew();
        await Promise.race([watching, pause(Math.min(this.ttl / 6, Math.max(0, deadline - performance.now())))]);
      }
    } finally {
      await stream.close();
      await watching;
    }
  }

  /** With the lease goes the entry. */
  async release() {
    this.awaited = null;
    await this.client.revoke(this.lease);
  }
}
