/**
 * `eagle metainfo`: what a seeder tells of a blob.
 * @module
 */

import { decodeMetainfo, infoHash } from "../../../lib/bt/metainfo.ts";
import { Progress } from "../../../lib/cli/progress.ts";
import { formatBytes } from "../../../lib/cli/quantities.ts";
import { renderTable } from "../../../lib/cli/table.ts";
import { parseEndpoint } from "../../../lib/config/index.ts";
import { type Cleanup, withCleanup } from "../../../lib/lifecycle/cleanup.ts";
import { MetaInfoClient } from "../../../lib/rpc/client.ts";
import { MetaInfoError } from "../../../lib/rpc/errors.ts";
import { command } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { parsed } from "./values.ts";

const COMMAND = "eagle metainfo";

const SPEC = {
  name: COMMAND,
  about:
    "Asks a seeder for the metainfo of a blob: its size, how it is cut into pieces, and where its torrent is. A seeder that does not have the blob reads it from the registry first.",
  flags: {
    seeder: {
      type: "string",
      value: "HOST:PORT",
      multiple: true,
      fallback: "127.0.0.1:55008",
      about: "Seeder to ask; with several, the next when one does not answer. Port 55008 may be left out.",
    },
    json: { type: "boolean", about: "One JSON object for programs." },
    quiet: { type: "boolean", short: "q", about: "No progress." },
  },
  args: {
    usage: "URL",
    about:
      "URL of the blob at a registry the seeder may read: https://HOST/v2/NAME/blobs/sha256:...; a path alone (/v2/...) means the seeder's default registry.",
    min: 1,
  },
  examples: [
    "eagle metainfo https://registry.example.com/v2/app/blobs/sha256:0123...",
    "eagle metainfo --seeder seeder-1:55008 --json http://127.0.0.1:5000/v2/app/blobs/sha256:0123...",
  ],
} as const;

/** What is printed. */
interface Facts {
  readonly name: string;
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  readonly pieceLength: number;
  readonly pieces: number;
  /** Hex. */
  readonly infoHash: string;
  readonly seeder: string;
  readonly torrent: string;
}

/** @returns 0 */
export const run = command(SPEC, async ({ values, args: words }) => {
  const seeders = values.seeder.map((text) =>
    parsed(text, { command: COMMAND, flag: "--seeder" }, () => parseEndpoint(text, { defaultPort: 55008 })),
  );
  const facts = await interruptible((signal) => ask(words[0]!, { seeders, signal, quiet: values.quiet }));
  process.stdout.write(values.json ? `${JSON.stringify(facts)}\n` : renderTable(rowsOf(facts)));
  return 0;
});

async function ask(
  url: string,
  options: { seeders: readonly URL[]; signal: AbortSignal; quiet: boolean },
): Promise<Facts> {
  return await withCleanup((cleanup) => askWith(cleanup, url, options));
}

async function askWith(
  cleanup: Cleanup,
  url: string,
  { seeders, signal, quiet }: { seeders: readonly URL[]; signal: AbortSignal; quiet: boolean },
): Promise<Facts> {
  const client = cleanup.use(new MetaInfoClient({ seeders }));
  // As a stream, so that one sees how far the seeder's reading is, and which seeder it is.
  const { seeder, events } = await client.streamMetaInfo({ url, signal });
  const progress = quiet ? undefined : cleanup.use(new LateProgress(`${seeder.host} reads`));
  let total: number | undefined;
  for await (const event of events) {
    if (event.type === "blob") total = event.size;
    if (event.type === "progress") progress?.update(event.bytes, total);
    if (event.type === "metainfo") return factsOf(event.metainfo, seeder);
  }
  throw new MetaInfoError("internal", `seeder ${seeder.host} ended without the metainfo of ${url}`);
}

function factsOf(bytes: Uint8Array, seeder: URL): Facts {
  const metainfo = decodeMetainfo(bytes);
  const { id, layout } = metainfo;
  const digest = `${id.length === 64 ? "sha256" : "sha512"}:${id}`;
  return {
    name: `${id}.layer`,
    digest,
    size: layout.size,
    pieceLength: layout.pieceLength,
    pieces: layout.count,
    infoHash: Buffer.from(infoHash(metainfo)).toString("hex"),
    seeder: seeder.origin,
    torrent: new URL(`/torrents/${digest}.torrent`, seeder).href,
  };
}

function rowsOf({ name, digest, size, pieceLength, pieces, infoHash, torrent }: Facts): [string, string][] {
  return [
    ["name", name],
    ["digest", digest],
    ["size", `${size} bytes (${formatBytes(size)})`],
    ["piece length", `${pieceLength} bytes (${formatBytes(pieceLength)})`],
    ["pieces", String(pieces)],
    ["info hash", infoHash],
    ["torrent", torrent],
  ];
}

/** Shows nothing for an answer that comes at once. */
class LateProgress implements Disposable {
  readonly #label: string;
  #progress: Progress | undefined;

  constructor(label: string) {
    this.#label = label;
  }

  update(done: number, total: number | undefined): void {
    this.#progress ??= new Progress({ label: this.#label });
    this.#progress.update({ done, ...(total === undefined ? {} : { total }) });
  }

  [Symbol.dispose](): void {
    this.#progress?.finish();
  }
}
