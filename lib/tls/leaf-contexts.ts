/**
 * TLS contexts made on the fly for the hosts whose connections are taken over.
 * @module
 */
import { createSecureContext, type SecureContext } from "node:tls";
import type { Issuer } from "./certificate.ts";

/** Most hosts that a context is kept for; the configuration names fewer. */
const MAX_KEPT = 256;
/** A certificate's whole life, and the age at which its host gets a new one, ms. */
const DAYS = 30;
const RENEW_AFTER_MS = 20 * 86_400_000;

/** Keeps one context a host, and makes a new one in good time. */
export class LeafContexts {
  readonly #issuer: Issuer;
  readonly #now: () => number;
  readonly #kept = new Map<string, { context: SecureContext; madeAt: number }>();

  /** @param init.now The wall clock, ms since 1970: it is what the certificates' dates mean. @default Date.now */
  constructor(issuer: Issuer, { now = Date.now }: { now?: () => number } = {}) {
    this.#issuer = issuer;
    this.#now = now;
  }

  /** @param host A name or an IP address, lower case, without brackets. */
  get(host: string): SecureContext {
    const now = this.#now();
    const known = this.#kept.get(host);
    // A clock that was set back counts as a reason, too: the certificate may not hold yet.
    if (known && now - known.madeAt < RENEW_AFTER_MS && now >= known.madeAt - 60_000) return known.context;
    const { cert, key } = this.#issuer.issue(host, { days: DAYS, now });
    const context = createSecureContext({ cert: cert + this.#issuer.certificate, key });
    this.#kept.delete(host);
    if (this.#kept.size >= MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(host, { context, madeAt: now });
    return context;
  }
}
