/**
 * What the wire does for one download: it offers the blob as it arrives, and lends its peers as sources when those that
 * speak HTTP do not fill the line.
 * @module
 */
import type { Download } from "../download.ts";
import type { LiveBlob } from "../live-blob.ts";
import type { WireSource } from "./wire-source.ts";

const LOOK_MS = 200;
/** With nobody that could deliver, wire peers are asked after this, ms. */
const ALONE_MS = 200;
/** With others that deliver nothing, after this, ms. */
const QUIET_MS = 1000;
/** With fewer others than these, after `FEW_MS`: each shares its line with others, and wire peers hold pieces too. */
const FEW = 8;
const FEW_MS = 1000;
/** Peers that a tracker told and that are not there after this, ms, are not waited for. */
const HOPE_MS = 6000;

export interface WireDownloadInit {
  /** The info hash is known: the blob can be offered and asked for. */
  enter(download: WireDownload): { readonly announced: Promise<void>; sources(): AsyncIterable<WireSource> };
  leave(download: WireDownload): void;
}

/** See the module. Made when the download begins, closed when it ends. */
export class WireDownload implements Disposable {
  readonly #blob: LiveBlob;
  readonly #download: Download;
  readonly #init: WireDownloadInit;
  readonly #begun = performance.now();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #found = new Set<WireSource>();
  #sources: (() => AsyncIterable<WireSource>) | undefined;
  #announcing = false;
  #hopeUntil = 0;
  #engaged = false;
  #closed = false;

  constructor(blob: LiveBlob, download: Download, init: WireDownloadInit) {
    this.#blob = blob;
    this.#download = download;
    this.#init = init;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#look();
  }

  /** Bytes still missing, as trackers are told. */
  get left(): number {
    return this.#blob.have?.full ? 0 : Math.max(1, (this.#blob.size ?? 1) - this.#blob.received);
  }

  /** Whether wire peers may be about to deliver: then it is too early for the origin. */
  get promising(): boolean {
    return !this.#closed && (this.#announcing || performance.now() < this.#hopeUntil);
  }

  /** A tracker told of so many wire peers. */
  onPeers(count: number): void {
    if (count > 0 && this.#hopeUntil === 0) this.#hopeUntil = performance.now() + HOPE_MS;
  }

  /** A wire peer is connected. */
  onSource(source: WireSource): void {
    if (this.#closed) return;
    this.#found.add(source);
    if (this.#engaged) this.#lend(source);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    if (this.#sources) this.#init.leave(this);
  }

  #look(): void {
    if (this.#closed || !this.#blob.hashes?.complete || this.#blob.have?.full) return;
    if (!this.#sources) this.#enter();
    else if (!this.#engaged && this.#needed()) this.#engage();
  }

  #enter(): void {
    this.#announcing = true;
    const { announced, sources } = this.#init.enter(this);
    this.#sources = sources;
    void announced.then(() => {
      this.#announcing = false;
    });
    void this.#takeFound(sources);
  }

  /** Connections that came before this download. */
  async #takeFound(sources: () => AsyncIterable<WireSource>): Promise<void> {
    for await (const source of sources()) this.onSource(source);
  }

  #needed(): boolean {
    const now = performance.now();
    const quiet = now - this.#download.lastProgress;
    const others = this.#download.usefulSources;
    if (quiet > (others === 0 ? ALONE_MS : QUIET_MS)) return true;
    return others < FEW && now - this.#begun > FEW_MS;
  }

  #engage(): void {
    this.#engaged = true;
    for (const source of this.#found) this.#lend(source);
  }

  #lend(source: WireSource): void {
    if (!this.#download.find(source.name)) this.#download.add(source);
  }
}
