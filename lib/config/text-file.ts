/**
 * Reads the small text files a configuration names, without ever taking in a large or endless one.
 *
 * @module
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { ConfigError } from "./errors.ts";

/** A file a key names, as it was at start. */
export interface TextFile {
  readonly path: string;
  readonly content: string;
}

/**
 * Reads a UTF-8 file of at most `limit` bytes (a byte order mark is dropped). Relative paths count from the working
 * directory.
 *
 * @throws ConfigError `unreadable` when it is missing, forbidden or a directory, `invalid` when it is too large or
 * not UTF-8.
 */
export function readTextFile(path: string, { limit }: { limit: number }): TextFile {
  const bytes = read(path, limit + 1);
  if (bytes.length > limit) throw new ConfigError("invalid", `${path} is larger than ${limit} bytes`);
  try {
    return { path, content: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch (cause) {
    throw new ConfigError("invalid", `${path} is not UTF-8 text`, { cause });
  }
}

/** Up to `most` bytes of a file, whatever its stat says: devices and pipes have no size. */
function read(path: string, most: number): Uint8Array {
  let fd: number | undefined;
  try {
    if (statSync(path).isDirectory()) throw Object.assign(new Error("a directory"), { code: "EISDIR" });
    fd = openSync(path, "r");
    const buffer = new Uint8Array(most);
    let length = 0;
    while (length < most) {
      const got = readSync(fd, buffer, length, most - length, null);
      if (got === 0) break;
      length += got;
    }
    return buffer.subarray(0, length);
  } catch (cause) {
    throw new ConfigError("unreadable", `cannot read ${path}: ${reason(cause)}`, { cause });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function reason(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  switch (code) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
    case "EPERM":
      return "this user may not read it";
    case "EISDIR":
      return "it is a directory";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
