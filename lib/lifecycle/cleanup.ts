/**
 * What has to be closed, in the reverse order of its opening. Like AsyncDisposableStack, which Node 22 does not have.
 * @module
 */

/** See the module. */
export class Cleanup {
  readonly #tasks: (() => unknown)[] = [];

  /** Something to do at the end. */
  defer(task: () => unknown): void {
    this.#tasks.push(task);
  }

  /** @returns The resource, which is disposed of at the end. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    this.defer(() => (Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : resource[Symbol.dispose]()));
    return resource;
  }

  /** Closes all, the last first. @throws The first error, after everything was tried. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (let task = this.#tasks.pop(); task; task = this.#tasks.pop()) {
      try {
        await task();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/**
 * Builds something that outlives the call: what was opened is closed only when building fails. The result closes the
 * rest by `cleanup.close()`.
 */
export async function building<T>(build: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  try {
    return await build(cleanup);
  } catch (error) {
    await cleanup.close().catch(() => {});
    throw error;
  }
}

/** Runs something and closes what it opened, however it ends. */
export async function withCleanup<T>(run: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  try {
    return await run(cleanup);
  } finally {
    await cleanup.close();
  }
}
