/**
 * Tells the trackers that this host fetches a blob, and hears from them who else has it.
 * @module
 */
import type { Logger } from "../log/log.ts";
import type { PeerAddress, TrackerClient } from "../tracker/client.ts";
import { swarmKey } from "../tracker/keys.ts";
import type { LiveBlob } from "./live-blob.ts";
import { sleep } from "./sleep.ts";

/** While no tracker answers they are asked this often, ms. */
const RETRY_MS = 2000;
/** Longest time between two announces of a download, ms. */
const MAX_INTERVAL_MS = 10_000;

/** See the module. One fetch of one blob. */
export class Announcer {
  readonly #tracker: TrackerClient;
  readonly #blob: LiveBlob;
  readonly #log: Logger;
  #answered = false;

  constructor({ tracker, blob, log }: { tracker: TrackerClient; blob: LiveBlob; log: Logger }) {
    this.#tracker = tracker;
    this.#blob = blob;
    this.#log = log;
  }

  /** Whether the first announce has ended, well or not: what trackers know has been told. */
  get answered(): boolean {
    return this.#answered;
  }

  /** Announces until the signal aborts, then says how it ended. Never rejects. */
  async run(onPeers: (peers: readonly PeerAddress[]) => void, signal: AbortSignal): Promise<void> {
    const key = swarmKey(this.#blob.digest.toString());
    let event: "started" | undefined = "started";
    try {
      while (!signal.aborted) {
        const said = { ...(event ? { event } : {}), left: this.#left(), signal };
        const answer = await this.#tracker.announce(key, said).catch((error: unknown) => {
          if (!signal.aborted) this.#log.debug("no tracker answers", { error });
          return undefined;
        });
        this.#answered = true;
        if (answer) onPeers(answer.peers);
        if (answer) event = undefined;
        await sleep(Math.min(answer?.intervalMs ?? RETRY_MS, MAX_INTERVAL_MS), signal);
      }
    } catch {
      // The wait ended with the fetch.
    }
    const complete = this.#blob.have?.full === true;
    const last = complete
      ? { event: "completed" as const, left: 0 }
      : { event: "stopped" as const, left: this.#left() };
    this.#tracker.announce(key, last).catch(() => {});
  }

  #left(): number {
    return Math.max(1, (this.#blob.size ?? 1) - this.#blob.received);
  }
}
