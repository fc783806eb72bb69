import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readPlainRequest } from "./plain-request.ts";

const names = new Set(["range", "eagle-peer"]);
const read = (text: string) => readPlainRequest(Buffer.from(text, "latin1"), names);

describe("plain requests", () => {
  it("are read whole", () => {
    const request = read("POST /a/b?c HTTP/1.1\r\nHost: h:1\r\nEagle-Peer: x;1\r\nContent-Length: 3\r\n\r\nabc");
    assert.ok(request);
    assert.equal(request.method, "POST");
    assert.equal(request.target, "/a/b?c");
    assert.deepEqual(
      [...request.headers],
      [
        ["host", "h:1"],
        ["eagle-peer", "x;1"],
        ["content-length", "3"],
      ],
    );
    assert.equal(Buffer.from(request.body).toString(), "abc");
    assert.ok(read("GET / HTTP/1.1\r\nhost: h\r\nConnection: Keep-Alive\r\n\r\n"));
    assert.equal(read("GET / HTTP/1.1\r\nhost: h\r\nRange: bytes=0-1\r\n\r\n")?.headers.get("range"), "bytes=0-1");
  });

  const host = "Host: h\r\n";
  const others: Record<string, string> = {
    nothing: "",
    "half a head": `GET / HTTP/1.1\r\n${host}`,
    "another method": `HEAD / HTTP/1.1\r\n${host}\r\n`,
    "a method in lower case": `get / HTTP/1.1\r\n${host}\r\n`,
    "HTTP/1.0": `GET / HTTP/1.0\r\n${host}\r\n`,
    "no version": `GET /\r\n${host}\r\n`,
    "absolute form": `GET http://h/ HTTP/1.1\r\n${host}\r\n`,
    "two blanks in the request line": `GET /  HTTP/1.1\r\n${host}\r\n`,
    "a target with a blank": `GET /a b HTTP/1.1\r\n${host}\r\n`,
    "a target beyond ASCII": `GET /\xe9 HTTP/1.1\r\n${host}\r\n`,
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "an empty Host": "GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "two Hosts": `GET / HTTP/1.1\r\n${host}${host}\r\n`,
    "a header that is not in the set": `GET / HTTP/1.1\r\n${host}Accept: */*\r\n\r\n`,
    "a transfer encoding": `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "Expect: 100-continue": `POST / HTTP/1.1\r\n${host}Expect: 100-continue\r\n\r\n`,
    "Connection: close": `GET / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
    "a blank before the colon": `GET / HTTP/1.1\r\n${host}Range : bytes=0-1\r\n\r\n`,
    "no blank behind the colon": `GET / HTTP/1.1\r\n${host}Range:bytes=0-1\r\n\r\n`,
    "a folded header": `GET / HTTP/1.1\r\n${host}Range: bytes=0-1\r\n more\r\n\r\n`,
    "a bare line feed": `GET / HTTP/1.1\r\n${host}Range: a\nb: c\r\n\r\n`,
    "a bare carriage return": `GET / HTTP/1.1\r\n${host}Range: a\rb\r\n\r\n`,
    "a NUL": `GET / HTTP/1.1\r\n${host}Range: a\0b\r\n\r\n`,
    "a body that is not whole": `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nab`,
    "more than the body": `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabcd`,
    "a body without a length": `POST / HTTP/1.1\r\n${host}\r\nabc`,
    "a length with a sign": `POST / HTTP/1.1\r\n${host}Content-Length: +3\r\n\r\nabc`,
    "a length with a zero in front": `POST / HTTP/1.1\r\n${host}Content-Length: 03\r\n\r\nabc`,
    "a GET with a body": `GET / HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\na`,
    "two requests": `GET / HTTP/1.1\r\n${host}\r\nGET / HTTP/1.1\r\n${host}\r\n`,
    "a long head": `GET /${"a".repeat(5000)} HTTP/1.1\r\n${host}\r\n`,
  };
  for (const [what, text] of Object.entries(others)) {
    it(`are not: ${what}`, () => assert.equal(read(text), undefined));
  }

  it("are the same in any mutation that is still one", () => {
    const whole = "POST /p HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nContent-Length: 2\r\n\r\nab";
    for (let at = 0; at < whole.length; at++) {
      for (const with_ of ["", "\r", "\n", " ", ":", "\0", "x", "\r\n"]) {
        const text = whole.slice(0, at) + with_ + whole.slice(at + 1);
        const request = read(text);
        if (!request) continue;
        const { method, target, headers, body } = request;
        const names = text.slice(0, text.indexOf("\r\n\r\n")).split("\r\n").slice(1);
        assert.equal(`${method} ${target} HTTP/1.1`, text.slice(0, text.indexOf("\r\n")));
        assert.deepEqual(
          [...headers],
          names.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
        );
        assert.equal(body.length, Number(headers.get("content-length") ?? 0));
      }
    }
  });
});
