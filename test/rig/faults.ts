/**
 * @module The faults that a counting proxy injects.
 */

/** What goes wrong. Byte counts are within one response's body, if nothing else is said. */
export type FaultKind =
  /** Close the connection after so many bytes. With `of: "blob"`: before that byte of the blob, in whatever range it travels. */
  | { kind: "cut"; at: number; of?: "blob" | "body" }
  /** Reset the connection (TCP RST) after so many bytes, or before that byte of the blob. */
  | { kind: "reset"; at: number; of?: "blob" | "body" }
  /** Flip one bit of the byte at this place: of the blob, in whatever range it travels (the default), or of the body. */
  | { kind: "flip"; at: number; of?: "blob" | "body" }
  /** Send nothing more after so many bytes, or from that byte of the blob on, and keep the connection open. */
  | { kind: "stall"; at: number; of?: "blob" | "body" }
  /** Take the request and never answer. */
  | { kind: "hole" }
  /** Answer with this status and an OCI error body. */
  | { kind: "status"; status: number }
  /** Send this many bytes a second, from the start or from a byte of the blob on. */
  | { kind: "slow"; rate: number; at?: number }
  /** Another body: random bytes, this many, without a Content-Length. */
  | { kind: "garbage"; bytes: number };

/** Which requests a fault hits. */
export interface FaultTarget {
  /** On the request target. @default /\/blobs\// */
  match?: RegExp;
  /** @default "GET" */
  method?: string;
  /** How many matching requests of each URL. @default 1 */
  times?: number;
}

/** A fault in force. */
export class Fault {
  readonly effect: FaultKind;
  readonly #target: Required<FaultTarget>;
  readonly #hitsByUrl = new Map<string, number>();
  /** How many responses it has spoilt. */
  hits = 0;

  constructor(effect: FaultKind, { match = /\/blobs\//, method = "GET", times = 1 }: FaultTarget = {}) {
    this.effect = effect;
    this.#target = { match, method, times };
  }

  /** Could it hit this request? */
  matches(method: string, url: string): boolean {
    const { match, times } = this.#target;
    return method === this.#target.method && match.test(url) && (this.#hitsByUrl.get(url) ?? 0) < times;
  }

  /** Whether it hits when its byte of the blob comes by, and not when the request does. */
  get waitsForByte(): boolean {
    const { effect } = this;
    if (effect.kind === "flip") return true;
    if (effect.kind === "slow") return effect.at !== undefined;
    return "of" in effect && effect.of === "blob";
  }

  /** Hits this request, if it still may. */
  take(url: string): boolean {
    const hits = this.#hitsByUrl.get(url) ?? 0;
    if (hits >= this.#target.times) return false;
    this.#hitsByUrl.set(url, hits + 1);
    this.hits++;
    return true;
  }
}
