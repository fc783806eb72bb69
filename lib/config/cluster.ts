/**
 * `cluster`: how Eagle's own parts know each other. The same section for proxy, seeder and tracker.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { z } from "zod";
import { canonicalAuthority } from "../cluster/authority.ts";
import { canonicalIp } from "../tracker/address.ts";
import { invalid, shown } from "./errors.ts";
import { key, optionalKey, section } from "./keys.ts";
import { checkTlsPair } from "./tls-pair.ts";
import type { ValueType } from "./value-types.ts";
import * as types from "./value-types.ts";

/** Whoever gets one signature may try secrets on it for as long as he likes. */
const MIN_SECRET = 16;

/** A secret that cannot be guessed; no message shows it. */
const clusterSecret: ValueType<string> = {
  kind: `text of at least ${MIN_SECRET} characters`,
  example: "'the output of: openssl rand -hex 32'",
  parse: (value) => checkLength(types.secret.parse(value)),
};

const clusterSecretFile: ValueType<string> = {
  kind: "path of a file that holds the secret",
  example: "/etc/eagle/cluster-secret",
  parse: (value) => checkLength(types.secretFile.parse(value)),
};

/** `address` or `address:port`, IPv6 in brackets before a port. */
const partAddress: ValueType<string> = {
  kind: "IP address, with or without a port",
  example: "203.0.113.7:6969",
  parse(value) {
    const text = typeof value === "string" ? value : "";
    if (isIP(text)) return canonicalIp(text) ?? text;
    const authority = /:[0-9]+$/.test(text) ? canonicalAuthority(text, { secure: false }) : undefined;
    if (!authority || !isIP(authority.replace(/:[0-9]+$/, "").replace(/^\[|\]$/g, ""))) {
      throw invalid(`${shown(value)} is not an address`);
    }
    return authority;
  },
};

/** The section `cluster`. */
export const clusterSection = section({
  secret: optionalKey(clusterSecret, {
    about:
      "Shared by all parts of a cluster, and sent to none: requests between parts are signed with it. Without it (or " +
      "certificates) private blobs stay on the host that pulled them. A file is safer: `secretFile`.",
  }),
  secretFile: optionalKey(clusterSecretFile, { about: "File with the secret, read at start." }),
  previousSecret: optionalKey(clusterSecret, {
    about:
      "Also accepted, never used to sign. To change the secret: give the new one here everywhere, then make it `secret` " +
      "and the old one `previousSecret` everywhere, then drop the old one.",
    example: "'the other one of two secrets'",
  }),
  ca: optionalKey(types.certificateFile, {
    about: "Certificates that may sign those of Eagle's own parts, PEM; instead of the system's.",
    example: "/etc/eagle/cluster-ca.crt",
  }),
  certFile: optionalKey(types.certificateFile, {
    about:
      "This part's own certificate (chain), PEM: for its ports that have none of their own, and to show to other parts. " +
      "It names each address and name the part is reached at, and is good for server and client. Give it to all parts " +
      "of a cluster or to none.",
    example: "/etc/eagle/part.crt",
  }),
  keyFile: optionalKey(types.keyFile, {
    about: "Private key of `certFile`, PEM, without a passphrase.",
    example: "/etc/eagle/part.key",
  }),
  addresses: key(types.listOf(partAddress), {
    fallback: [],
    about:
      "Addresses that others dial to reach this part, where they are not those of its own sockets (address translation, " +
      "published container ports). `advertise` counts without being named here.",
  }),
})
  .superRefine(checkTlsPair)
  .superRefine(({ secret, secretFile, previousSecret, ca, certFile }, context) => {
    const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (secret !== undefined && secretFile !== undefined) add("secretFile", "secret is given too. Keep one of the two");
    if (previousSecret !== undefined && (secret ?? secretFile) === undefined) {
      add("secretFile", "missing, though previousSecret is given. For example: secretFile: /etc/eagle/cluster-secret");
    }
    if (certFile && !ca) {
      add("ca", "missing, though certFile is given: who signs the certificates of the other parts?");
    }
    if (ca && !isCertificate(ca.content)) add("ca", `${ca.path} holds a certificate that cannot be read`);
  })
  .transform(({ secretFile, secret = secretFile, ...rest }) => ({
    ...rest,
    ...(secret === undefined ? {} : { secret }),
  }));

/** `cluster` after loading: files read. */
export type ClusterConfig = z.output<typeof clusterSection>;

function checkLength(secret: string): string {
  if (secret.length < MIN_SECRET) throw invalid(`the secret is shorter than ${MIN_SECRET} characters`);
  return secret;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
