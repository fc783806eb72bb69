import { connect } from "node:net";
import { HttpClient } from "../../http/client.ts";
import { createLogger } from "../../log/log.ts";
import { createMetrics } from "../../metrics/metrics.ts";
import { RateLimiter } from "../limiter.ts";
import { infoHash } from "../metainfo.ts";
import { arriving, tempDir, testBlob } from "../testing/blobs.ts";
import { Wire } from "./wire.ts";

const t = testBlob(3_000_000, { pieceLength: 512 * 1024 });
await using dir = await tempDir();
const blob = await arriving(t, dir.path);
blob.isPublic = true;
for (let i = 0; i < t.layout.count; i++) await blob.store(i, t.piece(i), "origin");
const wire = new Wire({
  peerId: Buffer.from("-EG0100-aaaaaaaaaaaa"),
  trackers: [],
  http: new HttpClient(),
  limiter: new RateLimiter(0),
  peek: async () => ({ blob, source: "cache", release() {}, [Symbol.dispose]() {} }),
  log: createLogger({ level: "debug" }),
  metrics: createMetrics("proxy"),
});
await wire.listen({ host: "127.0.0.1", port: 0 });
wire.offer(t.digest.toString(), t.metainfo);
const s = connect(wire.port, "127.0.0.1");
s.on("data", (d) =>
  console.log(
    "data",
    d.length,
    d
      .subarray(0, 70)
      .toString("latin1")
      .replace(/[^ -~]/g, "."),
  ),
);
s.on("close", () => console.log("close"));
s.on("error", (e) => console.log("err", e));
s.write(
  Buffer.concat([
    Buffer.from("\x13BitTorrent protocol", "latin1"),
    Buffer.from([0, 0, 0, 0, 0, 0, 0, 4]),
    infoHash(t.metainfo),
    Buffer.from("-XX0100-aaaaaaaaaaaa"),
  ]),
);
setTimeout(async () => {
  s.destroy();
  await wire[Symbol.asyncDispose]();
  process.exit();
}, 3000);
