/**
 * The metainfo of a blob: a single-file torrent by BEP 3, private (BEP 27), with web seeds (BEP 19). The info
 * dictionary is the same to the byte whoever makes it, so that two seeders make the same info hash.
 * @module
 */
import { createHash } from "node:crypto";
import { type BencodeInput, type BencodeValue, decodeBencode, encodeBencode } from "../bencode/bencode.ts";
import { Layout } from "./layout.ts";

const MAX_METAINFO = 64 * 1024 * 1024;

/** A metainfo in parts. */
export interface Metainfo {
  /** Hex part of the blob's digest. */
  readonly id: string;
  readonly layout: Layout;
  /** SHA-1 hashes of all pieces, 20 bytes each. */
  readonly pieces: Uint8Array;
  /** Tracker URLs, in tiers (BEP 12). */
  readonly announce?: readonly (readonly string[])[];
  /** Web seeds (BEP 19). */
  readonly urlList?: readonly string[];
  /** Whether an anonymous caller may read the blob; kept with stored metainfo, not part of the info dictionary. */
  readonly isPublic?: boolean;
}

/** Thrown for bytes that are not the metainfo of a blob. */
export class MetainfoError extends Error {
  override readonly name = "MetainfoError";
  readonly code = "invalid_metainfo";
}

/** The bencoded dictionary. */
export function encodeMetainfo(metainfo: Metainfo): Uint8Array {
  const top = new Map<string, BencodeInput>([["info", infoDictionary(metainfo)]]);
  const tiers = (metainfo.announce ?? []).map((tier) => [...tier]);
  const first = tiers[0]?.[0];
  if (first !== undefined) top.set("announce", first).set("announce-list", tiers);
  if (metainfo.urlList && metainfo.urlList.length > 0) top.set("url-list", [...metainfo.urlList]);
  if (metainfo.isPublic !== undefined) top.set("eagle-public", metainfo.isPublic ? 1 : 0);
  return encodeBencode(top);
}

/** SHA-1 of the info dictionary (BEP 3), 20 bytes. */
export function infoHash(metainfo: Metainfo): Uint8Array {
  return createHash("sha1")
    .update(encodeBencode(infoDictionary(metainfo)))
    .digest();
}

/**
 * Reads a metainfo made by any Eagle.
 * @throws MetainfoError naming what is wrong.
 */
export function decodeMetainfo(bytes: Uint8Array): Metainfo {
  if (bytes.length > MAX_METAINFO) throw new MetainfoError(`a metainfo of ${bytes.length} bytes is too large`);
  let value: BencodeValue;
  try {
    value = decodeBencode(bytes);
  } catch (cause) {
    throw new MetainfoError("the metainfo is not bencoded", { cause });
  }
  const top = dictionary(value, "metainfo");
  const info = dictionary(top.get("info"), "info");
  const name = text(info.get("name"), "info.name");
  const id = /^([0-9a-f]{64}|[0-9a-f]{128})(?:\.layer)?$/.exec(name)?.[1];
  if (!id) throw new MetainfoError(`info.name ${JSON.stringify(name.slice(0, 200))} is not a blob's`);
  let layout: Layout;
  try {
    layout = new Layout(Number(info.get("length")), Number(info.get("piece length")));
  } catch (cause) {
    throw new MetainfoError(`the metainfo's sizes are wrong: ${(cause as Error).message}`, { cause });
  }
  const pieces = info.get("pieces");
  if (!(pieces instanceof Uint8Array) || pieces.length !== layout.count * 20) {
    throw new MetainfoError(`info.pieces does not hold ${layout.count} SHA-1 hashes`);
  }
  const mark = top.get("eagle-public");
  return { id, layout, pieces: new Uint8Array(pieces), ...(mark === undefined ? {} : { isPublic: mark === 1 }) };
}

function infoDictionary({ id, layout, pieces }: Metainfo): Map<string, BencodeInput> {
  return new Map<string, BencodeInput>([
    ["length", layout.size],
    ["name", `${id}.layer`],
    ["piece length", layout.pieceLength],
    ["pieces", pieces],
    ["private", 1],
  ]);
}

function dictionary(value: BencodeValue | undefined, what: string): Map<string, BencodeValue> {
  if (!(value instanceof Map)) throw new MetainfoError(`${what} is not a dictionary`);
  return value;
}

function text(value: BencodeValue | undefined, what: string): string {
  if (!(value instanceof Uint8Array)) throw new MetainfoError(`${what} is not a string`);
  return new TextDecoder().decode(value);
}
