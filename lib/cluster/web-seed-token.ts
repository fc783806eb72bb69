/**
 * Tokens that let a standard client read one private blob as a web seed (BEP 19): bound to the digest, for a time.
 * Whoever is handed the torrent of a private blob finds one in its `url-list`.
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/** Name of the query parameter. */
export const WEB_SEED_PARAMETER = "eagle-token";
/** How long a token is good, seconds. */
export const TOKEN_SECONDS = 24 * 3600;

const TOKEN = /^([0-9]{1,12})\.([0-9a-f]{64})$/;

/** @param seconds Unix time now. */
export function webSeedToken(secret: string, digest: string, seconds: number): string {
  const until = seconds + TOKEN_SECONDS;
  return `${until}.${mac(secret, digest, until).toString("hex")}`;
}

/** Whether a token was made for this digest by one of the secrets, and is still good. */
export function isWebSeedToken(
  token: string,
  digest: string,
  { secrets, seconds }: { secrets: readonly string[]; seconds: number },
): boolean {
  const match = TOKEN.exec(token);
  if (!match) return false;
  const until = Number(match[1]);
  const told = Buffer.from(match[2]!, "hex");
  let right = false;
  for (const secret of secrets) right = timingSafeEqual(told, mac(secret, digest, until)) || right;
  // No token that was made rightly lasts longer than that.
  return right && until >= seconds && until <= seconds + TOKEN_SECONDS + 300;
}

/** Begins unlike any signed request, whose first line is a method. */
function mac(secret: string, digest: string, until: number): Buffer {
  return createHmac("sha256", secret).update(`eagle/web-seed\n${digest}\n${until}`).digest();
}
