/**
 * @module
 * The body of an upstream response: says whether it was whole, and never waits for ever.
 */

import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { HttpClientError, toClientError } from "./client-error.ts";

/**
 * Passes the chunks of a response on without copying, and ends only if the response was complete. Runtimes differ in how
 * they report a body that was cut; here it is always an HttpClientError with code "reset".
 */
export class ResponseBody extends Readable {
  readonly #message: IncomingMessage;
  readonly #what: string;
  #remaining: number | undefined;
  #wanted = false;
  #idle: ReturnType<typeof setTimeout> | undefined;
  readonly #idleTimeoutMs: number;
  readonly #onTimeout: () => void;

  /**
   * @param init `expected`: bytes declared by Content-Length, undefined when the body is delimited otherwise;
   *   `idleTimeoutMs`: longest wait for a byte while the reader wants one; `onTimeout`: it was reached
   */
  constructor(
    message: IncomingMessage,
    {
      what,
      expected,
      idleTimeoutMs,
      onTimeout = () => {},
    }: { what: string; expected: number | undefined; idleTimeoutMs: number; onTimeout?: () => void },
  ) {
    super({ highWaterMark: 64 * 1024 });
    this.#message = message;
    this.#what = what;
    this.#remaining = expected;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#onTimeout = onTimeout;
    // An error that comes before the reader listens must not end the process; readers that come later still get it.
    this.on("error", () => {});
    // Whoever reads the body learns of its failure by reading; one that nobody reads must not end the process.
    this.on("error", () => {});
    message.on("data", (chunk: Buffer) => this.#onData(chunk));
    message.on("end", () => this.#onEnd());
    message.on("error", (cause: Error) => this.destroy(toClientError(cause, { connected: true, what })));
    message.on("aborted", () => this.#cut());
    message.on("close", () => this.#cut());
    // An empty body is taken at once, so that its connection is free even if nobody reads it.
    if (expected !== 0) {
      message.pause();
    }
  }

  override _read(): void {
    this.#wanted = true;
    this.#arm();
    this.#message.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#idle);
    if (!this.#message.destroyed && !(this.#message.complete && this.readableEnded)) {
      this.#message.destroy();
    }
    callback(error);
  }

  #onData(chunk: Buffer): void {
    if (this.destroyed) {
      return;
    }
    if (this.#remaining !== undefined) {
      this.#remaining -= chunk.length;
    }
    this.#wanted = false;
    if (this.push(chunk)) {
      // The reader wants more at once, but push() calls _read only when its buffer was drained in between.
      this.#wanted = true;
      this.#arm();
    } else if (!this.#wanted) {
      this.#message.pause();
    }
  }

  #onEnd(): void {
    clearTimeout(this.#idle);
    if (this.destroyed) {
      return;
    }
    if (!this.#message.complete || (this.#remaining !== undefined && this.#remaining !== 0)) {
      this.#cut();
      return;
    }
    this.push(null);
  }

  #cut(): void {
    if (!this.destroyed && !this.readableEnded && !this.#complete()) {
      this.destroy(new HttpClientError("reset", `${this.#what}: the body was cut`));
    }
  }

  #complete(): boolean {
    return this.#message.complete && (this.#remaining === undefined || this.#remaining === 0);
  }

  #arm(): void {
    if (this.#idle !== undefined) {
      this.#idle.refresh();
      return;
    }
    this.#idle = setTimeout(() => {
      if (!this.#wanted) return;
      const message = `${this.#what}: no byte of the body for ${this.#idleTimeoutMs} ms`;
      this.#onTimeout();
      this.destroy(new HttpClientError("timeout", message));
    }, this.#idleTimeoutMs);
  }
}
