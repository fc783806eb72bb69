/** @module Tests of the uploader: slots, waiting, leaving. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Bitfield } from "./bitfield.ts";
import { BlobError } from "./errors.ts";
import type { LiveBlob } from "./live-blob.ts";
import { arriving, type TestBlob, tempDir, testBlob, turns } from "./testing/blobs.ts";
import { PARK_MS, type Upload, Uploader } from "./uploader.ts";

const blob = testBlob(640_000, { pieceLength: 16 * 1024 });

function nothing(of: TestBlob = blob): Bitfield {
  return new Bitfield(of.layout.count);
}

function live(): AbortSignal {
  return new AbortController().signal;
}

async function fill(target: LiveBlob, of: TestBlob, pieces?: number): Promise<void> {
  for (let piece = 0; piece < (pieces ?? of.layout.count); piece++)
    await target.store(piece, of.piece(piece), "origin");
}

test("no more pieces go out at once than there are slots", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const uploader = new Uploader({ slots: 3 });
  let busy = 0;
  let most = 0;
  const sent: number[] = [];
  const asker = async () => {
    const upload = await uploader.next(target, { asked: nothing(), signal: live() });
    assert.ok(upload);
    busy++;
    most = Math.max(most, busy);
    sent.push(upload.piece);
    await turns(1);
    busy--;
    upload.done("sent");
    upload.done("sent");
  };
  await Promise.all(Array.from({ length: blob.layout.count }, asker));
  assert.equal(most, 3);
  assert.equal(new Set(sent).size, blob.layout.count, "each asker got another piece");
  await target.close();
});

test("a request parks without a slot until a piece comes", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  const other = testBlob(100_000, { seed: 9, pieceLength: 16 * 1024 });
  const full = await arriving(other, dir.path);
  await fill(full, other);
  const uploader = new Uploader({ slots: 1 });
  let parked: Upload | undefined;
  const waiting = uploader.next(target, { asked: nothing(), signal: live() }).then((upload) => {
    parked = upload;
  });
  await turns();
  assert.equal(parked, undefined);
  const upload = await uploader.next(full, { asked: nothing(other), signal: live() });
  assert.ok(upload, "the parked request holds no slot");
  upload.done("sent");
  await target.store(7, blob.piece(7), "origin");
  await waiting;
  assert.equal((parked as Upload | undefined)?.piece, 7);
  (parked as Upload | undefined)?.done("sent");
  await target.close();
  await full.close();
});

test("many parked requests for one blob do not starve another's", async () => {
  await using dir = await tempDir();
  const empty = await arriving(blob, dir.path);
  const other = testBlob(100_000, { seed: 9, pieceLength: 16 * 1024 });
  const full = await arriving(other, dir.path);
  await fill(full, other);
  const uploader = new Uploader({ slots: 1 });
  const gone = new AbortController();
  const parked = Array.from({ length: 500 }, () => uploader.next(empty, { asked: nothing(), signal: gone.signal }));
  const held = await uploader.next(full, { asked: nothing(other), signal: live() });
  const next = uploader.next(full, { asked: nothing(other), signal: live() });
  held?.done("sent");
  const upload = await next;
  assert.ok(upload);
  upload.done("sent");
  gone.abort(new Error("left"));
  for (const one of await Promise.allSettled(parked)) assert.equal(one.status, "rejected");
  await empty.close();
  await full.close();
});

/** Requests of one asker each, for which there is nothing. */
function parkAll(uploader: Uploader, target: LiveBlob, count: number, signal: AbortSignal): Promise<unknown> {
  const asked = nothing();
  for (let piece = 0; piece < blob.layout.count - 1; piece++) asked.add(piece);
  const ask = (_: unknown, index: number) => uploader.next(target, { asked, asker: `parked ${index}`, signal });
  return Promise.allSettled(Array.from({ length: count }, ask));
}

test("who comes late and lacks what is there does not wait behind those that wait for what is not", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 3);
  const uploader = new Uploader();
  const gone = new AbortController();
  const parked = parkAll(uploader, target, 300, gone.signal);
  const upload = await uploader.next(target, { asked: nothing(), asker: "late", signal: live() });
  assert.equal(upload?.piece, 0);
  upload?.done("sent");
  gone.abort(new Error("left"));
  await parked;
  await target.close();
});

test("of many that wait for one blob all are looked at in turn", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 1);
  let now = 0;
  const uploader = new Uploader({ now: () => now });
  const gone = new AbortController();
  const first = await uploader.next(target, { asked: nothing(), asker: "first", signal: live() });
  const parked = parkAll(uploader, target, 100, gone.signal);
  let answered = false;
  const late = uploader.next(target, { asked: nothing(), signal: live() }).finally(() => {
    answered = true;
  });
  await turns();
  assert.equal(answered, false, "the piece is on its way through the swarm");
  now = 5000;
  for (const piece of [1, 2]) {
    await target.store(piece, blob.piece(piece), "origin");
    await turns();
  }
  assert.equal(answered, true);
  for (const upload of [first, await late]) upload!.done("sent");
  gone.abort(new Error("left"));
  await parked;
  await target.close();
});

test("a piece that nobody takes from the system gives its slot back after a while", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const uploader = new Uploader({ slots: 1 });
  mock.timers.enable({ apis: ["setTimeout"] });
  const stuck = await uploader.next(target, { asked: nothing(), signal: live() });
  const waiting = uploader.next(target, { asked: nothing(), signal: live() });
  mock.timers.tick(5000);
  mock.timers.reset();
  const upload = await waiting;
  assert.ok(upload);
  for (const end of [upload, stuck!]) end.done("left");
  const next = await uploader.next(target, { asked: nothing(), signal: live() });
  assert.ok(next, "each slot is given back once");
  const another = uploader.next(target, { asked: nothing(), signal: live() });
  next.done("left");
  (await another)!.done("left");
  await target.close();
});

test("nothing for one that has or asked for all", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 3);
  const asked = nothing();
  asked.addAll();
  const uploader = new Uploader();
  assert.equal(await uploader.next(target, { asked, signal: live() }), undefined);
  await target.close();
});

test("a wait ends after 10 s by the clock, and when the blob fails", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  const clock = { now: 0 };
  const uploader = new Uploader({ now: () => clock.now });
  const waiting = uploader.next(target, { asked: nothing(), signal: live() });
  await turns();
  clock.now = PARK_MS + 1;
  const failing = uploader.next(target, { asked: nothing(), signal: live() });
  assert.equal(await waiting, undefined);
  const failed = assert.rejects(failing, BlobError);
  await target.fail(new BlobError("unavailable", "gone"));
  await failed;
  await target.close();
});

test("an asker that leaves frees its place, before and after it got a piece", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const uploader = new Uploader({ slots: 1 });
  const first = await uploader.next(target, { asked: nothing(), signal: live() });
  const gone = new AbortController();
  const second = uploader.next(target, { asked: nothing(), signal: gone.signal });
  const third = uploader.next(target, { asked: nothing(), signal: live() });
  gone.abort(new Error("left"));
  await assert.rejects(second, /left/);
  first?.done("sent");
  const upload = await third;
  assert.ok(upload);
  upload.done("sent");
  await assert.rejects(uploader.next(target, { asked: nothing(), signal: gone.signal }), /left/);
  const again = await uploader.next(target, { asked: nothing(), signal: live() });
  assert.ok(again, "the slot is free");
  again.done("sent");
  await target.close();
});

test("a thousand askers are all served while the blob arrives", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  const counting = askAtOnce(target, 1000);
  await fill(target, blob);
  const counts = await counting;
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    1000,
  );
  await target.close();
});

test("of what is there a thousand askers get each piece about equally often", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const counts = await askAtOnce(target, 1000);
  assert.ok(Math.max(...counts) <= 1000 / blob.layout.count + 25, `${counts}`);
  await target.close();
});

/** How often each piece was given to askers that have nothing. */
async function askAtOnce(target: LiveBlob, askers: number): Promise<number[]> {
  const uploader = new Uploader({ slots: 2 });
  const counts = new Array<number>(blob.layout.count).fill(0);
  const all = Array.from({ length: askers }, async () => {
    const upload = await uploader.next(target, { asked: nothing(), signal: live() });
    assert.ok(upload);
    counts[upload.piece]!++;
    await turns(1);
    upload.done("sent");
  });
  await Promise.all(all);
  return counts;
}

test("two requests of one asker that want the same piece do not get it twice", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 2);
  const uploader = new Uploader({ slots: 2 });
  const ask = () => uploader.next(target, { asked: nothing(), asker: "a", want: 0, signal: live() });
  const [first, second] = await Promise.all([ask(), ask()]);
  assert.ok(first && second);
  assert.notEqual(first.piece, second.piece);
  first.done("sent");
  second.done("sent");
  await target.close();
});

test("a piece that did not get there is sent to the same asker again, at once", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 1);
  const uploader = new Uploader({ now: () => 0 });
  for (let times = 0; times < 2; times++) {
    const upload = await uploader.next(target, { asked: nothing(), asker: "a", signal: live() });
    assert.equal(upload?.piece, 0);
    upload.done("left");
  }
  await target.close();
});

test("a piece is on its way until its connection asks again, and keeps its slot so long", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const uploader = new Uploader({ slots: 1 });
  const ask = (asker: string) => uploader.next(target, { asked: nothing(), asker, connection: asker, signal: live() });
  const first = await ask("a");
  // The system took the bytes at once; the line has yet to carry them.
  first!.done("sent");
  let second: Upload | undefined;
  const waiting = ask("b").then((upload) => {
    second = upload;
  });
  await turns();
  assert.equal(second, undefined, "the slot is held");
  const more = ask("a");
  await waiting;
  assert.equal(second!.piece, 1);
  second!.done("left");
  const third = await more;
  third!.done("left");
  uploader.close();
  await target.close();
});

test("a slot is not held for ever, nor for one that has all it lacked", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob);
  const uploader = new Uploader({ slots: 1 });
  const ask = (asker: string, asked = nothing()) =>
    uploader.next(target, { asked, asker, connection: asker, signal: live() });
  (await ask("a"))!.done("sent");
  const second = await ask("b");
  assert.ok(second, "though the first never asks again");
  second.done("left");
  const allButOne = nothing();
  for (let piece = 0; piece < blob.layout.count; piece++) if (piece !== 9) allButOne.add(piece);
  const third = await ask("c", allButOne);
  assert.equal(third?.piece, 9);
  third.done("sent");
  const gone = AbortSignal.timeout(300);
  const fourth = await uploader.next(target, { asked: nothing(), signal: gone });
  fourth!.done("left");
  uploader.close();
  await target.close();
});

test("a repeat goes to who lacks the piece when it is due: one that waited for it is sent to ask again", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 1);
  const clock = { now: 0 };
  const uploader = new Uploader({ now: () => clock.now });
  const ask = (asker: string) => uploader.next(target, { asked: nothing(), asker, connection: asker, signal: live() });
  (await ask("a"))!.done("sent");
  clock.now = 500;
  const early = ask("b");
  await turns();
  clock.now = 1001;
  const late = await ask("c");
  assert.equal(late?.piece, 0);
  late.done("sent");
  clock.now = 2002;
  const nudge = ask("d");
  assert.equal(await early, undefined);
  assert.equal((await nudge)?.piece, 0);
  uploader.close();
  await target.close();
});

test("a piece that did not get there is served again at once", async () => {
  await using dir = await tempDir();
  const target = await arriving(blob, dir.path);
  await fill(target, blob, 1);
  const uploader = new Uploader();
  const ask = (asker: string) => uploader.next(target, { asked: nothing(), asker, signal: live() });
  (await ask("a"))!.done("left");
  const again = await ask("b");
  assert.equal(again?.piece, 0);
  again.done("sent");
  await target.close();
});
