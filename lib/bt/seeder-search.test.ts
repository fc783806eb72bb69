/** @module Tests of when the seeders are asked again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../log/log.ts";
import { SeederSearch } from "./seeder-search.ts";
import { turns, until } from "./testing/blobs.ts";

/** A search whose pauses pass at once, and whose questions the test answers. */
function searchOf({ mayPass = true, random = 0 }: { mayPass?: boolean; random?: number } = {}) {
  const pauses: number[] = [];
  const asks: PromiseWithResolvers<void>[] = [];
  const over = new AbortController();
  let isNeeded = true;
  const search = new SeederSearch({
    ask: () => {
      const ask = Promise.withResolvers<void>();
      asks.push(ask);
      return ask.promise;
    },
    isNeeded: () => isNeeded,
    mayPass: () => mayPass,
    log: silentLogger,
    now: () => 1000 * (asks.length + 1),
    random: () => random,
    async sleep(ms, signal) {
      pauses.push(ms);
      await turns(1);
      signal.throwIfAborted();
    },
  });
  let state = "runs";
  search.run(over.signal).then(
    () => {
      state = "ended";
    },
    () => {
      state = "aborted";
    },
  );
  return {
    search,
    pauses,
    asks,
    asked: (times: number) => until(() => asks.length === times, `question ${times}`),
    need(whether: boolean) {
      isNeeded = whether;
    },
    async end() {
      over.abort(new Error("over"));
      await until(() => state === "aborted", "its end");
    },
    state: () => state,
  };
}

test("soon the first time, then after longer and longer pauses, for as long as nobody answers", async () => {
  const { search, pauses, asks, asked, end } = searchOf();
  assert.deepEqual([search.isAsking, search.askedAt], [false, 0]);
  search.lose();
  assert.deepEqual([search.isAsking, search.askedAt], [true, 1000], "before the first pause is over");
  for (let times = 1; times <= 7; times++) {
    await asked(times);
    assert.ok(search.isAsking);
    assert.equal(search.askedAt, 1000 * times);
    asks.at(-1)!.reject(new Error("nobody"));
  }
  await asked(8);
  assert.deepEqual(pauses, [100, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
  await end();
});

test("who has just been asked in vain is not asked again soon; not all ask in one moment", async () => {
  const { search, pauses, asked, end } = searchOf({ random: 0.5 });
  search.lose({ soon: false });
  assert.ok(!search.isAsking);
  await asked(1);
  assert.deepEqual(pauses, [375]);
  await end();
});

test("one that is found is awaited no more, and the next is asked when it is lost, while it still tells or after", async () => {
  for (const stillTells of [true, false]) {
    const { search, pauses, asks, asked, end } = searchOf();
    assert.ok(!search.isAsking);
    search.lose();
    await asked(1);
    search.found();
    assert.ok(!search.isAsking);
    if (!stillTells) asks[0]!.resolve();
    await turns();
    assert.equal(asks.length, 1);
    search.lose();
    search.lose();
    await asked(2);
    assert.ok(search.isAsking);
    // The end of the first is no answer of the second.
    if (stillTells) asks[0]!.resolve();
    await turns();
    assert.ok(search.isAsking);
    assert.deepEqual(pauses, [100, 500]);
    await end();
  }
});

test("one that breaks off after it was found is lost as well", async () => {
  const { search, asks, asked, end } = searchOf();
  search.lose();
  await asked(1);
  search.found();
  await turns();
  asks[0]!.reject(new Error("broke"));
  await asked(2);
  await end();
});

test("one that ends without having told is not found", async () => {
  const { search, asks, asked, end } = searchOf();
  search.lose();
  await asked(1);
  asks[0]!.resolve();
  await asked(2);
  await end();
});

test("nobody is asked when another is found meanwhile by itself, or none is needed, until one is", async () => {
  const { search, pauses, asks, asked, need, end } = searchOf();
  search.lose();
  search.found();
  await turns();
  assert.equal(asks.length, 0);
  need(false);
  search.lose();
  await until(() => pauses.length > 6, "some looks at whether one is needed");
  assert.equal(asks.length, 0);
  need(true);
  await asked(1);
  await end();
});

test("an answer that will be the same for ever ends it", async () => {
  const { search, asks, asked, state } = searchOf({ mayPass: false });
  search.lose();
  await asked(1);
  asks[0]!.reject(new Error("no such blob"));
  await until(() => state() === "ended", "its end");
  assert.ok(!search.isAsking);
});

test("nothing is asked while nothing is lost; it ends while it waits", async () => {
  const { asks, end } = searchOf();
  await end();
  assert.equal(asks.length, 0);
});
