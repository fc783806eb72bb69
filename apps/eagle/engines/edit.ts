/**
 * Edits of configuration files that belong to somebody else: planned as texts, shown or applied, undone later.
 * @module
 */
import { chmod, chown, lstat, mkdir, realpath, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { readTextFile } from "../../../lib/config/text-file.ts";

/** Longest file that is edited, bytes. */
const LIMIT = 1024 * 1024;
/** Behind the name of a file: what it was before the first edit. */
const BACKUP = ".eagle-backup";

/** One file's text before and after; undefined: no such file. */
export interface FileEdit {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** A file that cannot be edited by a program. The message says what to do by hand. */
export class EditError extends Error {
  override readonly name = "EditError";
  readonly code = "by_hand";
}

/** A file's text, undefined where there is none. @throws ConfigError when it cannot be read, is too large or no text */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    await lstat(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
  return readTextFile(path, { limit: LIMIT }).content;
}

/** The text a file had before the first edit, when it is still kept. */
export function backupOf(path: string): Promise<string | undefined> {
  return textOf(path + BACKUP);
}

/** Whether an edit changes anything. */
export function changes({ before, after }: FileEdit): boolean {
  return before !== after;
}

/**
 * The edit that takes Eagle out of a file: exactly what it was, unless somebody else has changed it meanwhile; then only
 * Eagle's own lines go.
 * @param init.without The file's text without what Eagle put in; undefined when nothing of worth remains.
 * @param init.same Whether two texts mean the same. @default the same but for space at both ends
 */
export async function undoing(
  path: string,
  {
    before,
    without,
    same = (a, b) => a.trim() === b.trim(),
  }: { before: string; without: string | undefined; same?: (a: string, b: string) => boolean },
): Promise<FileEdit> {
  const original = await backupOf(path);
  if (original === undefined) return { path, before, after: without };
  return { path, before, after: same(without ?? "", original) ? original : (without ?? "") };
}

/**
 * Writes the files, each in one step, mode and owner kept. What a file was stays beside it as `.eagle-backup`; with
 * `undo` that goes, and so do directories that are empty then.
 * @throws the error of the file system
 */
export async function apply(edits: readonly FileEdit[], { undo = false }: { undo?: boolean } = {}): Promise<void> {
  for (const edit of edits.filter(changes)) {
    const { path, before, after } = edit;
    // A link stays a link: what it leads to is what is written.
    const target = before === undefined ? path : await realpath(path);
    if (!undo && before !== undefined) {
      await writeFile(path + BACKUP, before, { flag: "wx", mode: (await stat(target)).mode }).catch((error) => {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      });
    }
    if (after === undefined) {
      await rm(path);
      await rmdir(dirname(path)).catch(() => {});
    } else await replace(target, after);
    if (undo) await rm(path + BACKUP, { force: true });
  }
}

async function replace(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const old = await stat(path).catch(() => undefined);
  const temporary = `${path}.eagle-new`;
  await writeFile(temporary, text, { mode: old?.mode ?? 0o644 });
  try {
    if (old) {
      await chmod(temporary, old.mode);
      await chown(temporary, old.uid, old.gid).catch(() => {});
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
