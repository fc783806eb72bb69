/**
 * What an app counts, in Prometheus' text format. Each app has a registry of its own, so several apps in one process
 * (`eagle demo`, tests) do not add to each other's numbers; each series carries `app="…"`.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The apps that have metrics. */
export type AppName = "proxy" | "seeder" | "tracker";

/** The counters, gauges and histograms of one app, as prom-client objects. Nothing to close. */
export interface Metrics {
  /**
   * Bytes moved. `source`: peer, seeder, origin, cache, client (the engine) or wire (standard BitTorrent);
   * `direction`: in or out, seen from this app.
   */
  readonly bytes: Counter<"source" | "direction">;
  /** Requests answered, by how they ended. */
  readonly requests: Counter<"result">;
  /** Manifests answered by a proxy, by where the answer came from: cache, seeder, origin, stale, refused or direct. */
  readonly manifests: Counter<"source">;
  /** Blob requests that the cache answered. */
  readonly cacheHits: Counter;
  /** Blob requests that began a fetch. */
  readonly cacheMisses: Counter;
  /** Bytes of committed blobs. */
  readonly cacheBytes: Gauge;
  /** Number of committed blobs. */
  readonly cacheBlobs: Gauge;
  /** Blobs that left the cache, by why: limit, disk, unused, removed, missing. */
  readonly evictions: Counter<"reason">;
  /** Bytes that earlier attempts at blobs left and later ones took up again, once they were verified. */
  readonly resumedBytes: Counter;
  /** Bytes of half-arrived blobs that nobody fetches now. */
  readonly leftoverBytes: Gauge;
  /** Bytes of stored blobs that were read again to find damage. */
  readonly scrubbedBytes: Counter;
  /** Stored blobs that were found damaged, and removed. */
  readonly damagedBlobs: Counter;
  /** Blobs that are arriving now. */
  readonly activeDownloads: Gauge;
  /** Announces sent (proxy, seeder) or answered (tracker), by result. */
  readonly announces: Counter<"result">;
  /** Reads of a blob at its origin, by result. */
  readonly originReads: Counter<"result">;
  /** Pieces that failed their hash, by the kind of source. */
  readonly badPieces: Counter<"kind">;
  /**
   * Waits that reached their bound: `first_byte` and `stall` (nothing of a blob, or nothing more, came from others, so its
   * registry is read), `dial`, `header`, `idle` (of single requests).
   */
  readonly timeouts: Counter<"bound">;
  /** Seconds from a blob request to the first byte of its body. */
  readonly timeToFirstByte: Histogram;
  /** The page for `GET /metrics`. */
  render(): Promise<{ contentType: string; body: string }>;
}

/**
 * Makes the metrics of one app, with the process gauges (resident memory, CPU seconds, uptime) under the names that
 * Prometheus dashboards expect.
 */
export function createMetrics(app: AppName): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ app });
  const registers = [registry];
  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name: `eagle_${name}`, help, labelNames, registers });
  const gauge = (name: string, help: string) => new Gauge({ name: `eagle_${name}`, help, registers });
  addProcessGauges(registry);

  return {
    bytes: counter("bytes_total", "Bytes moved, by source and direction.", ["source", "direction"]),
    requests: counter("requests_total", "Requests answered, by result.", ["result"]),
    manifests: counter("manifests_total", "Manifests answered, by where they came from.", ["source"]),
    cacheHits: counter("cache_hits_total", "Blob requests answered from the cache."),
    cacheMisses: counter("cache_misses_total", "Blob requests that began a fetch."),
    cacheBytes: gauge("cache_bytes", "Bytes of committed blobs, and of files that the disk refuses to remove."),
    cacheBlobs: gauge("cache_blobs", "Number of committed blobs."),
    evictions: counter("evictions_total", "Blobs that left the cache, by reason.", ["reason"]),
    resumedBytes: counter("resumed_bytes_total", "Bytes of earlier attempts that were taken up again."),
    leftoverBytes: gauge("leftover_bytes", "Bytes of half-arrived blobs that nobody fetches now."),
    scrubbedBytes: counter("scrubbed_bytes_total", "Bytes of stored blobs read again to find damage."),
    damagedBlobs: counter("damaged_blobs_total", "Stored blobs found damaged and removed."),
    activeDownloads: gauge("active_downloads", "Blobs arriving now."),
    announces: counter("announces_total", "Announces, by result.", ["result"]),
    originReads: counter("origin_reads_total", "Reads of a blob at its origin, by result.", ["result"]),
    badPieces: counter("bad_pieces_total", "Pieces that failed their hash, by kind of source.", ["kind"]),
    timeouts: counter("timeouts_total", "Waits that reached their bound.", ["bound"]),
    timeToFirstByte: new Histogram({
      name: "eagle_time_to_first_byte_seconds",
      help: "Seconds from a blob request to the first byte of its body.",
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}

function addProcessGauges(registry: Registry): void {
  const registers = [registry];
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory of the process, bytes.",
    registers,
    collect() {
      this.set(process.memoryUsage().rss);
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "CPU time of the process, user and system, seconds.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    name: "process_uptime_seconds",
    help: "Seconds since the process started.",
    registers,
    collect() {
      this.set(process.uptime());
    },
  });
}
