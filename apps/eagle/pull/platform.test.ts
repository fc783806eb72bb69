/**
 * @module Which image of an index fits.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Descriptor, Platform } from "./manifest.ts";
import { choosePlatform, machinePlatform, parsePlatform, platformText } from "./platform.ts";

const entry = (digest: string, platform?: Platform): Descriptor => ({
  mediaType: "m",
  digest,
  size: 1,
  ...(platform ? { platform } : {}),
});

test("the variant that is asked for, else the first of the architecture", () => {
  const entries = [
    entry("none"),
    entry("v6", parsePlatform("linux/arm/v6")),
    entry("v7", parsePlatform("linux/arm/v7")),
    entry("v8", parsePlatform("linux/arm64/v8")),
  ];
  assert.equal(choosePlatform(entries, parsePlatform("linux/arm/v7"))?.digest, "v7");
  assert.equal(choosePlatform(entries, parsePlatform("linux/arm"))?.digest, "v6");
  assert.equal(choosePlatform(entries, parsePlatform("linux/arm64"))?.digest, "v8");
  assert.equal(choosePlatform(entries, parsePlatform("windows/arm64")), undefined);
});

test("this machine's platform is always a Linux, under OCI's names", () => {
  assert.equal(platformText(machinePlatform("x64")), "linux/amd64");
  assert.equal(platformText(machinePlatform("arm64")), "linux/arm64");
  assert.equal(platformText(machinePlatform("arm")), "linux/arm/v7");
});

test("what is no platform is refused", () => {
  for (const text of ["", "linux", "linux/", "linux/arm/v7/x", "Linux/amd64"]) assert.throws(() => parsePlatform(text));
});
