/**
 * `seederCfg.s3`: the bucket of a seeder with `storageBackend: s3`.
 *
 * @module
 */
import type { z } from "zod";
import { parseEndpoint } from "./endpoint.ts";
import { invalid, shown } from "./errors.ts";
import { key, optionalKey, section } from "./keys.ts";
import type { ValueType } from "./value-types.ts";
import * as types from "./value-types.ts";

const endpoint: ValueType<URL> = {
  kind: "http:// or https:// URL",
  example: "https://s3.example.com",
  parse(value) {
    if (typeof value !== "string" || !/^https?:\/\//i.test(value))
      throw invalid(`${shown(value)} is not a URL with its scheme`);
    return parseEndpoint(value);
  },
};

const bucketName: ValueType<string> = {
  kind: "name of 3 to 63 lower-case letters, digits, dots and hyphens",
  example: "eagle-blobs",
  parse(value) {
    if (typeof value !== "string" || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(value)) {
      throw invalid(`${shown(value)} is not a bucket's name`);
    }
    return value;
  },
};

const keyPrefix: ValueType<string> = {
  kind: "path of letters, digits and . _ - /",
  example: "eagle/",
  parse(value) {
    const parts = typeof value === "string" ? value.replace(/\/$/, "").split("/") : [];
    const right = parts.every((part) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.+$/.test(part));
    if (typeof value !== "string" || value.length > 512 || !right)
      throw invalid(`${shown(value)} is not a path of keys`);
    return value;
  },
};

const accessKey: ValueType<string> = {
  kind: "text without spaces",
  example: "AKIAEXAMPLE",
  parse(value) {
    if (typeof value !== "string") throw invalid(`${shown(value)} is not text (numbers need quotes)`);
    if (!/^[\x21-\x7e]{1,128}$/.test(value))
      throw invalid("an access key has 1 to 128 printable characters, no spaces");
    return value;
  },
};

/** Keys of the bucket. */
export function s3Section() {
  return section({
    bucket: optionalKey(bucketName, { about: "The bucket, which must exist. Needed with `storageBackend: s3`." }),
    prefix: optionalKey(keyPrefix, { about: "Before all keys in the bucket." }),
    endpoint: optionalKey(endpoint, { about: "Any server that speaks S3. Not given: Amazon's, by region." }),
    region: key(types.label, { fallback: "us-east-1", about: "The bucket's region.", example: "eu-central-1" }),
    pathStyle: key(types.flag, {
      fallback: false,
      about:
        "The bucket's name stands in the path instead of the host name; most servers that are not Amazon's want it.",
    }),
    accessKeyId: optionalKey(accessKey, {
      about:
        "Access key. Not given: the SDK's own chain (environment, shared files, web identity, container, instance role).",
      example: "AKIAEXAMPLE",
    }),
    secretAccessKey: optionalKey(types.secret, {
      about: "Secret of `accessKeyId`. A file is safer: `secretAccessKeyFile`.",
    }),
    secretAccessKeyFile: optionalKey(types.secretFile, {
      about: "File with the secret of `accessKeyId`, read at start.",
      example: "/etc/eagle/s3-secret",
    }),
    presign: key(types.flag, {
      fallback: false,
      about:
        "Send standard BitTorrent clients that read by web seed straight to the bucket, by a signed link good for an hour.",
    }),
    evict: optionalKey(types.room, {
      about:
        "Most bytes of blobs in the bucket; above that the least recently used are deleted. Not given: nothing is ever deleted.",
      example: "10T",
    }),
  })
    .superRefine(({ accessKeyId, secretAccessKey, secretAccessKeyFile }, context) => {
      const add = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
      const secret = secretAccessKey ?? secretAccessKeyFile;
      if (secretAccessKey !== undefined && secretAccessKeyFile !== undefined) {
        add("secretAccessKeyFile", "secretAccessKey is given too. Keep one of the two");
      }
      if (accessKeyId !== undefined && secret === undefined) {
        add(
          "secretAccessKeyFile",
          "missing, though accessKeyId is given. For example: secretAccessKeyFile: /etc/eagle/s3-secret",
        );
      }
      if (accessKeyId === undefined && secret !== undefined) {
        add("accessKeyId", "missing, though a secret is given. For example: accessKeyId: AKIAEXAMPLE");
      }
    })
    .transform(({ secretAccessKeyFile, secretAccessKey = secretAccessKeyFile, ...rest }) => ({
      ...rest,
      ...(secretAccessKey === undefined ? {} : { secretAccessKey }),
    }));
}

/** Refuses `storageBackend: s3` without a bucket. */
export function checkBucket(
  { storageBackend, s3 }: { storageBackend: string; s3: { bucket?: string | undefined } },
  context: z.RefinementCtx,
): void {
  if (storageBackend !== "s3" || s3.bucket !== undefined) return;
  const message = "missing, though storageBackend is s3. For example: bucket: eagle-blobs";
  context.addIssue({ code: "custom", path: ["s3", "bucket"], message });
}
