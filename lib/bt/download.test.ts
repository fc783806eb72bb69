/** @module Tests of the download, with sources that behave as the test says. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { Bitfield } from "./bitfield.ts";
import { Download } from "./download.ts";
import { BlobError } from "./errors.ts";
import { RateLimiter, type Turn } from "./limiter.ts";
import type { LiveBlob, SourceKind } from "./live-blob.ts";
import {
  type FetchedPiece,
  type PieceAsk,
  type PieceSource,
  type SourceChange,
  SourceError,
} from "./sources/source.ts";
import { arriving, prng, type TestBlob, tempDir, testBlob, until } from "./testing/blobs.ts";

const blob = testBlob(700_000, { pieceLength: 16 * 1024 });
const count = blob.layout.count;

interface FakeInit {
  readonly name?: string;
  readonly kind?: SourceKind;
  readonly chooses?: boolean;
  readonly depth?: number;
  readonly has?: (piece: number) => boolean;
  /** What happens to a request before the piece is sent; what it throws is the answer. */
  answer?(ask: PieceAsk, piece: number): unknown;
}

/** A source that has the test's blob, or a part. */
class FakeSource implements PieceSource {
  readonly name: string;
  readonly kind: SourceKind;
  readonly chooses: boolean;
  readonly depth: number;
  readonly pieces: Bitfield | undefined;
  readonly asked: number[] = [];
  busy = 0;
  most = 0;
  closed = false;
  tell: (change: SourceChange) => void = () => {};
  readonly #of: TestBlob;
  readonly #init: FakeInit;

  constructor(of: TestBlob, init: FakeInit = {}) {
    this.#of = of;
    this.#init = init;
    this.name = init.name ?? "fake";
    this.chooses = init.chooses ?? false;
    this.kind = init.kind ?? (this.chooses ? "seeder" : "peer");
    this.depth = init.depth ?? 1;
    if (this.chooses) return;
    this.pieces = new Bitfield(of.layout.count);
    for (let piece = 0; piece < of.layout.count; piece++) if (init.has?.(piece) ?? true) this.pieces.add(piece);
  }

  get trusted(): boolean {
    return this.chooses;
  }

  start(onChange: (change: SourceChange) => void): void {
    this.tell = onChange;
    if (this.pieces) onChange({ type: "reset" });
  }

  async fetch(ask: PieceAsk): Promise<FetchedPiece | undefined> {
    this.most = Math.max(this.most, ++this.busy);
    try {
      const piece = ask.piece ?? this.#choose(ask.asked);
      if (piece === undefined) return undefined;
      this.asked.push(piece);
      await new Promise((resolve) => setImmediate(resolve));
      ask.signal.throwIfAborted();
      const buffer = ask.buffer(piece);
      buffer.set(this.#of.piece(piece));
      await this.#init.answer?.(ask, piece);
      ask.signal.throwIfAborted();
      ask.onBytes(piece, buffer.length);
      return { piece, bytes: buffer, sha1: createHash("sha1").update(buffer).digest() };
    } finally {
      this.busy--;
    }
  }

  close(): void {
    this.closed = true;
  }

  /** As an uploader does: another piece each time, as long as there is one. */
  #choose(asked: Bitfield): number | undefined {
    const open = Array.from({ length: this.#of.layout.count }, (_, piece) => piece).filter(
      (piece) => !asked.has(piece),
    );
    return open.find((piece) => !this.asked.includes(piece)) ?? open[0];
  }
}

/** Never answers; ends when given up. */
function silence(ask: PieceAsk): Promise<never> {
  return new Promise((_, reject) => {
    ask.signal.addEventListener("abort", () => reject(new SourceError("aborted", "given up")), { once: true });
  });
}

function downloadOf(live: LiveBlob, changes: Partial<ConstructorParameters<typeof Download>[0]> = {}) {
  const left: string[] = [];
  const liars: string[] = [];
  const download = new Download({
    blob: live,
    limiter: new RateLimiter(0),
    log: silentLogger,
    random: prng(1),
    onLeave: (source, error) => void left.push(`${source.name} ${error.code}`),
    onLiar: (source) => void liars.push(source.name),
    ...changes,
  });
  return { download, left, liars };
}

const never = new AbortController().signal;

test("pieces come from all sources at once, each about once", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  const sources = [
    new FakeSource(blob, { name: "even", has: (piece) => piece % 2 === 0 }),
    new FakeSource(blob, { name: "odd", has: (piece) => piece % 2 === 1 }),
    new FakeSource(blob, { name: "seeder", chooses: true, depth: 2 }),
  ];
  for (const source of sources) download.add(source);
  await download.run(never);
  assert.equal(await live.done, blob.layout.size);
  for (const source of sources) {
    assert.ok(source.asked.length > 0, source.name);
    assert.ok(source.most <= source.depth);
    assert.ok(source.closed);
  }
  const asked = sources.reduce((sum, source) => sum + source.asked.length, 0);
  assert.ok(asked <= count + 8, `${asked} requests for ${count} pieces`);
  await live.close();
});

test("a seeder's hashes are believed with its pieces, a peer's are not", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path, { hashes: false });
  const { download } = downloadOf(live);
  const peer = new FakeSource(blob, { name: "peer" });
  download.add(peer);
  const running = download.run(never);
  await new Promise((resolve) => setTimeout(resolve, 120));
  assert.equal(peer.asked.length, 0, "nothing is asked that cannot be checked");
  download.add(new FakeSource(blob, { name: "seeder", chooses: true }));
  await running;
  assert.equal(await live.done, blob.layout.size);
  await live.close();
});

test("a liar is banned and left, and does not end the download", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download, left, liars } = downloadOf(live);
  const liar = new FakeSource(blob, {
    name: "liar",
    answer: () => {
      throw new SourceError("liar", "wrong bytes");
    },
  });
  download.add(liar);
  const running = download.run(never);
  await until(() => left.length > 0);
  download.add(new FakeSource(blob, { name: "honest" }));
  await running;
  assert.deepEqual(liars, ["liar"]);
  assert.deepEqual(left, ["liar liar"]);
  assert.equal(liar.asked.length, 1);
  assert.ok(liar.closed);
  assert.equal(await live.done, blob.layout.size);
  await live.close();
});

test("a source whose word differs from the known hash is left without a ban, its bytes unseen", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download, left, liars } = downloadOf(live);
  download.add(new FakeSource(testBlob(700_000, { pieceLength: 16 * 1024, seed: 77 }), { name: "other" }));
  const running = download.run(never);
  await until(() => left.length > 0);
  assert.equal(live.have?.count, 0);
  download.add(new FakeSource(blob, { name: "honest" }));
  await running;
  assert.deepEqual([left, liars], [["other other_list"], []]);
  assert.equal(await live.done, blob.layout.size);
  await live.close();
});

test("a source that fails every other time is left as well", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  // It rests for a while after each failure.
  const { download, left } = downloadOf(live, { now: () => performance.now() * 50 });
  let requests = 0;
  const halting = new FakeSource(blob, {
    name: "halting",
    answer: () => {
      if (requests++ % 2 === 0) throw new SourceError("failed", "reset");
    },
  });
  download.add(halting);
  const running = download.run(never);
  await until(() => left.length > 0);
  assert.deepEqual(left, ["halting failed"]);
  assert.ok((live.have?.count ?? 0) < 10);
  download.add(new FakeSource(blob, { name: "good" }));
  await running;
  await live.done;
  await live.close();
});

test("a source that fails now and then is kept, one that only fails is left after three", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download, left } = downloadOf(live);
  let failures = 0;
  const shaky = new FakeSource(blob, {
    name: "shaky",
    answer: () => {
      if (failures++ === 3) throw new SourceError("failed", "reset");
    },
  });
  const broken = new FakeSource(blob, {
    name: "broken",
    answer: () => {
      throw new Error("a bug");
    },
  });
  download.add(broken);
  const running = download.run(never);
  await until(() => left.length > 0);
  assert.equal(broken.asked.length, 3);
  download.add(shaky);
  await running;
  assert.deepEqual(left, ["broken failed"]);
  await live.done;
  await live.close();
});

test("a stalled source holds nobody up: its piece is asked for again, then given up", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  let givenUp = 0;
  const stalled = new FakeSource(blob, {
    name: "stalled",
    answer: (ask) =>
      silence(ask).catch((error) => {
        givenUp++;
        throw error;
      }),
  });
  download.add(stalled);
  const running = download.run(never);
  await until(() => stalled.asked.length > 0);
  download.add(new FakeSource(blob, { name: "good" }));
  await running;
  assert.ok(givenUp > 0);
  assert.equal(await live.done, blob.layout.size);
  await live.close();
});

test("a late piece of which no other peer tells is asked of a seeder where a request waits already", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  const wants: (number | undefined)[] = [];
  const lost = 7;
  const seeder = new (class extends FakeSource {
    /** Lets a request wait, without a piece, that does not name one. */
    override async fetch(ask: PieceAsk): Promise<FetchedPiece | undefined> {
      wants.push(ask.want);
      return ask.want === undefined ? await silence(ask) : await super.fetch(ask);
    }
  })(blob, { name: "seeder", chooses: true, depth: 16 });
  download.add(new FakeSource(blob, { name: "dead", has: (piece) => piece === lost, answer: silence }));
  for (const name of ["a", "b", "c", "d"]) download.add(new FakeSource(blob, { name, has: (piece) => piece !== lost }));
  const running = download.run(never);
  download.add(seeder);
  await running;
  assert.equal(wants[0], undefined);
  assert.equal(wants.at(-1), lost);
  await live.done;
  await live.close();
});

test("a source that leaves in the middle is replaced by what is left, or by a later one", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download, left } = downloadOf(live);
  const first: FakeSource = new FakeSource(blob, {
    name: "first",
    answer: (ask) => (first.asked.length > 10 ? silence(ask) : undefined),
  });
  download.add(first);
  assert.ok(download.find("first"));
  const running = download.run(never);
  await live.waitFor(() => live.have!.count >= 5);
  first.tell({ type: "gone", error: new SourceError("gone", "it stopped") });
  assert.equal(download.sourceCount, 0);
  assert.ok(first.closed);
  const before = first.asked.length;
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(first.asked.length, before);
  download.add(new FakeSource(blob, { name: "late" }));
  await running;
  assert.deepEqual(left, ["first gone"]);
  await live.done;
  await live.close();
});

test("what a reader waits for comes first", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  const wanted = count - 3;
  const position = blob.layout.start(wanted);
  live.demand({ position, end: position + 10, waitingSince: performance.now() });
  const source = new FakeSource(blob);
  download.add(source);
  await download.run(never);
  assert.equal(source.asked[0], wanted);
  await live.done;
  await live.close();
});

test("a source whose pieces come from elsewhere long before is left after three", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const clock = { now: 1000 };
  const { download, left } = downloadOf(live, { now: () => clock.now });
  const trickle = new FakeSource(blob, {
    name: "trickle",
    has: (piece) => piece < 10,
    answer: (ask, piece) => {
      ask.onBytes(piece, 100);
      return silence(ask);
    },
  });
  download.add(new FakeSource(blob, { name: "good", has: (piece) => piece >= 10 }));
  const running = download.run(never);
  await until(() => live.have?.count === count - 10);
  download.add(trickle);
  for (let failures = 1; failures <= 3; failures++) {
    assert.deepEqual(left, []);
    await until(() => trickle.asked.length === failures && trickle.busy === 1);
    const piece = trickle.asked.at(-1)!;
    clock.now += 500;
    await live.store(piece, blob.piece(piece), "origin");
    await until(() => trickle.busy === 0);
    // It rests meanwhile.
    clock.now += 2000;
  }
  assert.deepEqual(left, ["trickle failed"]);
  download.add(new FakeSource(blob, { name: "late" }));
  await running;
  await live.done;
  await live.close();
});

test("a few bytes now and then are no progress", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const clock = { now: 1000 };
  const { download } = downloadOf(live, { now: () => clock.now });
  const asks: PieceAsk[] = [];
  download.add(
    new FakeSource(blob, {
      answer: (ask) => {
        asks.push(ask);
        return silence(ask);
      },
    }),
  );
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  await until(() => asks.length > 0);
  clock.now = 2000;
  asks[0]!.onBytes(asks[0]!.piece!, 100);
  assert.equal(download.lastProgress, 1000);
  asks[0]!.onBytes(asks[0]!.piece!, 16_000);
  asks[0]!.onBytes(asks[0]!.piece!, 300);
  assert.equal(download.lastProgress, 2000);
  gone.abort(new Error("enough"));
  await running;
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});

test("the end gives up what is under way: by signal, by failure, by completion", async () => {
  await using dir = await tempDir();
  for (const end of ["signal", "failure"] as const) {
    const live = await arriving(blob, dir.path);
    const { download } = downloadOf(live);
    let givenUp = 0;
    const source = new FakeSource(blob, {
      answer: (ask) =>
        silence(ask).catch((error) => {
          givenUp++;
          throw error;
        }),
    });
    download.add(source);
    const gone = new AbortController();
    const running = assert.rejects(download.run(gone.signal), /the end/);
    await until(() => source.busy > 0);
    if (end === "signal") gone.abort(new Error("the end"));
    else await live.fail(new BlobError("unavailable", "the end"));
    await running;
    await until(() => givenUp === 1);
    assert.ok(source.closed);
    const late = new FakeSource(blob);
    download.add(late);
    assert.ok(late.closed && late.asked.length === 0, "a source that comes too late is closed");
    await live.fail(new BlobError("abandoned", "x"));
    await live.close();
  }
});

test("the first piece of a silent source is asked of another, before anybody knows how long a piece takes", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  const mute = new FakeSource(blob, { name: "mute", answer: silence });
  download.add(mute);
  await until(() => mute.asked.length === 1);
  const piece = mute.asked[0]!;
  download.add(new FakeSource(blob, { name: "other", has: (index) => index === piece }));
  await until(() => live.have!.has(piece));
  gone.abort(new Error("enough"));
  await running;
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});

test("blobs that come at once share the host's requests", async () => {
  await using dir = await tempDir();
  const downloads = new Set<unknown>();
  const stop = new AbortController();
  const blobs = [1, 2, 3].map((seed) => testBlob(700_000, { pieceLength: 16 * 1024, seed }));
  const lives = await Promise.all(blobs.map((of) => arriving(of, dir.path)));
  const all = lives.map((live) => downloadOf(live, { downloads }).download);
  const runs = all.map((download) => assert.rejects(download.run(stop.signal), /the end/));
  assert.equal(downloads.size, 3);
  const peers = all.map((download, index) =>
    Array.from({ length: 12 }, (_, number) => {
      const peer = new FakeSource(blobs[index]!, { name: `peer ${number}`, answer: silence });
      download.add(peer);
      return peer;
    }),
  );
  const busy = () => peers.map((list) => list.reduce((sum, peer) => sum + peer.busy, 0));
  await until(() => busy().every((count) => count === 4));
  stop.abort(new Error("the end"));
  await Promise.all(runs);
  assert.equal(downloads.size, 0);
  for (const live of lives) {
    await live.fail(new BlobError("abandoned", "x"));
    await live.close();
  }
});

test("what changes in one turn is looked at once, before the next", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  let looks = 0;
  const random = () => {
    looks += 1;
    return 0;
  };
  const { download } = downloadOf(live, { random });
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  await Promise.resolve();
  looks = 0;
  live.hurry();
  live.addHashes(0, blob.sha1(0));
  live.hurry();
  const source = new FakeSource(blob, { has: () => false });
  download.add(source);
  assert.equal(looks, 0);
  await Promise.resolve();
  assert.equal(looks, 1);
  source.pieces!.add(7);
  source.tell({ type: "reset" });
  await Promise.resolve();
  assert.deepEqual(source.asked, [7]);
  gone.abort(new Error("enough"));
  await running;
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});

test("the end gives up requests whose piece the source has not chosen yet", async () => {
  await using dir = await tempDir();
  const live = await arriving(blob, dir.path);
  const { download } = downloadOf(live);
  const seeder = new FakeSource(blob, { name: "seeder", chooses: true });
  let asked: PieceAsk | undefined;
  seeder.fetch = (ask) => {
    asked = ask;
    return silence(ask);
  };
  download.add(seeder);
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  await until(() => asked !== undefined);
  gone.abort(new Error("enough"));
  await running;
  assert.ok(asked!.signal.aborted && seeder.closed);
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});

/** A download that waits at a limit of one piece in 12 s, on a clock that the test moves. */
async function limited(path: string) {
  const of = testBlob(12 * 16 * 1024, { pieceLength: 16 * 1024 });
  const live = await arriving(of, path);
  const clock = { now: 0 };
  const now = () => clock.now;
  const limiter = new RateLimiter((16 * 1024) / 12, { burst: 1, now });
  const taken: (Turn | undefined)[] = [];
  const take = limiter.take.bind(limiter);
  limiter.take = (bytes, turn) => {
    taken.push(turn);
    return take(bytes, turn);
  };
  const { download, left } = downloadOf(live, { now, limiter });
  const sources = ["one", "two", "three", "four", "five"].map((name) => new FakeSource(of, { name }));
  for (const source of sources) download.add(source);
  const asked = () => sources.flatMap((source) => source.asked);
  /** Moves the clock while no source is asked: a few ms for each second, so that the download has its ticks. */
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      await until(() => sources.every(({ busy }) => busy === 0));
      clock.now += 1000;
      limiter.charge(0);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  return { of, live, clock, limiter, taken, download, left, sources, asked, pass };
}

test("waiting at the host's own limit is no source's debt: none is left, no piece is asked for twice", async () => {
  await using dir = await tempDir();
  const { of, live, clock, download, left, asked, pass } = await limited(dir.path);
  const running = download.run(never);
  await pass(11);
  assert.deepEqual(asked(), []);
  for (const { owingSince, requests } of download.neighbours())
    assert.deepEqual([owingSince, requests], [undefined, 0]);
  assert.equal(download.lastProgress, clock.now, "nothing but the limit is waited for");
  await pass(2);
  await until(() => asked().length === 1);
  for (let count = 0; !live.have!.full; count++) {
    assert.ok(count < 12 * 12, `${live.have!.count} pieces`);
    await pass(1);
  }
  await running;
  assert.deepEqual(left, []);
  assert.deepEqual(
    asked().sort((one, other) => one - other),
    Array.from({ length: of.layout.count }, (_, piece) => piece),
  );
  await live.done;
  await live.close();
});

test("what is asked for is chosen once it may be: the piece that a reader waits for by then", async () => {
  await using dir = await tempDir();
  const { of, live, taken, download, asked, pass } = await limited(dir.path);
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  await pass(5);
  assert.deepEqual([taken.length, taken[0]?.key, taken[0]?.urgent?.()], [1, live.id, false]);
  const position = of.layout.start(9);
  live.demand({ position, end: position + 10, waitingSince: 0 });
  assert.equal(taken[0]?.urgent?.(), true);
  await pass(8);
  await until(() => live.have!.count === 1);
  assert.deepEqual(asked(), [9]);
  gone.abort(new Error("enough"));
  await running;
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});

test("a download that ends at the limit leaves nothing there, one that has nothing to ask gives back", async () => {
  await using dir = await tempDir();
  const { live, limiter, download, sources, asked, pass } = await limited(dir.path);
  const gone = new AbortController();
  const running = assert.rejects(download.run(gone.signal), /enough/);
  await pass(6);
  assert.equal(limiter.waiting, 1);
  for (const source of sources.slice(1)) source.tell({ type: "gone", error: new SourceError("gone", "it stopped") });
  sources[0]!.pieces!.clear();
  await pass(6);
  await limiter.take(16 * 1024 - 1);
  assert.deepEqual(asked(), []);
  assert.equal(limiter.waiting, 0);
  for (let piece = 0; piece < 12; piece++) sources[0]!.pieces!.add(piece);
  sources[0]!.tell({ type: "reset" });
  await until(() => limiter.waiting === 1);
  gone.abort(new Error("enough"));
  await running;
  assert.equal(limiter.waiting, 0);
  await live.fail(new BlobError("abandoned", "x"));
  await live.close();
});
