/**
 * @module Whatever goes wrong on whichever connection, at whichever byte: no client is given a wrong byte as a right one,
 * none is kept waiting, and every pull succeeds while the origin works.
 *
 * By default a cover of all pairs; `EAGLE_FAULT_MATRIX=all` runs every cell, `EAGLE_FAULT_SEED` another cover, and
 * `EAGLE_FAULT_CELL` those whose title it matches.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Fault } from "../rig/faults.ts";
import type { PushedImage } from "../rig/image.ts";
import { Rig } from "../rig/rig.ts";
import type { StreamFault } from "../rig/stream-faults.ts";
import { need } from "../rig/tools.ts";
import { Bed } from "./fault-matrix/bed.ts";
import { AXES, type Cell, cellsOf, faultOf, SIZES, streamFaultOf, titleOf } from "./fault-matrix/cells.ts";
import { allOf } from "./fault-matrix/pairwise.ts";

/** The default of `firstByteTimeout`. */
const BUDGET_MS = 5000;

const skip = need({
  tools: ["docker-registry", "dockerd", "containerd", "ctr", "podman", "curl"],
  root: true,
});

const { EAGLE_FAULT_MATRIX, EAGLE_FAULT_SEED = "1", EAGLE_FAULT_CELL = "" } = process.env;
const cells = cellsOf({ isLong: EAGLE_FAULT_MATRIX === "all", seed: Number(EAGLE_FAULT_SEED) });

test("the cells cover every pair of values that may meet, and are the same each time", () => {
  const pairs = (cell: Cell) => {
    const values = Object.entries(cell).map(([name, value]) => `${name}=${value}`);
    return values.flatMap((a, index) => values.slice(index + 1).map((b) => `${a} ${b}`));
  };
  const isPossible = (pair: string) => !(pair.includes("link=seeder-pieces") && pair.includes("size=small"));
  const short = cellsOf({ isLong: false, seed: 1 });
  const covered = new Set(short.flatMap(pairs));
  const missing = [...new Set(allOf(AXES).flatMap(pairs))].filter((pair) => isPossible(pair) && !covered.has(pair));
  assert.deepEqual(missing, []);
  assert.ok(short.length <= 60, `${short.length} cells`);
  assert.deepEqual(short, cellsOf({ isLong: false, seed: 1 }));
});

describe(`${cells.length} cells of the fault matrix`, { skip }, () => {
  let rig: Rig;
  let bed: Bed;
  const slowest = { headMs: 0, firstByteMs: 0 };

  before(async () => {
    rig = await Rig.create();
    bed = await Bed.start(rig);
  });
  after(async () => rig.close());

  for (const [index, cell] of cells.entries()) {
    const title = titleOf(cell);
    if (!new RegExp(EAGLE_FAULT_CELL).test(title)) continue;
    test(title, async (t) => {
      const image = await bed.push(`library/cell-${index}`, SIZES[cell.size]);
      const reference = `docker.io/${image.repository}:${image.tag}`;
      const client = await bed.client(cell);
      await bed.prepare(cell, image);
      const seen = bed.front.requests.length;
      const fault = inject(cell, image);
      const began = performance.now();
      try {
        const isOriginsLie = cell.fault === "flip" && cell.link.endsWith("-origin");
        if (isOriginsLie) await client.pull(reference).catch((error) => t.diagnostic(`the first pull: ${error}`));
        else await client.pull(reference);
        assert.ok(fault.hits > 0, "the fault was never met");
        if (isOriginsLie) {
          await client.dropPartials?.();
          await client.pull(reference);
        }
        await client.verify(reference, image);
        if (isOriginsLie) assertReadTwice(image);
        const waits = assertPrompt(seen, image);
        slowest.headMs = Math.max(slowest.headMs, waits.headMs);
        slowest.firstByteMs = Math.max(slowest.firstByteMs, waits.firstByteMs);
        const ms = Math.round(performance.now() - began);
        t.diagnostic(`${ms} ms; head within ${waits.headMs} ms, first byte within ${waits.firstByteMs} ms`);
      } finally {
        bed.heal();
        // Its images go: a client that has a layer already does not ask for it.
        if (cell.client === "podman") await client.close();
      }
    });
  }

  test("the slowest answers of all cells", (t) => {
    t.diagnostic(`head within ${slowest.headMs} ms, first byte within ${slowest.firstByteMs} ms`);
  });

  function inject(cell: Cell, image: PushedImage): Fault | StreamFault {
    const [layer] = image.layers;
    const { at, ...target } = bed.place(cell);
    if (cell.link === "seeder-metainfo") {
      // A large blob comes by its piece hashes alone; the size and layout before them are some hundred bytes.
      return at.injectStream(streamFaultOf(cell, cell.size === "small" ? layer!.size : 400));
    }
    return at.inject(faultOf(cell, layer!.size), { match: new RegExp(`/blobs/${layer!.digest}`), ...target });
  }

  /** Once for the lie, once for the truth. */
  function assertReadTwice({ layers: [layer] }: PushedImage): void {
    const bytes = bed.origin.blobBytes(layer!.digest);
    const reads = JSON.stringify(bed.origin.blobReads(layer!.digest));
    assert.ok(bytes <= 2 * layer!.size * 1.02, `${bytes} of ${layer!.size} bytes from the origin by ${reads}`);
  }

  /** Every blob's answer began within the budget, or its client left before (one blob failed, so it wants no other). */
  function assertPrompt(from: number, { layers: [layer] }: PushedImage): { headMs: number; firstByteMs: number } {
    const answers = bed.front.requests
      .slice(from)
      .filter(({ url, method }) => method === "GET" && /\/blobs\//.test(url));
    assert.ok(answers.length > 0);
    const most = (values: (number | undefined)[]) => Math.round(Math.max(...values.map((value) => value ?? Infinity)));
    const headMs = most(answers.map((answer) => answer.headMs ?? answer.leftMs));
    assert.ok(headMs <= BUDGET_MS, `an answer began after ${headMs} ms (${layer!.digest})`);
    const firstByteMs = most(answers.filter(({ bytes }) => bytes > 0).map((answer) => answer.firstByteMs));
    return { headMs, firstByteMs };
  }
});
