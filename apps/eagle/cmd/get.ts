/**
 * `eagle get`: an image into an OCI layout, or a blob into a file.
 * @module
 */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { UsageError } from "../../../lib/cli/flags.ts";
import { formatBytes, formatDuration } from "../../../lib/cli/quantities.ts";
import { parseEndpoint } from "../../../lib/config/index.ts";
import { withCleanup } from "../../../lib/lifecycle/cleanup.ts";
import { createLogger } from "../../../lib/log/log.ts";
import { hasBlobFile, writeBlobFile } from "../pull/blob-file.ts";
import { counted } from "../pull/counted.ts";
import { pullImage } from "../pull/image.ts";
import type { Platform } from "../pull/manifest.ts";
import { Meter } from "../pull/meter.ts";
import { OciLayout } from "../pull/oci-layout.ts";
import { machinePlatform, parsePlatform } from "../pull/platform.ts";
import { openPullSource, type PullSource } from "../pull/pull-source.ts";
import { type BlobTarget, type ImageTarget, parseTarget } from "../pull/target.ts";
import { verified } from "../pull/verified.ts";
import { command } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { parsed } from "./values.ts";

const COMMAND = "eagle get";

const FLAGS = {
  output: {
    type: "string",
    short: "o",
    value: "PATH",
    about: "Directory of the OCI layout, or file of the blob. Not given: named after the image, or the digest.",
  },
  proxy: {
    type: "string",
    value: "URL",
    about: "A running proxy to pull through, such as http://127.0.0.1:43002; it must know the registry.",
  },
  seeder: {
    type: "string",
    value: "HOST:PORT",
    multiple: true,
    about: "Without --proxy: a seeder to ask. Port 55008 may be left out.",
  },
  tracker: {
    type: "string",
    value: "HOST:PORT",
    multiple: true,
    about: "Without --proxy: a tracker to find other hosts with. Port 6969 may be left out.",
  },
  data: {
    type: "string",
    value: "DIR",
    about: "Without --proxy: keep what came for the next time, and for others meanwhile.",
  },
  platform: {
    type: "string",
    value: "OS/ARCH",
    about: "Which image of a multi-platform one. Not given: this machine's.",
  },
  all: { type: "boolean", about: "All platforms of a multi-platform image." },
  "plain-http": {
    type: "boolean",
    about: "Speak HTTP to the registry. Registries on loopback are spoken to so anyway.",
  },
  username: { type: "string", value: "NAME", about: "User at the registry, with --password-file." },
  "password-file": { type: "string", value: "FILE", about: "File with that user's password." },
  ca: { type: "string", value: "FILE", about: "Certificates that may sign the registry's own, PEM." },
  quiet: { type: "boolean", short: "q", about: "No progress." },
  "log-level": {
    type: "string",
    choices: ["debug", "info", "warn", "error"],
    fallback: "error",
    about: "How much is logged, to stderr.",
  },
} as const;

const SPEC = {
  name: COMMAND,
  about:
    "Downloads an image into a directory in the OCI layout, which skopeo and podman read, or one blob into a file. Every digest is checked; what is there already is not fetched again. With seeders or trackers it takes part in the swarm itself; with --proxy it pulls through a running proxy; with neither it goes straight to the registry.",
  flags: FLAGS,
  args: {
    usage: "IMAGE|URL",
    about:
      "IMAGE as in docker pull: alpine, quay.io/org/app:1.2, 127.0.0.1:5000/app@sha256:... URL: that of a blob, https://HOST/v2/NAME/blobs/sha256:...",
    min: 1,
  },
  examples: [
    "eagle get alpine",
    "eagle get --proxy http://127.0.0.1:43002 quay.io/org/app:1.2 --output app",
    "eagle get --seeder seeder-1 --tracker tracker-1 registry.example.com/app:1.2",
    "eagle get http://127.0.0.1:5000/v2/app/blobs/sha256:0123... --output layer.tar.gz",
  ],
} as const;

/** @returns 0, also when everything was there already */
export const run = command(SPEC, async ({ values, args: words }) => {
  const target = parsed(words[0]!, { command: COMMAND, flag: "IMAGE|URL" }, parseTarget);
  const platform = platformOf(values);
  const proxy =
    values.proxy && parsed(values.proxy, { command: COMMAND, flag: "--proxy" }, (text) => parseEndpoint(text));
  if (proxy && (values.seeder.length > 0 || values.tracker.length > 0 || values.data !== undefined)) {
    throw new UsageError(
      `${COMMAND}: --proxy stands alone: the proxy has its own seeders, trackers and data\nTry: ${COMMAND} --help`,
    );
  }
  const registry = {
    ...(values["plain-http"] ? { plainHTTP: true } : {}),
    ...(values.ca === undefined ? {} : { ca: values.ca }),
    ...(values.username === undefined ? {} : { username: values.username }),
    ...(values["password-file"] === undefined ? {} : { passwordFile: values["password-file"] }),
  };
  const output = values.output ?? (target.kind === "blob" ? target.digest.hex : basename(target.repository));
  const text = await interruptible((signal) =>
    withCleanup(async (cleanup) => {
      const opening = openPullSource({
        target,
        proxy: proxy || undefined,
        seeders: values.seeder,
        trackers: values.tracker,
        data: values.data,
        registry,
        log: createLogger({ name: "eagle", level: values["log-level"] }),
      });
      const source = cleanup.use(await opening);
      const meter = (label: string) => cleanup.use(meterOf(label, source, values.quiet));
      const options = { source, output, signal, meter };
      return target.kind === "blob" ? await getBlob(target, options) : await getImage(target, { ...options, platform });
    }),
  );
  process.stdout.write(`${text}\n`);
  return 0;
});

interface GetOptions {
  readonly source: PullSource;
  readonly output: string;
  /** Shows the progress of what is called so. */
  meter(label: string): Meter;
  readonly signal: AbortSignal;
}

async function getBlob(
  { repository, digest }: BlobTarget,
  { source, output, meter: begin, signal }: GetOptions,
): Promise<string> {
  const isDirectory = (await stat(output).catch(() => undefined))?.isDirectory();
  const path = isDirectory ? join(output, digest.hex) : output;
  if (await hasBlobFile(path, { digest })) return `${path} is there already: ${digest}`;
  const meter = begin(digest.toString().slice(0, 19));
  const { size, bytes } = await source.reader.blob(repository, digest, signal);
  if (size !== undefined) meter.expect(size);
  await writeBlobFile(
    path,
    counted(verified(bytes, { digest, size }), (count) => meter.add(count)),
  );
  return `${path}: ${digest}`;
}

async function getImage(
  { repository, reference, tag }: ImageTarget,
  { source, output, meter: begin, signal, platform }: GetOptions & { platform: Platform | undefined },
): Promise<string> {
  const layout = await OciLayout.open(output);
  const meter = begin(`${basename(repository)}:${tag ?? reference.slice(0, 19)}`);
  const { root, blobs, skipped } = await pullImage(source.reader, {
    repository,
    reference,
    platform,
    sink: layout,
    signal,
    onPlan: ({ bytes }) => meter.expect(bytes),
    onBytes: (bytes) => meter.add(bytes),
  });
  await layout.enter(root, tag);
  const size = formatBytes(blobs.reduce((sum, blob) => sum + blob.size, 0));
  const there = skipped > 0 ? `, ${skipped} of them were there already` : "";
  return `${output}: ${root.digest}, ${blobs.length} blobs of ${size}${there}, in ${formatDuration(meter.elapsedMs)}`;
}

function meterOf(label: string, source: PullSource, quiet: boolean): Meter {
  return new Meter({ label, bySource: () => source.bySource(), ...(quiet ? { output: { write: () => true } } : {}) });
}

function platformOf({ platform, all }: { platform: string | undefined; all: boolean }): Platform | undefined {
  if (all && platform !== undefined) throw new UsageError(`${COMMAND}: --all and --platform exclude each other`);
  if (all) return undefined;
  return platform === undefined
    ? machinePlatform()
    : parsed(platform, { command: COMMAND, flag: "--platform" }, parsePlatform);
}
