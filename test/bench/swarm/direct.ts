/**
 * @module Every host fetches every blob from the origin, by curl into a file.
 */
import { mkdirSync } from "node:fs";
import type { HostName } from "../../rig/netns.ts";
import { type BlobFile, hexOf } from "../blob-files.ts";
import { type Arena, blobPath, type Contender, type Pull } from "./contender.ts";
import { armCurl } from "./gated-curl.ts";

/** Needs no setting up. */
export class Direct implements Contender {
  readonly seeders = [];
  endedCpu = 0;
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  receiver(): undefined {
    return undefined;
  }

  async arm(host: HostName): Promise<Pull> {
    const { rig, blobs, origin } = this.#arena;
    mkdirSync(rig.path(`direct-${host}`));
    const curls = await Promise.all(
      blobs.map((blob) =>
        armCurl(this.#arena, host, {
          url: `http://${origin}${blobPath(blob)}`,
          gate: rig.path(`gate-${host}-${hexOf(blob)}`),
          output: this.stored(host, blob),
        }),
      ),
    );
    return {
      go: () => {
        for (const curl of curls) curl.go();
      },
      done: Promise.all(curls.map(({ done }) => done)).then((figures) => {
        this.endedCpu += figures.reduce((sum, { cpu }) => sum + cpu, 0);
      }),
    };
  }

  stored(host: HostName, blob: BlobFile): string {
    return this.#arena.rig.path(`direct-${host}`, `${hexOf(blob)}.layer`);
  }
}
