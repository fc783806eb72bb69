/** @module Tests of the parser of peers' answers: any split, any rubbish. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { prng } from "../testing/blobs.ts";
import { HeadParser, type ResponseHead, ResponseParseError } from "./response-parser.ts";

const encode = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));

function parse(text: string): ResponseHead {
  const result = new HeadParser().push(encode(text));
  assert.ok(result, "the head is whole");
  return result.head;
}

const good = "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nEagle-Piece: 3\r\nX-Empty:\r\n\r\nhello";

test("a head is found however it is split, and the body is left alone", () => {
  const random = prng(41);
  for (let round = 0; round < 500; round++) {
    const bytes = encode(good);
    const parser = new HeadParser();
    let at = 0;
    for (;;) {
      const end = Math.min(bytes.length, at + 1 + Math.floor(random() * (round % 5 === 0 ? 1 : 40)));
      const result = parser.push(bytes.subarray(at, end));
      if (result) {
        assert.equal(at + result.consumed, bytes.length - 5);
        assert.equal(result.head.status, 206);
        assert.equal(result.head.length, 5);
        assert.equal(result.head.keepAlive, true);
        assert.equal(result.head.headers.get("eagle-piece"), "3");
        assert.equal(result.head.headers.get("x-empty"), "");
        break;
      }
      at = end;
      assert.ok(at < bytes.length, "it was all there");
    }
  }
});

test("a head that is cut once, at any byte, is the same head; one parser takes one after the other", () => {
  const parser = new HeadParser();
  const bytes = encode(`before${good}`);
  for (let cut = 0; cut <= good.length - 5; cut++) {
    const first = parser.push(bytes, 6, 6 + cut);
    if (cut === good.length - 5) {
      assert.equal(first?.consumed, cut);
      continue;
    }
    assert.equal(first, undefined);
    const second = parser.push(bytes, 6 + cut);
    assert.equal(second?.consumed, good.length - 5 - cut);
    assert.deepEqual(second?.head, parse(good));
  }
});

test("what is kept of a cut head is a copy", () => {
  const parser = new HeadParser();
  const shared = Buffer.from(good, "latin1");
  assert.equal(parser.push(shared, 0, 30), undefined);
  shared.fill("x", 0, 30);
  assert.equal(parser.push(shared, 30)?.head.status, 206);
});

test("how large a head may be does not depend on how it is cut", () => {
  const end = "\r\nContent-Length: 0\r\n\r\n";
  const begin = "HTTP/1.1 200 OK\r\nX: ";
  for (const [size, fits] of [[16 * 1024, true] as const, [16 * 1024 + 1, false] as const]) {
    const bytes = encode(begin + "x".repeat(size - begin.length - end.length) + end);
    for (const step of [1, 3, 1000, size - 1, size]) {
      const parser = new HeadParser();
      const push = () => {
        for (let at = 0; at < size; at += step) {
          const result = parser.push(bytes, at, Math.min(size, at + step));
          if (result) return result.head.status;
        }
        return undefined;
      };
      if (fits) assert.equal(push(), 200);
      else assert.throws(push, ResponseParseError);
    }
  }
});

test("answers without a body need no length; others do", () => {
  assert.equal(parse("HTTP/1.1 204 No Content\r\n\r\n").length, 0);
  assert.equal(parse("HTTP/1.1 304 x\r\nContent-Length: 900\r\n\r\n").length, 0);
  assert.equal(parse("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").length, 0);
  assert.throws(() => parse("HTTP/1.1 200 OK\r\n\r\n"), ResponseParseError);
});

test("whether the connection stays is read from version and header", () => {
  assert.equal(parse("HTTP/1.1 204 x\r\nConnection: close\r\n\r\n").keepAlive, false);
  assert.equal(parse("HTTP/1.0 204 x\r\n\r\n").keepAlive, false);
  assert.equal(parse("HTTP/1.0 204 x\r\nConnection: Keep-Alive\r\n\r\n").keepAlive, true);
});

test("anything unusual is refused", () => {
  for (const text of [
    "SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/1.1 20 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 999 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 600 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 099 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200\tOK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 2 0 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 20\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.2 200 OK\r\nContent-Length: 1\r\n\r\n",
    " HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1  200 OK\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\n: 1\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX\u00e4: 1\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent Length: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\n folded: 1\r\nContent-Length: 1\r\n\r\n",
    "\r\n\r\n",
  ]) {
    assert.throws(() => parse(text), ResponseParseError, JSON.stringify(text));
  }
});

test("a head without end is refused soon", () => {
  for (const step of [1, 100, 70_000]) {
    const parser = new HeadParser();
    let fed = 0;
    assert.throws(() => {
      for (; fed < 200_000; fed += step) parser.push(encode("x".repeat(step)));
    }, ResponseParseError);
    assert.ok(fed <= 140_000);
  }
});

test("rubbish gives a head or ResponseParseError, nothing else", () => {
  const random = prng(42);
  for (let round = 0; round < 3000; round++) {
    const bytes = encode(good);
    for (let flips = 0; flips < random() * 6; flips++) bytes[Math.floor(random() * bytes.length)] = random() * 256;
    const parser = new HeadParser();
    try {
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + Math.floor(random() * 30);
        const result = parser.push(bytes.subarray(at, end));
        if (result) {
          assert.ok(result.consumed >= 0 && result.consumed <= end - at);
          assert.ok(Number.isSafeInteger(result.head.length) && result.head.length >= 0);
          break;
        }
        at = end;
      }
    } catch (error) {
      assert.ok(error instanceof ResponseParseError, String(error));
    }
  }
});
