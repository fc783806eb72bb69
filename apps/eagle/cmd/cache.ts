/**
 * `eagle cache`: what a proxy or seeder keeps on its disk.
 * @module
 */
import { UsageError } from "../../../lib/cli/flags.ts";
import { Progress } from "../../../lib/cli/progress.ts";
import { formatBytes } from "../../../lib/cli/quantities.ts";
import { renderTable } from "../../../lib/cli/table.ts";
import { nearest } from "../../../lib/config/nearest.ts";
import { cacheFacts, factRows } from "../cache/facts.ts";
import { type CachePlace, findCache } from "../cache/place.ts";
import { removeBlobs } from "../cache/remove.ts";
import { type StoredBlob, storedBlobs, storedMetainfo } from "../cache/stored.ts";
import { damageOf } from "../cache/verify.ts";
import { command } from "./command.ts";
import { interruptible } from "./interruptible.ts";

const COMMAND = "eagle cache";
const VERBS = ["ls", "stats", "verify", "rm"] as const;

const SPEC = {
  name: COMMAND,
  about:
    "Shows what a proxy or seeder keeps on its disk, checks it, and removes from it; whether it runs or not. ls: the blobs, most recently used first. stats: how full it is. verify: reads blobs again and tells which the disk has damaged (exit code 1). rm: removes blobs; a running proxy or seeder does it itself, so that the others hear of it. Of a seeder that stores blobs elsewhere (a bucket) all this is about the copies on its disk: what is stored stays.",
  flags: {
    root: { type: "string", value: "DIR", about: "The rootDirectory that it keeps blobs in." },
    config: { type: "string", short: "c", value: "FILE", about: "Its configuration file, which names that directory." },
    all: { type: "boolean", about: "rm: all blobs." },
    rm: { type: "boolean", about: "verify: removes what is damaged; it is fetched anew when it is asked for." },
    json: { type: "boolean", about: "JSON for programs: one object a line for ls, verify and rm, one for stats." },
    quiet: { type: "boolean", short: "q", about: "No progress." },
  },
  args: {
    usage: "ls|stats|verify|rm [DIGEST...]",
    about:
      "DIGEST: sha256:..., its hex, or the beginning of one, as long as it means one blob. Without any: all blobs.",
    min: 1,
    max: 1001,
  },
  examples: [
    "eagle cache ls --config /etc/eagle/proxy.yaml",
    "eagle cache rm --root /data/bt/proxy sha256:0123...",
    "eagle cache verify --root /data/bt/seeder --rm",
  ],
} as const;

interface Options {
  readonly place: CachePlace;
  readonly words: readonly string[];
  readonly all: boolean;
  readonly rm: boolean;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

/** @returns 0; 1 when a blob is damaged or could not be removed */
export const run = command(SPEC, async ({ values, args: words }) => {
  const { root, config, ...options } = values;
  const verb = verbOf(words[0]!);
  if ((root === undefined) === (config === undefined)) throw usage("say which cache: --root DIR or --config FILE");
  if (verb === "rm" && options.all === words.length > 1) throw usage("rm: say which blobs, or --all");
  if (verb !== "rm" && options.all) throw usage("--all belongs to rm");
  if (verb !== "verify" && options.rm) throw usage("--rm belongs to verify");
  if (verb === "stats" && words.length > 1) throw usage("stats is about the whole cache");
  const place = await findCache(root === undefined ? { config: config! } : { root });
  return await interruptible((signal) => ACTIONS[verb]({ place, words: words.slice(1), ...options, signal }));
});

type Verb = (typeof VERBS)[number];

const ACTIONS: Readonly<Record<Verb, (options: Options) => Promise<number>>> = { ls: list, stats, verify, rm: remove };

function verbOf(word: string): Verb {
  const verb = VERBS.find((each) => each === word);
  if (verb) return verb;
  const near = nearest(word, VERBS);
  throw usage(`${JSON.stringify(word)} is not one of ${VERBS.join(", ")}${near ? `. Did you mean ${near}?` : ""}`);
}

function usage(message: string): UsageError {
  return new UsageError(`${COMMAND}: ${message}\nTry: ${COMMAND} --help`);
}

async function list({ place, words, json }: Options): Promise<number> {
  const rows: string[][] = [];
  for (const blob of await storedBlobs(place.storage, words)) {
    const { digest, size, storedMs, usedMs } = blob;
    const [stored, used] = [new Date(storedMs).toISOString(), new Date(usedMs).toISOString()];
    const metainfo = await storedMetainfo(place.storage, digest).catch(() => undefined);
    const isPublic = metainfo === undefined ? null : metainfo.isPublic === true;
    if (json) print({ digest, size, stored, used, public: isPublic });
    else
      rows.push([digest, formatBytes(size), minutes(used), isPublic === null ? "?" : isPublic ? "public" : "private"]);
  }
  if (json) return 0;
  process.stdout.write(
    rows.length === 0
      ? "no blobs\n"
      : renderTable(rows, { header: ["DIGEST", "SIZE", "LAST USED (UTC)", "ACCESS"], align: ["left", "right"] }),
  );
  return 0;
}

/** To the minute: file systems know no better of all. @example "2026-11-24 09:30" */
function minutes(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}

async function stats({ place, json }: Options): Promise<number> {
  const facts = await cacheFacts(place);
  if (json) print(facts);
  else process.stdout.write(renderTable(factRows(facts)));
  return 0;
}

async function verify({ place, words, rm, json, quiet, signal }: Options): Promise<number> {
  const { storage } = place;
  const blobs = await storedBlobs(storage, words);
  const damaged: string[] = [];
  const failed: string[] = [];
  const progress = quiet ? undefined : new Progress({ label: "reads" });
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    progress?.update({ done, total });
  };
  const options = { withoutMetainfo: place.copiesOf !== undefined, signal, onBytes };
  try {
    for (const blob of blobs) {
      const [damage, error] = await damageOf(storage, blob, options).then(
        (found) => [found, undefined],
        (cause: unknown) => {
          signal.throwIfAborted();
          return [undefined, cause instanceof Error ? cause.message : String(cause)];
        },
      );
      if (damage !== undefined) damaged.push(blob.digest);
      if (error !== undefined) failed.push(blob.digest);
      if (json) print({ digest: blob.digest, ok: damage === undefined && error === undefined, damage, error });
      else if (damage !== undefined) process.stdout.write(`${blob.digest} ${damage}\n`);
      else if (error !== undefined) process.stdout.write(`${blob.digest} could not be checked: ${error}\n`);
    }
  } finally {
    progress?.finish();
  }
  if (!json) process.stdout.write(`${summary(blobs, { damaged, failed })}\n`);
  if (!rm || damaged.length === 0) return damaged.length + failed.length > 0 ? 1 : 0;
  await removeAndTell(damaged, { place, json, signal });
  return 1;
}

function summary(
  blobs: readonly StoredBlob[],
  { damaged, failed }: { damaged: readonly string[]; failed: readonly string[] },
): string {
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0);
  const unread = failed.length > 0 ? `, ${failed.length} could not be checked` : "";
  return `${blobs.length} blobs (${formatBytes(bytes)}): ${damaged.length} damaged${unread}`;
}

async function remove({ place, words, all, json, signal }: Options): Promise<number> {
  const blobs = await storedBlobs(place.storage, all ? [] : words);
  const digests = blobs.map(({ digest }) => digest);
  return (await removeAndTell(digests, { place, json, signal })) ? 0 : 1;
}

/** @returns Whether all are gone. */
async function removeAndTell(
  digests: readonly string[],
  { place, json, signal }: Pick<Options, "place" | "json" | "signal">,
): Promise<boolean> {
  const removals = await removeBlobs(place, digests, signal);
  for (const { digest, error } of removals) {
    if (json) print({ digest, removed: error === undefined, error });
    else if (error !== undefined) process.stdout.write(`${digest} is still there: ${error}\n`);
    else process.stdout.write(`removed ${place.copiesOf === undefined ? "" : "the copy of "}${digest}\n`);
  }
  return removals.every(({ error }) => error === undefined);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
