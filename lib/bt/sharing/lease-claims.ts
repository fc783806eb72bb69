/**
 * Turns by leases, where the bucket can create an object only if there is none: `leases/<id>/<generation>` names the
 * seeder that reads the blob. Its owner rewrites it now and then; one that stays unchanged has lost its owner, and the
 * next generation is created by whoever comes first. No clock is compared with another host's.
 * @module
 */
import type { Logger } from "../../log/log.ts";
import type { ObjectStore } from "../../storage/index.ts";
import { StorageError } from "../../storage/index.ts";
import type { Claim, Claims, ClaimsInit } from "./claims.ts";

/** A lease unchanged for so long has lost its owner, ms. */
const LOST_AFTER_MS = 6000;
const RENEW_MS = 1500;
/** Others may create and release leases while one is looked at. */
const MAX_ATTEMPTS = 5;
/** Leases of others that are remembered. */
const MAX_SEEN = 10_000;
const MAX_RECORD = 4096;

export interface LeaseClaimsInit extends ClaimsInit {
  /** Must know conditions. */
  readonly objects: ObjectStore;
  readonly log: Logger;
  /** @default 6000 */
  readonly lostAfterMs?: number;
  /** @default 1500 */
  readonly renewMs?: number;
}

interface LeaseRecord {
  readonly owner: string;
  readonly instance: string;
  /** Grows by one with each renewal. */
  readonly turn: number;
}

interface Seen {
  readonly what: string;
  readonly instance: string;
  readonly owner: string;
  /** Monotonic ms since which it is unchanged. */
  readonly since: number;
}

/** See the module. */
export class LeaseClaims implements Claims {
  readonly #init: LeaseClaimsInit;
  readonly #now: () => number;
  readonly #held = new Map<string, Lease>();
  readonly #seen = new Map<string, Seen>();
  /** Instances of seeders that are gone for certain. */
  readonly #dead = new Set<string>();

  constructor(init: LeaseClaimsInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
  }

  async claim(id: string): Promise<Claim> {
    const { objects, self } = this.#init;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const held = this.#held.get(id);
      if (held) return { kind: "mine", release: () => held.release() };
      const latest = (await this.#generations(id)).at(-1);
      if (latest !== undefined) {
        const record = await this.#read(keyOf(id, latest));
        if (!record) continue;
        if (!this.#isOver(id, latest, record)) return { kind: "other", owner: new URL(record.owner) };
      }
      const generation = (latest ?? -1) + 1;
      if (!(await objects.create(keyOf(id, generation), this.#record(0)))) continue;
      this.#seen.delete(id);
      const lease = this.#hold(id, generation);
      return { kind: "mine", release: () => lease.release() };
    }
    throw new StorageError("io", `the lease of blob ${id} at ${self.host} changes hands too fast`);
  }

  suspect(owner: URL, { dead }: { dead: boolean }): void {
    // One that cannot be reached but renews its leases lives.
    if (!dead) return;
    for (const seen of this.#seen.values()) if (seen.owner === owner.href) this.#dead.add(seen.instance);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#held.values()].map((lease) => lease.release()));
  }

  #isOver(id: string, generation: number, record: LeaseRecord): boolean {
    const { self, lostAfterMs = LOST_AFTER_MS } = this.#init;
    // What is not held here is a lease of this seeder's earlier life.
    if (record.owner === self.href || this.#dead.has(record.instance)) return true;
    const what = `${generation}/${record.turn}`;
    const seen = this.#seen.get(id);
    if (seen?.what === what) return this.#now() - seen.since > lostAfterMs;
    this.#seen.delete(id);
    this.#seen.set(id, { what, instance: record.instance, owner: record.owner, since: this.#now() });
    for (const oldest of this.#seen.keys()) {
      if (this.#seen.size <= MAX_SEEN) break;
      this.#seen.delete(oldest);
    }
    return false;
  }

  #hold(id: string, generation: number): Lease {
    const { objects, log, renewMs = RENEW_MS } = this.#init;
    const key = keyOf(id, generation);
    const lease = new Lease({
      renewMs,
      renew: (turn) => objects.put(key, this.#record(turn)),
      onTrouble: (error) => log.warn("could not renew a lease", { blob: id, error }),
      remove: async () => {
        this.#held.delete(id);
        for (const each of await this.#generations(id)) if (each <= generation) await objects.delete(keyOf(id, each));
      },
    });
    this.#held.set(id, lease);
    return lease;
  }

  /** Ascending. */
  async #generations(id: string): Promise<number[]> {
    const prefix = `leases/${id}/`;
    const found: number[] = [];
    for await (const { key } of this.#init.objects.list(prefix)) {
      const text = key.slice(prefix.length);
      if (/^[0-9]{8}$/.test(text)) found.push(Number(text));
    }
    return found.sort((a, b) => a - b);
  }

  async #read(key: string): Promise<LeaseRecord | undefined> {
    const read = await this.#init.objects.get(key);
    if (!read) return undefined;
    let text = "";
    for await (const part of read.body) {
      text += Buffer.from(part).toString();
      if (text.length > MAX_RECORD) break;
    }
    try {
      const { owner, instance, turn } = JSON.parse(text) as Partial<LeaseRecord>;
      if (typeof owner === "string" && URL.canParse(owner) && typeof instance === "string" && Number.isInteger(turn)) {
        return { owner: new URL(owner).href, instance, turn: turn! };
      }
    } catch {
      // Falls through: what no seeder wrote belongs to nobody.
    }
    return { owner: this.#init.self.href, instance: "", turn: 0 };
  }

  #record(turn: number): Uint8Array {
    const { self, instance } = this.#init;
    return Buffer.from(JSON.stringify({ owner: self.href, instance, turn } satisfies LeaseRecord));
  }
}

interface LeaseInit {
  readonly renewMs: number;
  renew(turn: number): Promise<void>;
  remove(): Promise<void>;
  onTrouble(error: unknown): void;
}

/** A lease that this seeder holds. */
class Lease {
  readonly #init: LeaseInit;
  readonly #timer: ReturnType<typeof setInterval>;
  #turn = 0;
  #renewing: Promise<void> | undefined;
  #released: Promise<void> | undefined;

  constructor(init: LeaseInit) {
    this.#init = init;
    this.#timer = setInterval(() => this.#renew(), init.renewMs);
  }

  release(): Promise<void> {
    this.#released ??= this.#end();
    return this.#released;
  }

  #renew(): void {
    if (this.#renewing) return;
    this.#turn += 1;
    this.#renewing = this.#init
      .renew(this.#turn)
      .catch((error: unknown) => this.#init.onTrouble(error))
      .finally(() => {
        this.#renewing = undefined;
      });
  }

  async #end(): Promise<void> {
    clearInterval(this.#timer);
    // A renewal under way would make the object anew.
    await this.#renewing;
    await this.#init.remove().catch((error: unknown) => this.#init.onTrouble(error));
  }
}

function keyOf(id: string, generation: number): string {
  return `leases/${id}/${String(generation).padStart(8, "0")}`;
}
