/**
 * @module What one test uses and must give back: a temporary directory, child processes, servers.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { unmountBelow } from "./mounts.ts";
import { Processes } from "./processes.ts";

/** Something that a rig closes at its end. */
export interface Closable {
  close(): Promise<unknown>;
}

/** The belongings of one test. Closing it closes them, the latest first, then kills children and removes the directory. */
export class Rig implements AsyncDisposable {
  /** A directory of its own. */
  readonly dir: string;
  readonly processes = new Processes();
  readonly #things: Closable[] = [];

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Makes the directory. Who calls it closes the rig. */
  static async create(): Promise<Rig> {
    return new Rig(await mkdtemp(join(tmpdir(), "eagle-e2e-")));
  }

  /** A rig that is closed when the test ends. */
  static async for(context: Pick<TestContext, "after">): Promise<Rig> {
    const rig = await Rig.create();
    context.after(() => rig.close(), { timeout: 60_000 });
    return rig;
  }

  /** Hands a thing to the rig, which closes it. */
  use<T extends Closable>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  /** A path in the rig's directory. */
  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const thing of this.#things.splice(0).reverse()) {
      await thing.close().catch((error) => failures.push(error));
    }
    await unmountBelow(this.dir, this.processes).catch((error) => failures.push(error));
    await this.processes.close();
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    if (failures.length > 0) throw new AggregateError(failures, "closing the rig failed");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
