/**
 * How the parts of one cluster know each other: by signatures made with a shared secret, by certificates, by both, or
 * not at all (then everybody is a stranger, and gets what strangers may have).
 * @module
 */
import { type Logger, silentLogger } from "../log/log.ts";
import { canonicalAuthority, isOwnAuthority, type LocalEnd } from "./authority.ts";
import { faultOf, isSignature, sign } from "./signature.ts";
import { isWebSeedToken, webSeedToken } from "./web-seed-token.ts";

/**
 * With the value `anyone` a request asks for no more than a stranger would get, also over a connection that a
 * certificate vouches for. Needed by whoever takes what others offer to anyone for public.
 */
export const AS_HEADER = "eagle-as";
const ANYONE = "anyone";

/** A refused signature is logged at most so often, ms. */
const WARN_EVERY_MS = 60_000;

/** What TLS between the parts is made of, PEM texts. */
export interface ClusterTls {
  /** Who may sign the certificates of parts; not given: whom the runtime trusts. */
  readonly ca?: string;
  /** This part's own certificate and its key. */
  readonly own?: { readonly cert: string; readonly key: string };
}

/** See {@link ClusterAuth}. */
export interface ClusterAuthInit {
  readonly secret?: string | undefined;
  /** Also accepted, never used to sign: for changing the secret without a gap. */
  readonly previousSecret?: string | undefined;
  readonly tls?: ClusterTls | undefined;
  /** More addresses of this part: see `isOwnAuthority`. */
  readonly addresses?: readonly string[];
  readonly log?: Logger;
  /** Wall clock, ms. @default Date.now */
  readonly now?: () => number;
}

/** A request as the part that got it sees it. */
export interface ReceivedRequest {
  readonly method: string;
  /** `Host` or `:authority`. */
  readonly authority: string;
  /** As sent. */
  readonly target: string;
  readonly authorization: string | null | undefined;
  /** Of {@link AS_HEADER}. */
  readonly as: string | null | undefined;
}

/** The connection it came by. */
export interface ReceivedBy extends LocalEnd {
  readonly secure: boolean;
  /** The client showed a certificate that the cluster's CA signed. */
  readonly certified?: boolean | undefined;
}

/** See the module. Holds nothing that needs closing. */
export class ClusterAuth {
  readonly tls: ClusterTls;
  readonly #secret: string | undefined;
  readonly #secrets: readonly string[];
  readonly #addresses: ReadonlySet<string>;
  readonly #log: Logger;
  readonly #now: () => number;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor({
    secret,
    previousSecret,
    tls = {},
    addresses = [],
    log = silentLogger,
    now = Date.now,
  }: ClusterAuthInit = {}) {
    this.tls = tls;
    this.#secret = secret;
    this.#secrets = [secret, previousSecret].filter((each) => each !== undefined);
    this.#addresses = new Set(addresses);
    this.#log = log;
    this.#now = now;
  }

  /** Whether parts can be told from strangers. */
  get closed(): boolean {
    return this.#secret !== undefined || this.isMutual;
  }

  /** Whether parts show each other certificates. Then every port of a part speaks TLS. */
  get isMutual(): boolean {
    return this.tls.own !== undefined && this.tls.ca !== undefined;
  }

  /** The scheme that parts without a URL of their own (peers) are spoken to by. */
  get scheme(): "http" | "https" {
    return this.tls.own ? "https" : "http";
  }

  /** For a listener: this part's certificate, where its port has none of its own, and whose clients count as parts. */
  serverTls(
    own: { readonly cert: string; readonly key: string } | undefined = this.tls.own,
  ): { cert: string; key: string; clientCa?: string } | undefined {
    if (!own) return undefined;
    return { ...own, ...(this.isMutual && this.tls.ca !== undefined ? { clientCa: this.tls.ca } : {}) };
  }

  /**
   * The headers that make a request one of this part.
   * @param url What is dialled, with path and query exactly as they are sent.
   * @param options.asPart false: as anyone, for what anyone may have.
   */
  headers(method: string, url: URL, { asPart = true }: { asPart?: boolean } = {}): Record<string, string> {
    if (!this.closed) return {};
    if (!asPart) return { [AS_HEADER]: ANYONE };
    if (this.#secret === undefined) return {};
    const authority = canonicalAuthority(url.host, { secure: url.protocol === "https:" });
    if (authority === undefined) return {};
    const parts = { method, authority, target: url.pathname + url.search };
    return { authorization: sign(this.#secret, parts, this.#seconds()) };
  }

  /** Whether a part of this cluster asks, and as such. */
  isPart(request: ReceivedRequest, by: ReceivedBy): boolean {
    if (request.as) return false;
    if (this.isMutual && by.certified === true) return true;
    const { authorization } = request;
    if (this.#secrets.length === 0 || !authorization || !isSignature(authorization)) return false;
    const fault = this.#fault(request, authorization, by);
    if (fault !== undefined) this.#warn(fault, request, by);
    return fault === undefined;
  }

  /** @returns undefined without a secret. @param digest With its algorithm. */
  webSeedToken(digest: string): string | undefined {
    return this.#secret === undefined ? undefined : webSeedToken(this.#secret, digest, this.#seconds());
  }

  isWebSeedToken(token: string, digest: string): boolean {
    return isWebSeedToken(token, digest, { secrets: this.#secrets, seconds: this.#seconds() });
  }

  #fault({ method, authority: told, target }: ReceivedRequest, header: string, by: ReceivedBy): string | undefined {
    const authority = canonicalAuthority(told, by);
    // Absolute-form names a host of its own: no part sends it.
    if (authority === undefined || !target.startsWith("/")) return "malformed";
    const fault = faultOf(header, { method, authority, target }, { secrets: this.#secrets, seconds: this.#seconds() });
    return fault ?? (isOwnAuthority(authority, by, this.#addresses) ? undefined : "elsewhere");
  }

  /** Mostly two clocks that differ or two secrets: an operator has to hear of it, if not each time. */
  #warn(fault: string, { method, authority, target }: ReceivedRequest, { localAddress, localPort }: ReceivedBy): void {
    const now = this.#now();
    const level = now - this.#warnedAt < WARN_EVERY_MS ? "debug" : "warn";
    if (level === "warn") this.#warnedAt = now;
    this.#log[level](`a signature is refused: ${EXPLANATIONS[fault] ?? fault}`, {
      method,
      path: target.split("?", 1)[0],
      signedFor: authority,
      received: `${localAddress}:${localPort}`,
    });
  }

  #seconds(): number {
    return Math.floor(this.#now() / 1000);
  }
}

const EXPLANATIONS: Readonly<Record<string, string>> = {
  malformed: "it is malformed",
  expired: "its time is more than 300 s away; are the clocks right?",
  wrong: "it was made with another secret, or for another request",
  elsewhere:
    "it was made for another address than this part's; behind address translation that one belongs into cluster.addresses",
};
