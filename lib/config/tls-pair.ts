/**
 * `certFile` and `keyFile`, which only make sense together.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { z } from "zod";
import { optionalKey } from "./keys.ts";
import type { TextFile } from "./text-file.ts";
import { certificateFile, keyFile } from "./value-types.ts";

/** The two keys of a port that may speak TLS. */
export function tlsKeys() {
  return {
    certFile: optionalKey(certificateFile, {
      about: "Certificate (chain) of this port, PEM. With `keyFile` the port speaks TLS, without both plain HTTP.",
    }),
    keyFile: optionalKey(keyFile, { about: "Private key of `certFile`, PEM, without a passphrase." }),
  };
}

/** Refuses one file without the other, files that do not parse, and a key of another certificate. */
export function checkTlsPair(
  { certFile, keyFile: key }: { certFile?: TextFile | undefined; keyFile?: TextFile | undefined },
  context: z.RefinementCtx,
): void {
  const add = (path: "certFile" | "keyFile", message: string) =>
    context.addIssue({ code: "custom", path: [path], message });
  if (certFile && !key) add("keyFile", "missing, though certFile is given. Give both for TLS or none for plain HTTP");
  if (key && !certFile) add("certFile", "missing, though keyFile is given. Give both for TLS or none for plain HTTP");
  if (!certFile || !key) return;
  const certificate = attempt(() => new X509Certificate(certFile.content));
  const privateKey = attempt(() => createPrivateKey(key.content));
  if (!certificate) add("certFile", `${certFile.path} holds a certificate that cannot be read`);
  if (!privateKey) add("keyFile", `${key.path} holds a private key that cannot be read`);
  if (certificate && privateKey && !certificate.checkPrivateKey(privateKey)) {
    add(
      "keyFile",
      `${key.path} is not the key of the certificate in ${certFile.path} (a chain begins with its own certificate)`,
    );
  }
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}
