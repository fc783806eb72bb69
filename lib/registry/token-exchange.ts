/**
 * What is said to a token server and what it answers (Distribution token specification, OAuth 2 form included).
 * @module
 */

import type { Readable } from "node:stream";
import { BodyTooLargeError, readBytes } from "../http/read-bytes.ts";
import type { Credentials } from "./auth.ts";
import type { Challenge } from "./challenge.ts";
import { RegistryError } from "./errors.ts";

const identityTokenUser = "<token>";
const clientId = "eagle";
const defaultLifetimeS = 60;
const maxLifetimeS = 3600;
const maxTokenLength = 24 * 1024;
const maxScopes = 16;

/** The scopes of a Bearer challenge, sorted; a challenge may name several, divided by spaces. */
export function scopesOf(challenge: Challenge): string[] {
  const scopes = (challenge.params.get("scope") ?? "").split(" ").filter((scope) => scope !== "");
  return [...new Set(scopes)].sort().slice(0, maxScopes);
}

/** Authorization header of RFC 7617, UTF-8. */
export function basicHeader({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** The request for a token: GET, or POST when the credentials are an identity token. */
export function tokenRequest(
  realm: URL,
  challenge: Challenge,
  credentials: Credentials | undefined,
): { url: URL; method: "GET" | "POST"; headers: Record<string, string>; body?: Uint8Array } {
  const service = challenge.params.get("service");
  const scopes = scopesOf(challenge);
  const url = new URL(realm);
  url.hash = "";
  const headers: Record<string, string> = { accept: "application/json", "user-agent": "eagle" };
  if (credentials?.username === identityTokenUser) {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      refresh_token: credentials.password,
      client_id: clientId,
    });
    if (service !== undefined) form.set("service", service);
    if (scopes.length > 0) form.set("scope", scopes.join(" "));
    const body = Buffer.from(form.toString());
    headers["content-type"] = "application/x-www-form-urlencoded";
    headers["content-length"] = String(body.length);
    return { url, method: "POST", headers, body };
  }
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (credentials !== undefined) {
    url.searchParams.set("account", credentials.username);
    headers.authorization = basicHeader(credentials);
  }
  return { url, method: "GET", headers };
}

/**
 * Reads the JSON answer: `token` or `access_token`, `expires_in` in seconds (60 when missing, at most an hour is
 * believed, so that a right taken away ends some day).
 * @throws RegistryError protocol
 */
export function readToken(body: Uint8Array, what: string): { value: string; lifetimeMs: number } {
  const refuse = (why: string) => new RegistryError("protocol", `${what}: ${why}`, { status: 200 });
  let answer: unknown;
  try {
    answer = JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    throw refuse("the answer is not JSON");
  }
  if (typeof answer !== "object" || answer === null) throw refuse("the answer is not a JSON object");
  const token = "token" in answer && typeof answer.token === "string" && answer.token !== "" ? answer.token : undefined;
  const value = token ?? ("access_token" in answer ? answer.access_token : undefined);
  // It becomes a header: visible ASCII alone, or a token server could write headers of its own.
  if (typeof value !== "string" || value.length > maxTokenLength || !/^[\x21-\x7e]+$/.test(value)) {
    throw refuse("the answer holds no usable token");
  }
  const expires = "expires_in" in answer ? Number(answer.expires_in) : Number.NaN;
  const lifetimeS = Number.isFinite(expires) && expires > 0 ? Math.min(expires, maxLifetimeS) : defaultLifetimeS;
  return { value, lifetimeMs: lifetimeS * 1000 };
}

/**
 * Reads a short body whole.
 * @throws RegistryError protocol when it is longer than `maxBytes`; the stream is destroyed then
 */
export async function readAll(
  body: Readable,
  { maxBytes, what }: { maxBytes: number; what: string },
): Promise<Uint8Array> {
  try {
    return await readBytes(body, maxBytes);
  } catch (error) {
    if (!(error instanceof BodyTooLargeError)) throw error;
    throw new RegistryError("protocol", `${what}: the answer is longer than ${maxBytes} bytes`, { cause: error });
  }
}
