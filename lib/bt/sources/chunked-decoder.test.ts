/** @module Tests of the chunked coding: any split, any rubbish. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { prng } from "../testing/blobs.ts";
import { ChunkedDecoder } from "./chunked-decoder.ts";
import { ResponseParseError } from "./response-parser.ts";

interface Decoded {
  readonly data: string;
  readonly complete: boolean;
  /** What came behind the body. */
  readonly rest: string;
}

/** @param cuts Where the text is cut, ascending. */
function decode(text: string, cuts: readonly number[] = []): Decoded {
  const decoder = new ChunkedDecoder();
  // Its own place in a larger buffer, as on a connection.
  const bytes = Buffer.from(`##${text}##`, "latin1");
  let data = "";
  const sink = {
    onBytes: (from: Buffer, start: number, end: number) => {
      assert.ok(end > start);
      data += from.toString("latin1", start, end);
    },
  };
  let at = 2;
  for (const cut of [...cuts, text.length]) {
    const consumed = decoder.take(bytes, at, cut + 2, sink);
    assert.ok(consumed >= at && consumed <= cut + 2);
    if (decoder.complete) return { data, complete: true, rest: text.slice(consumed - 2) };
    assert.equal(consumed, cut + 2);
    at = consumed;
  }
  return { data, complete: false, rest: "" };
}

const body = '5\r\nhello\r\n1;a="b c"\r\n \r\n00A\r\nwide world\r\n0\r\nX-Trailer: 1\r\nY:\r\n\r\nnext';

test("data comes out as it was put in, and what follows is left alone", () => {
  assert.deepEqual(decode(body), { data: "hello wide world", complete: true, rest: "next" });
  assert.deepEqual(decode("0\r\n\r\n"), { data: "", complete: true, rest: "" });
  assert.deepEqual(decode(""), { data: "", complete: false, rest: "" });
});

test("what is there is told at once", () => {
  assert.deepEqual(decode("a\r\nhell"), { data: "hell", complete: false, rest: "" });
  assert.equal(decode("5\r\nhello").data, "hello");
});

test("it is the same however it is cut", () => {
  const whole = decode(body);
  for (let cut = 0; cut < body.length; cut++) assert.deepEqual(decode(body, [cut]).data, whole.data);
  assert.deepEqual(
    decode(
      body,
      Array.from(body, (_, index) => index),
    ),
    whole,
  );
  const random = prng(61);
  for (let round = 0; round < 300; round++) {
    let text = "";
    let data = "";
    for (let chunks = random() * 6; chunks > 0; chunks--) {
      const chunk = String.fromCharCode(
        ...Array.from({ length: 1 + random() * 300 }, () => Math.floor(random() * 256)),
      );
      data += chunk;
      text += `${chunk.length.toString(16)}${random() < 0.2 ? ";ext" : ""}\r\n${chunk}\r\n`;
    }
    text += "0\r\n\r\nrest";
    const cuts: number[] = [];
    for (let at = 0; at < text.length; at += 1 + Math.floor(random() * 40)) cuts.push(at);
    const decoded = decode(text, cuts);
    assert.deepEqual([decoded.data, decoded.complete], [data, true]);
  }
});

test("anything else is refused", () => {
  for (const text of [
    "\r\n",
    "\n",
    "x\r\n",
    "-1\r\n",
    "0x5\r\nhello\r\n",
    " 5\r\nhello\r\n",
    "5 \r\nhello\r\n",
    "5\nhello\r\n",
    "5\rhello\r\n",
    ";a\r\n",
    "5;a\nhello\r\n",
    "5;a\rb\r\nhello\r\n",
    "5\r\nhello!\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "0\r\nX: 1\n\r\n",
    "0\r\nX: 1\rY: 2\r\n",
    "0\r\n\rx",
    "000000001\r\nx\r\n",
    "100000000\r\nx",
    `1;${"x".repeat(257)}`,
    `0\r\n${"x".repeat(4097)}`,
    `0\r\n${"X:\r\n".repeat(2100)}`,
  ]) {
    assert.throws(() => decode(text), ResponseParseError, JSON.stringify(text));
  }
});

test("the bounds themselves are allowed, for each chunk anew", () => {
  const chunk = `1;${"x".repeat(255)}\r\na\r\n`;
  assert.equal(decode(`${chunk.repeat(100)}0\r\n\r\n`).data, "a".repeat(100));
  assert.equal(decode("ffffffff\r\nabc").data, "abc");
  assert.ok(decode(`0\r\n${"x".repeat(4096)}\r\n\r\n`).complete);
});

test("rubbish gives data or ResponseParseError, nothing else, and the same however it is cut", () => {
  const random = prng(62);
  const outcome = (text: string, cuts: readonly number[]) => {
    try {
      return decode(text, cuts);
    } catch (error) {
      assert.ok(error instanceof ResponseParseError, String(error));
      return "refused";
    }
  };
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(body, "latin1");
    for (let flips = random() * 4; flips > 0; flips--) {
      bytes[Math.floor(random() * bytes.length)] = random() < 0.5 ? random() * 256 : 48 + random() * 10;
    }
    const text = bytes.toString("latin1");
    const cuts: number[] = [];
    for (let at = 0; at < text.length; at += 1 + Math.floor(random() * 9)) cuts.push(at);
    const [whole, cut] = [outcome(text, []), outcome(text, cuts)];
    assert.deepEqual(cut, whole);
  }
});
