/**
 * How a blob is cut into pieces.
 * @module
 */

const MIN_PIECE = 512 * 1024;
const MAX_PIECE = 4 * 1024 * 1024;

/** The largest blob that is taken peer to peer: 16 TiB, so that a hostile size cannot allocate a huge piece list. */
export const MAX_BLOB_SIZE = 16 * 1024 ** 4;

/**
 * Piece length of a blob, in bytes: clamp(2^ceil(log2(size / 2048)), 512 KiB, 4 MiB). Small pieces start a swarm
 * sooner; large ones keep the hash list of a large blob short.
 */
export function pieceLengthFor(size: number): number {
  let length = MIN_PIECE;
  while (length < MAX_PIECE && length * 2048 < size) length *= 2;
  return length;
}

/** Sizes and positions of a blob's pieces. All figures are bytes or piece indices. */
export class Layout {
  readonly size: number;
  readonly pieceLength: number;
  readonly count: number;

  /** @throws RangeError for sizes no blob can have. */
  constructor(size: number, pieceLength: number = pieceLengthFor(size)) {
    if (!Number.isSafeInteger(size) || size <= 0 || size > MAX_BLOB_SIZE) {
      throw new RangeError(`a blob of ${size} bytes cannot be cut into pieces`);
    }
    if (!Number.isSafeInteger(pieceLength) || pieceLength < 16 * 1024 || pieceLength > 64 * 1024 * 1024) {
      throw new RangeError(`a piece length of ${pieceLength} bytes is out of bounds (16 KiB to 64 MiB)`);
    }
    if (size / pieceLength > 4 * 1024 * 1024) {
      throw new RangeError(`${size} bytes in pieces of ${pieceLength} are too many pieces`);
    }
    this.size = size;
    this.pieceLength = pieceLength;
    this.count = Math.ceil(size / pieceLength);
  }

  /** Position of a piece's first byte. */
  start(piece: number): number {
    return piece * this.pieceLength;
  }

  /** Position behind a piece's last byte. */
  end(piece: number): number {
    return Math.min(this.size, (piece + 1) * this.pieceLength);
  }

  /** Bytes in a piece. */
  length(piece: number): number {
    return this.end(piece) - this.start(piece);
  }

  /** The piece that holds the byte at a position. */
  pieceAt(position: number): number {
    return Math.floor(position / this.pieceLength);
  }

  equals(other: Layout): boolean {
    return this.size === other.size && this.pieceLength === other.pieceLength;
  }
}
