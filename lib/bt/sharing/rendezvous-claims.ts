/**
 * Turns without conditional writes: each seeder shows that it lives by an object of its own that it rewrites, and of
 * those that live the one with the highest weight for the blob (rendezvous hashing) reads it. While views differ, just
 * after a seeder came or went, two may read the same blob. Ages are compared by the server's clock alone.
 * @module
 */
import type { Logger } from "../../log/log.ts";
import { rendezvousWeight } from "../../rpc/choice.ts";
import type { ObjectEntry, ObjectStore } from "../../storage/index.ts";
import type { Claim, Claims, ClaimsInit } from "./claims.ts";

const RENEW_MS = 3000;
/** A seeder that has not shown itself for so long is gone, ms. */
const GONE_AFTER_MS = 10_000;
/** A view of who lives is good for so long, ms. */
const VIEW_MS = 1000;
/** One that could not be reached is passed over for so long, ms. */
const PASSED_OVER_MS = 15_000;
/** Signs of seeders long gone are swept, ms. */
const SWEEP_AFTER_MS = 3600_000;

const PREFIX = "seeders/";

export interface RendezvousClaimsInit extends ClaimsInit {
  readonly objects: ObjectStore;
  readonly log: Logger;
}

/** See the module. */
export class RendezvousClaims implements Claims {
  readonly #init: RendezvousClaimsInit;
  readonly #now: () => number;
  readonly #key: string;
  readonly #passedOver = new Map<string, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  #shown: Promise<void>;
  #view: { readonly urls: Promise<readonly string[]>; readonly at: number } | undefined;

  /** Shows this seeder from now on. */
  constructor(init: RendezvousClaimsInit) {
    this.#init = init;
    this.#now = init.now ?? (() => performance.now());
    this.#key = `${PREFIX}${Buffer.from(init.self.href).toString("base64url")}.${init.instance}`;
    this.#shown = this.#show();
    this.#timer = setInterval(() => {
      this.#shown = this.#show();
    }, RENEW_MS);
  }

  async claim(id: string): Promise<Claim> {
    const { self } = this.#init;
    const now = this.#now();
    if (!this.#view || now - this.#view.at > VIEW_MS) {
      const urls = this.#look();
      urls.catch(() => {
        this.#view = undefined;
      });
      this.#view = { urls, at: now };
    }
    let best = self.href;
    for (const url of await this.#view.urls) {
      if (url === self.href || (this.#passedOver.get(url) ?? 0) > now) continue;
      if (rendezvousWeight(url, id) > rendezvousWeight(best, id)) best = url;
    }
    return best === self.href ? { kind: "mine", release: async () => {} } : { kind: "other", owner: new URL(best) };
  }

  suspect(owner: URL): void {
    this.#passedOver.set(owner.href, this.#now() + PASSED_OVER_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#shown;
    await this.#init.objects.delete(this.#key).catch(() => {});
  }

  async #show(): Promise<void> {
    try {
      await this.#init.objects.put(this.#key, Buffer.from("1"));
    } catch (error) {
      this.#init.log.warn("could not show other seeders that this one lives", { error });
    }
  }

  async #look(): Promise<string[]> {
    await this.#shown;
    const entries: ObjectEntry[] = [];
    for await (const entry of this.#init.objects.list(PREFIX)) entries.push(entry);
    const latest = Math.max(...entries.map(({ modifiedMs }) => modifiedMs));
    const own = entries.find(({ key }) => key === this.#key)?.modifiedMs ?? latest;
    const urls: string[] = [];
    for (const { key, modifiedMs } of entries) {
      if (own - modifiedMs > SWEEP_AFTER_MS) this.#init.objects.delete(key).catch(() => {});
      if (own - modifiedMs > GONE_AFTER_MS) continue;
      const url = Buffer.from(key.slice(PREFIX.length).split(".")[0]!, "base64url").toString();
      if (URL.canParse(url)) urls.push(new URL(url).href);
    }
    return urls;
  }
}
