/**
 * Turns value types into zod schemas of keys and sections that carry their own documentation.
 *
 * @module
 */
import { z } from "zod";
import { ConfigError } from "./errors.ts";
import type { ValueType } from "./value-types.ts";

/** What the reference and the error messages say about a key; kept as the schema's metadata. */
export interface KeyDoc {
  readonly description: string;
  readonly kind: string;
  readonly example: string;
  /** The default as a person would write it; absent when there is none. */
  readonly default?: string;
}

/** A key that has a default, given as a person would write it. */
export function key<T>(
  type: ValueType<T>,
  { fallback, about, example = type.example }: { fallback: unknown; about: string; example?: string },
) {
  const written = typeof fallback === "string" ? fallback : JSON.stringify(fallback);
  return schemaOf(type, example)
    .prefault(fallback)
    .meta({ description: about, kind: type.kind, example, default: written });
}

/** A key that may be left out. */
export function optionalKey<T>(
  type: ValueType<T>,
  { about, example = type.example }: { about: string; example?: string },
) {
  return schemaOf(type, example).optional().meta({ description: about, kind: type.kind, example });
}

/** A section: its keys and no others. Left out, it has its keys' defaults. */
export function section<S extends z.core.$ZodLooseShape>(shape: S) {
  return z.strictObject(shape);
}

function schemaOf<T>(type: ValueType<T>, example: string): z.ZodType<T, unknown> {
  return z.unknown().transform((value, context): T => {
    try {
      return type.parse(value);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      context.issues.push({
        code: "custom",
        input: value,
        message: `${error.message}. ${expected(type.kind, example)}`,
      });
      return z.NEVER;
    }
  });
}

function expected(kind: string, example: string): string {
  return `Expected: ${kind}; for example: ${example}`;
}

/** A key found in a schema. */
export interface FoundKey {
  readonly path: readonly string[];
  readonly doc: KeyDoc;
}

/** Every key of a schema, in the order of its definition. Keys of a record stand under `<host>`. */
export function keysOf(schema: z.core.$ZodType, path: readonly string[] = []): FoundKey[] {
  const doc = z.globalRegistry.get(schema);
  if (isKeyDoc(doc)) return [{ path, doc }];
  const bare = unwrap(schema);
  if (bare instanceof z.ZodRecord) return keysOf(bare.valueType, [...path, "<host>"]);
  if (!(bare instanceof z.ZodObject)) return [];
  return Object.entries(bare.shape).flatMap(([name, child]) => keysOf(child as z.core.$ZodType, [...path, name]));
}

function isKeyDoc(doc: unknown): doc is KeyDoc {
  return typeof doc === "object" && doc !== null && "kind" in doc && "example" in doc;
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let at = schema;
  while (at instanceof z.ZodPrefault || at instanceof z.ZodOptional || at instanceof z.ZodPipe) {
    at = at instanceof z.ZodPipe ? at.in : at.unwrap();
  }
  return at;
}
