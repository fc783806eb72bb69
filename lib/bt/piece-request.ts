/**
 * One request of a download at one source: what the source is asked, and what has come of it.
 * @module
 */
import type { Bitfield } from "./bitfield.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Flights, PieceFlight } from "./flights.ts";
import type { Layout } from "./layout.ts";
import type { LiveBlob } from "./live-blob.ts";
import type { PieceAsk, PieceSource } from "./sources/source.ts";

/** What all requests of a download share. */
export interface RequestOffice {
  readonly blob: LiveBlob;
  readonly layout: Layout;
  readonly buffers: BufferPool;
  readonly flights: Flights;
  /** Monotonic ms. */
  now(): number;
  /** So many bytes came, now. */
  onBytes(bytes: number, now: number): void;
  /** The first byte of a named piece came after so many ms. */
  onAnswer(ms: number): void;
}

/** What a source is to be asked for. */
export interface PieceChoice extends Pick<PieceAsk, "piece" | "asked" | "want"> {
  readonly source: PieceSource;
}

/** See the module. One object for source and download: there is one a piece. */
export class PieceRequest implements PieceAsk {
  readonly source: PieceSource;
  readonly piece: number | undefined;
  readonly asked: Bitfield;
  readonly want: number | undefined;
  /** Monotonic ms. */
  readonly startedAt: number;
  readonly #office: RequestOffice;
  readonly #abort = new AbortController();
  #flight: PieceFlight | undefined;

  /** A named piece is under way from now on; one that the source chooses from when it says which. */
  constructor(office: RequestOffice, { source, piece, asked, want }: PieceChoice) {
    this.#office = office;
    this.source = source;
    this.piece = piece;
    this.asked = asked;
    this.want = want;
    this.startedAt = office.now();
    if (piece !== undefined) this.#track(piece, this.startedAt);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }
  /** The piece it brings; undefined before the source has chosen. */
  get flight(): PieceFlight | undefined {
    return this.#flight;
  }

  abort(): void {
    this.#abort.abort();
  }

  expected(piece: number): Uint8Array | undefined {
    return this.#office.blob.hashes?.get(piece);
  }

  buffer(piece: number): Uint8Array {
    const { layout, buffers, now } = this.#office;
    if (!this.#flight) this.#track(piece, now());
    const buffer = buffers.take();
    const length = layout.length(piece);
    return length === buffer.length ? buffer : buffer.subarray(0, length);
  }

  release(buffer: Uint8Array): void {
    this.#office.buffers.give(buffer);
  }

  onBytes(piece: number, bytes: number): void {
    const office = this.#office;
    const now = office.now();
    const flight = this.#flight ?? this.#track(piece, now);
    if (flight.received === 0 && this.piece !== undefined) office.onAnswer(now - flight.startedAt);
    flight.heardAt = now;
    flight.received += bytes;
    flight.progress = flight.received / office.layout.length(piece);
    office.onBytes(bytes, now);
  }

  /** It has ended, however. */
  end(): void {
    if (this.#flight) this.#office.flights.land(this.#flight);
  }

  #track(piece: number, startedAt: number): PieceFlight {
    const flight: PieceFlight = {
      piece,
      startedAt,
      progress: 0,
      heardAt: undefined,
      received: 0,
      arrived: false,
      source: this.source,
      abort: this.#abort,
    };
    this.#flight = flight;
    this.#office.flights.takeOff(flight);
    return flight;
  }
}
