/**
 * Tests of progress lines, quantities and tables.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Progress, renderProgress } from "./progress.ts";
import { formatBytes, formatDuration } from "./quantities.ts";
import { renderTable } from "./table.ts";

const MiB = 1024 ** 2;
const state = {
  label: "layer",
  done: 130 * MiB,
  total: 250 * MiB,
  rate: 21 * MiB,
  elapsedMs: 6000,
  bySource: { peer: 120 * MiB, seeder: 10 * MiB, origin: 0 },
};

test("a line holds bar, share, bytes, rate, time left and sources", () => {
  assert.equal(
    renderProgress(state, { width: 105 }),
    "layer [==========>         ]  52% 130 MiB of 250 MiB  21.0 MiB/s  ETA 5.7s  peer 120 MiB, seeder 10.0 MiB",
  );
});

test("the bar shrinks, then goes, then the line is cut", () => {
  for (const width of [200, 120, 90, 84, 60, 20]) {
    const line = renderProgress(state, { width });
    assert.ok(line.length <= width, line);
    assert.equal(line.includes("["), width >= 90);
  }
});

test("unknown sizes, no rate, the end", () => {
  const line = (over: Partial<Parameters<typeof renderProgress>[0]>) =>
    renderProgress({ ...state, bySource: {}, ...over }, { width: 200, bar: false });
  assert.equal(line({ total: undefined }), "layer 130 MiB  21.0 MiB/s");
  assert.equal(line({ rate: 0 }), "layer  52% 130 MiB of 250 MiB  0 B/s  ETA --");
  assert.equal(line({ done: 250 * MiB }), "layer 100% 250 MiB of 250 MiB  21.0 MiB/s  in 6.0s");
  assert.equal(line({ done: 0, total: 0 }), "layer 100% 0 B of 0 B  21.0 MiB/s  in 6.0s");
  assert.equal(line({ done: 250 * MiB - 1 }).slice(6, 10), " 99%");
});

function draw({ isTTY }: { isTTY: boolean }) {
  let clock = 0;
  const written: string[] = [];
  const output = { isTTY, columns: 100, write: (text: string) => written.push(text) };
  const progress = new Progress({ label: "x", total: 100, output, now: () => clock });
  for (let i = 1; i <= 40; i++) {
    clock += 50;
    progress.update({ done: i * 2, bySource: { peer: i * 2 } });
  }
  clock += 50;
  progress.update({ done: 100 });
  progress.finish();
  progress.finish();
  progress.update({ done: 1 });
  return written;
}

test("on a terminal one line is redrawn, ten times a second at most", () => {
  const written = draw({ isTTY: true });
  assert.ok(written.length >= 20 && written.length <= 24, String(written.length));
  assert.ok(written.slice(0, -1).every((text) => text.startsWith("\rx [") && text.endsWith("\u001b[K")));
  assert.match(written.at(-2)!, /100% 100 B of 100 B {2}49 B\/s {2}in 2\.0s/);
  assert.equal(written.at(-1), "\n");
});

test("elsewhere plain lines are written once a second", () => {
  assert.deepEqual(draw({ isTTY: false }), [
    "x   2% 2 B of 100 B  40 B/s  ETA 2.5s  peer 2 B\n",
    "x  42% 42 B of 100 B  40 B/s  ETA 1.4s  peer 42 B\n",
    "x 100% 100 B of 100 B  49 B/s  in 2.0s  peer 80 B\n",
  ]);
});

test("quantities", () => {
  const bytes = [0, 999, 1000, 1024, 10_236, 102_350, 1_023_000, 1.5 * 1024 ** 3, 3 * 1024 ** 5, -1];
  assert.deepEqual(bytes.map(formatBytes), [
    "0 B",
    "999 B",
    "0.98 KiB",
    "1.00 KiB",
    "10.0 KiB",
    "100 KiB",
    "999 KiB",
    "1.50 GiB",
    "3.00 PiB",
    "0 B",
  ]);
  const ms = [0, 500, 9940, 9950, 59_400, 59_600, 65_000, 3_599_600, 3_720_000, Number.POSITIVE_INFINITY, Number.NaN];
  assert.deepEqual(ms.map(formatDuration), [
    "0.0s",
    "0.5s",
    "9.9s",
    "10s",
    "59s",
    "1m00s",
    "1m05s",
    "1h00m",
    "1h02m",
    "--",
    "--",
  ]);
});

test("tables are aligned", () => {
  const rows = [
    ["sha256:aa", 10, "peer"],
    ["b", 12345],
    ["line\nbreak\u001b[31m", 1, ""],
  ];
  assert.equal(
    renderTable(rows, { header: ["blob", "bytes", "from"], align: ["left", "right"] }),
    [
      "blob             bytes  from",
      "sha256:aa           10  peer",
      "b                12345",
      "line break [31m      1",
      "",
    ].join("\n"),
  );
  assert.equal(renderTable([]), "");
});
