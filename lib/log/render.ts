/**
 * Makes any value fit for a log line: no secrets, no cycles, no bytes, bounded in depth, width and length.
 *
 * @module
 */

const maxDepth = 4;
const maxEntries = 50;
const maxText = 4096;
const maxCauses = 6;
const redacted = "[redacted]";

/**
 * Copies fields into plain JSON values.
 *
 * Values under a name that ends in authorization, password, secret, token or cookie (any case, with or without
 * dashes: `eagle-authorization`, `accessToken`) become `[redacted]`; user names and passwords inside URLs too.
 * Never throws, whatever the value's getters do.
 */
export function clean(fields: Record<string, unknown>): Record<string, unknown> {
  return cleanEntries(() => Object.entries(fields), 0, []);
}

/** Takes credentials out of a text (`https://user:word@host` and `Bearer …`), and shortens it to 4 KiB. */
export function cleanText(text: string): string {
  const short = text.length > maxText ? `${text.slice(0, maxText)}… (${text.length} characters)` : text;
  return short
    .replace(/\/\/[^\s/?#@]{1,1024}@/g, `//${redacted}@`)
    .replace(/\b(Bearer|Basic|Eagle) +[A-Za-z0-9+/=._~-]{8,}/g, `$1 ${redacted}`);
}

/**
 * One line for an error: `Name: message (code)`, then each cause after ` <- `, at most six deep.
 * Errors gathered in an AggregateError follow in brackets.
 */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at !== undefined && at !== null && parts.length < maxCauses; at = causeOf(at)) {
    parts.push(cleanText(one(at)));
  }
  return parts.join(" <- ") || String(error);
}

/**
 * A value as it stands in a text line: words bare, everything else quoted, control characters escaped, so that no
 * value can begin a line of its own or steer a terminal.
 */
export function textValue(value: unknown, { bare = false }: { bare?: boolean } = {}): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (typeof value !== "string") return escapeControls(text);
  if (bare) return escapeControls(text);
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : escapeControls(JSON.stringify(text));
}

function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (char) => {
    if (char === "\n") return "\\n";
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function cleanEntries(entries: () => Iterable<[string, unknown]>, depth: number, above: object[]) {
  const out: Record<string, unknown> = {};
  let count = 0;
  try {
    for (const [key, value] of entries()) {
      if (++count > maxEntries) {
        out["…"] = "more";
        break;
      }
      out[key] = isSecret(key) && value !== undefined ? redacted : cleanValue(value, depth, above);
    }
  } catch (error) {
    out["…"] = `unreadable: ${one(error)}`;
  }
  return out;
}

function isSecret(key: string): boolean {
  return /(authorization|password|passwd|secret|token|cookie)$/i.test(key.replace(/[-_]/g, ""));
}

function cleanValue(value: unknown, depth: number, above: object[]): unknown {
  switch (typeof value) {
    case "string":
      return cleanText(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "boolean":
    case "undefined":
      return value;
    case "object":
      return value === null ? null : cleanObject(value, depth, above);
    case "function":
      return "[function]";
    default:
      return String(value);
  }
}

function cleanObject(value: object, depth: number, above: object[]): unknown {
  if (value instanceof Error) return describeError(value);
  if (value instanceof URL) return cleanText(value.href);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (value instanceof RegExp) return String(value);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (above.includes(value)) return "[circular]";
  if (depth >= maxDepth) return Array.isArray(value) ? "[array]" : "[object]";
  const path = [...above, value];
  if (Array.isArray(value) || value instanceof Set) {
    const list = [...value].slice(0, maxEntries).map((item) => cleanValue(item, depth + 1, path));
    const size = Array.isArray(value) ? value.length : value.size;
    return size > maxEntries ? [...list, `… ${size - maxEntries} more`] : list;
  }
  if (value instanceof Headers) return cleanEntries(() => value.entries(), depth + 1, path);
  if (value instanceof Map) {
    return cleanEntries(() => [...value].map(([key, item]): [string, unknown] => [String(key), item]), depth + 1, path);
  }
  const own = Object.getPrototypeOf(value);
  // A class that knows its own text (a digest, an address) says it better than its fields do.
  if (own !== null && own !== Object.prototype && own.toString !== Object.prototype.toString) {
    try {
      return cleanText(String(value));
    } catch (error) {
      return `unreadable: ${one(error)}`;
    }
  }
  return cleanEntries(() => Object.entries(value), depth + 1, path);
}

function one(error: unknown): string {
  try {
    if (!(error instanceof Error)) return String(error);
    const code = (error as { code?: unknown }).code;
    const suffix = typeof code === "string" && !error.message.includes(code) ? ` (${code})` : "";
    const inner = error instanceof AggregateError ? ` [${error.errors.slice(0, 5).map(one).join("; ")}]` : "";
    return `${error.name}: ${error.message}${suffix}${inner}`;
  } catch {
    return "an error that cannot be read";
  }
}

function causeOf(error: unknown): unknown {
  try {
    return error instanceof Error ? error.cause : undefined;
  } catch {
    return undefined;
  }
}
