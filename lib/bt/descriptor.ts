/**
 * An open file whose reads and writes cost one promise each: those of a `FileHandle` go through several, which a host
 * that moves hundreds of pieces a second pays for each of them.
 * @module
 */
import { read, readSync, write } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** The part of `fs.read` and `fs.write` that is used here. */
type Transfer = (
  fd: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number,
  done: (error: Error | null, count: number) => void,
) => void;

/**
 * See the module. Positions and lengths in bytes. The number of a closed file may be another file's by then, so closing
 * waits for what is under way, and nothing begins afterwards.
 */
export class Descriptor {
  readonly #handle: FileHandle;
  readonly #path: string;
  /** Transfers under way. */
  #busy = 0;
  #idle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  private constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  /** The caller closes it. @throws the system's error */
  static async open(path: string, flags: "r" | "w+" | "r+"): Promise<Descriptor> {
    return new Descriptor(await open(path, flags), path);
  }

  /** Whether it is closed, or being closed. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Fills `target`. @throws the system's error; also when the file ends before. */
  read(target: Uint8Array, position: number): Promise<void> {
    return this.#transfer(read, target, position);
  }

  /** The same at once, for bytes that are in memory. */
  readNow(target: Uint8Array, position: number): void {
    if (this.closed) throw this.#refusal();
    for (let done = 0; done < target.length; ) {
      const count = readSync(this.#handle.fd, target, done, target.length - done, position + done);
      if (count === 0) throw this.#ending(position + done);
      done += count;
    }
  }

  /** Writes all of `bytes`. @throws the system's error */
  write(bytes: Uint8Array, position: number): Promise<void> {
    return this.#transfer(write, bytes, position);
  }

  /** Makes what was written durable. @throws the system's error */
  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  /** Resolves when what was under way has ended and the file is closed. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#busy > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#handle.close();
  }

  /** However many calls the system takes for it. */
  #transfer(call: Transfer, bytes: Uint8Array, position: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.closed) throw this.#refusal();
      const { fd } = this.#handle;
      const { length } = bytes;
      let done = 0;
      const onDone = (error: Error | null, count: number) => {
        if (!error && count > 0 && done + count < length) {
          done += count;
          call(fd, bytes, done, length - done, position + done, onDone);
          return;
        }
        this.#busy -= 1;
        if (this.#busy === 0) this.#idle?.();
        if (error) reject(error);
        else if (count === 0 && length > 0) reject(this.#ending(position + done));
        else resolve();
      };
      call(fd, bytes, 0, length, position, onDone);
      this.#busy += 1;
    });
  }

  /** With the system's code: it says nothing about the file. */
  #refusal(): Error {
    return Object.assign(new Error(`EBADF: ${this.#path} is closed`), { code: "EBADF" });
  }

  #ending(position: number): Error {
    return new Error(`${this.#path} ends at ${position}, before what is asked for`);
  }
}
