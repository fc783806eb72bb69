/**
 * @module
 * Objects in a bucket of Amazon S3 or of a server that speaks its protocol. The SDK is loaded here, when a bucket is
 * opened: nobody else pays for it.
 */

import type { S3Client } from "@aws-sdk/client-s3";
import type { Logger } from "../../log/log.ts";
import { abortable } from "../abortable.ts";
import type { ObjectEntry, ObjectInfo, ObjectRead, ObjectStore } from "../object-store.ts";
import type { S3Config } from "./config.ts";
import { failureOf, isConflict, isMissing } from "./failures.ts";
import { cutParts, type Part } from "./part-cutter.ts";

type Sdk = typeof import("@aws-sdk/client-s3");

/** Parts of one upload on their way at once, and their bytes, unless a single part has more. */
const atOnce = { parts: 3, bytes: 48 * 1024 * 1024 };
/** A body that sends nothing for so long is given up, ms. */
const idleMs = 20_000;
/** Multipart uploads older than this were left by a killed process, ms. */
const staleUploadMs = 24 * 3600 * 1000;
const maxStaleUploads = 1_000;

/** See the module. */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly shared = true;
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  #conditional: Promise<boolean> | undefined;

  private constructor(sdk: Sdk, config: S3Config) {
    const { bucket, prefix = "", endpoint, region = "us-east-1", pathStyle = false } = config;
    const { accessKeyId, secretAccessKey } = config;
    this.name = `bucket ${bucket}`;
    this.#sdk = sdk;
    this.#bucket = bucket;
    this.#prefix = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.#client = new sdk.S3Client({
      region,
      forcePathStyle: pathStyle,
      ...(endpoint ? { endpoint: endpoint.href } : {}),
      ...(accessKeyId && secretAccessKey ? { credentials: { accessKeyId, secretAccessKey } } : {}),
      // Trailing checksums of the SDK's own are unknown to many servers; the signature covers the bytes as it is.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      maxAttempts: 4,
      requestHandler: {
        connectionTimeout: 5_000,
        socketTimeout: 60_000,
        httpAgent: { maxSockets: 64 },
        httpsAgent: { maxSockets: 64 },
      },
    });
  }

  /**
   * Opens a bucket, which must exist, and gives up multipart uploads that killed processes left a day ago.
   *
   * @throws StorageError "io" when it cannot be listed
   */
  static async open(config: S3Config, { log }: { log?: Logger } = {}): Promise<S3Store> {
    const store = new S3Store(await import("@aws-sdk/client-s3"), config);
    try {
      await store.#try(`cannot use ${store.name}`, () =>
        store.#client.send(
          new store.#sdk.ListObjectsV2Command({ Bucket: store.#bucket, Prefix: store.#prefix, MaxKeys: 1 }),
        ),
      );
      await store.#sweep().catch((error: unknown) => log?.debug("cannot look for uploads left half-done", { error }));
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    return await this.#unlessMissing(`cannot look at ${key}`, async () => {
      const head = await this.#client.send(new this.#sdk.HeadObjectCommand(this.#at(key)));
      return { size: head.ContentLength ?? 0, modifiedMs: head.LastModified?.getTime() ?? 0 };
    });
  }

  async get(key: string, range?: { start: number; end: number }): Promise<ObjectRead | undefined> {
    const about = `cannot read ${key}`;
    return await this.#unlessMissing(about, async () => {
      const abort = new AbortController();
      const command = new this.#sdk.GetObjectCommand({
        ...this.#at(key),
        ...(range ? { Range: `bytes=${range.start}-${range.end - 1}` } : {}),
      });
      const { Body } = await this.#client.send(command, { abortSignal: abort.signal });
      const body = Body as AsyncIterable<Uint8Array> & {
        destroy(): void;
        on(event: "error", listener: () => void): void;
      };
      // A cut while nobody reads must not become an uncaught error; the reader finds it at its next read.
      body.on("error", () => {});
      const close = () => {
        abort.abort();
        body.destroy();
      };
      return { body: this.#chunks(body, { about, close }), close };
    });
  }

  async put(
    key: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    { size, signal }: { size?: number; signal?: AbortSignal } = {},
  ): Promise<void> {
    if (source instanceof Uint8Array) return await this.#putWhole(key, source, signal);
    const parts = cutParts(abortable(source, signal), size);
    const first = await parts.next();
    if (first.done) return;
    // Until the second part is there nobody knows whether the first is the last; a failing source has touched nothing.
    if (first.value.last) return await this.#putWhole(key, first.value.bytes, signal);
    await this.#putParts(key, concat(first.value, parts), signal);
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean | undefined> {
    this.#conditional ??= this.#probe().catch((error: unknown) => {
      this.#conditional = undefined;
      throw error;
    });
    return (await this.#conditional) ? await this.#create(key, bytes) : undefined;
  }

  async delete(key: string): Promise<void> {
    await this.#unlessMissing(`cannot delete ${key}`, () =>
      this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(key))),
    );
  }

  async *list(prefix: string): AsyncGenerator<ObjectEntry> {
    let token: string | undefined;
    do {
      const page = await this.#try(`cannot list ${prefix}`, () =>
        this.#client.send(
          new this.#sdk.ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: this.#prefix + prefix,
            ...(token ? { ContinuationToken: token } : {}),
          }),
        ),
      );
      for (const { Key, Size = 0, LastModified } of page.Contents ?? []) {
        if (Key === undefined) continue;
        yield { key: Key.slice(this.#prefix.length), size: Size, modifiedMs: LastModified?.getTime() ?? 0 };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token);
  }

  async link(key: string, seconds: number): Promise<URL | undefined> {
    const { getSignedUrl } = await import("@aws-sdk/s3-request-presigner");
    const command = new this.#sdk.GetObjectCommand(this.#at(key));
    return new URL(
      await this.#try(`cannot sign a link to ${key}`, () =>
        getSignedUrl(this.#client, command, { expiresIn: seconds }),
      ),
    );
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  async #putWhole(key: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const command = new this.#sdk.PutObjectCommand({ ...this.#at(key), Body: bytes, ContentLength: bytes.length });
    await this.#try(
      `cannot store ${key}`,
      () => this.#client.send(command, signal ? { abortSignal: signal } : {}),
      signal,
    );
  }

  async #putParts(key: string, parts: AsyncIterable<Part>, signal: AbortSignal | undefined): Promise<void> {
    const about = `cannot store ${key}`;
    const { UploadId } = await this.#try(about, () =>
      this.#client.send(new this.#sdk.CreateMultipartUploadCommand(this.#at(key))),
    );
    const upload = { ...this.#at(key), UploadId };
    const stop = new AbortController();
    const running = new Set<Promise<void>>();
    const done: { PartNumber: number; ETag: string | undefined }[] = [];
    let failure: { error: unknown } | undefined;
    const send = async ({ number, bytes, release }: Part) => {
      const command = new this.#sdk.UploadPartCommand({
        ...upload,
        PartNumber: number,
        Body: bytes,
        ContentLength: bytes.length,
      });
      try {
        const { ETag } = await this.#client.send(command, { abortSignal: stop.signal });
        done.push({ PartNumber: number, ETag });
      } catch (error) {
        failure ??= { error: failureOf(about, this.name, error) };
      } finally {
        release();
      }
    };
    try {
      for await (const part of parts) {
        const sending: Promise<void> = send(part).finally(() => running.delete(sending));
        running.add(sending);
        const most = Math.min(atOnce.parts, Math.floor(atOnce.bytes / part.bytes.length));
        if (running.size >= most) await Promise.race(running);
        if (failure) throw failure.error;
      }
      await Promise.all(running);
      if (failure) throw failure.error;
      signal?.throwIfAborted();
      done.sort((a, b) => a.PartNumber - b.PartNumber);
      const command = new this.#sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: done } });
      await this.#try(about, () => this.#client.send(command));
    } catch (error) {
      stop.abort();
      await Promise.allSettled(running);
      // Should this fail too, the sweep of a later start does it.
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand(upload)).catch(() => {});
      throw error;
    }
  }

  async #create(key: string, bytes: Uint8Array): Promise<boolean> {
    try {
      await this.#client.send(
        new this.#sdk.PutObjectCommand({
          ...this.#at(key),
          Body: bytes,
          ContentLength: bytes.length,
          IfNoneMatch: "*",
        }),
      );
      return true;
    } catch (error) {
      if (isConflict(error)) return false;
      throw failureOf(`cannot create ${key}`, this.name, error);
    }
  }

  /** Whether the server heeds If-None-Match: some take the header and overwrite all the same. */
  async #probe(): Promise<boolean> {
    const key = `probe/${crypto.randomUUID()}`;
    try {
      if (!(await this.#create(key, Buffer.from("1")))) return false;
      return !(await this.#create(key, Buffer.from("2")));
    } catch (error) {
      const { cause } = error as { cause?: { $metadata?: { httpStatusCode?: number } } };
      if (cause?.$metadata?.httpStatusCode === 501 || cause?.$metadata?.httpStatusCode === 400) return false;
      throw error;
    } finally {
      await this.delete(key).catch(() => {});
    }
  }

  async #sweep(): Promise<void> {
    const { Uploads = [] } = await this.#client.send(
      new this.#sdk.ListMultipartUploadsCommand({
        Bucket: this.#bucket,
        Prefix: this.#prefix,
        MaxUploads: maxStaleUploads,
      }),
    );
    const before = Date.now() - staleUploadMs;
    for (const { Key, UploadId, Initiated } of Uploads) {
      if (!Initiated || Initiated.getTime() > before) continue;
      await this.#client.send(new this.#sdk.AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId }));
    }
  }

  async *#chunks(
    body: AsyncIterable<Uint8Array>,
    { about, close }: { about: string; close: () => void },
  ): AsyncGenerator<Uint8Array> {
    const iterator = body[Symbol.asyncIterator]();
    let ended = false;
    try {
      for (;;) {
        const timer = setTimeout(close, idleMs);
        let next: IteratorResult<Uint8Array>;
        try {
          next = await iterator.next();
        } catch (error) {
          throw failureOf(about, this.name, error);
        } finally {
          clearTimeout(timer);
        }
        if (next.done) {
          ended = true;
          return;
        }
        yield next.value;
      }
    } finally {
      if (!ended) close();
    }
  }

  async #unlessMissing<T>(about: string, send: () => Promise<T>): Promise<T | undefined> {
    try {
      return await send();
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw failureOf(about, this.name, error);
    }
  }

  async #try<T>(about: string, send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await send();
    } catch (error) {
      signal?.throwIfAborted();
      throw failureOf(about, this.name, error);
    }
  }
}

async function* concat(first: Part, rest: AsyncIterable<Part>): AsyncGenerator<Part> {
  yield first;
  yield* rest;
}
