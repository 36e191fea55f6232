/**
 * `Store` over what a Moddable host keeps: Preference (NVS on an ESP32, a file on Linux), or ECMA-419 key-value storage.
 *
 * Preference on an ESP32 erases a key before it writes it: power that fails in between would lose the identity of the
 * device. Each value is therefore kept in two places that take turns, with a number that says which is newer. Key-value
 * storage writes NVS directly, which replaces a value whole by itself.
 */
import { NetError } from '../../lib/base/errors.ts';
import type { Store } from '../../lib/ports.ts';
import type { KeyValueIo, PreferenceIo } from './io.ts';

/** What NVS takes in one page, and what all stores of motenet keep to. */
const MAX_VALUE_BYTES = 1900;
/** A domain of NVS has at most 15 characters; one is added. */
const MAX_DOMAIN_CHARACTERS = 14;

/** One copy of a value: a number that counts up (and wraps), then the bytes. */
interface Copy {
  readonly place: string;
  readonly turn: number;
  readonly bytes: Uint8Array;
}

/**
 * A store in two domains of Preference, `<domain>a` and `<domain>b`. A copy that cannot be read is not there; the other
 * one counts then. Throws RangeError for a domain of other than 1 to 14 of `[a-z0-9-]`.
 */
export function preferenceStore(preference: PreferenceIo, domain = 'motenet'): Store {
  if (!/^[a-z0-9-]+$/.test(domain) || domain.length > MAX_DOMAIN_CHARACTERS)
    throw new RangeError(`"domain" expected 1 to ${MAX_DOMAIN_CHARACTERS} characters of a-z, 0-9 and -`);
  const places = [`${domain}a`, `${domain}b`] as const;
  const copies = (name: string) => places.flatMap(place => readCopy(preference, place, name) ?? []);
  const newest = (name: string) => copies(name).reduce<Copy | undefined>(newer, undefined);
  return Object.freeze({
    load: (name: string) => {
      checkName(name);
      return attempt(`cannot read "${name}"`, () => newest(name)?.bytes);
    },
    save: (name: string, value: Uint8Array) => {
      checkName(name);
      checkValue(value);
      attempt(`cannot save "${name}"`, () => {
        const now = newest(name);
        const place = now?.place === places[0] ? places[1] : places[0];
        preference.set(place, name, Uint8Array.of(((now?.turn ?? 0) + 1) & 255, ...value).buffer);
      });
    },
    remove: (name: string) => {
      checkName(name);
      attempt(`cannot remove "${name}"`, () => {
        // The older one first: what is left when power fails is the value as it was, never the one before.
        const now = newest(name);
        for (const place of places) if (place !== now?.place) preference.delete(place, name);
        if (now !== undefined) preference.delete(now.place, name);
      });
    },
  });
}

function newer(a: Copy | undefined, b: Copy): Copy {
  return a === undefined || ((b.turn - a.turn) & 255) < 128 ? b : a;
}

function readCopy(preference: PreferenceIo, place: string, name: string): Copy | undefined {
  const value = preference.get(place, name);
  if (!(value instanceof ArrayBuffer) || value.byteLength === 0) return undefined;
  const all = new Uint8Array(value);
  return { place, turn: all[0]!, bytes: all.slice(1) };
}

/** A store over ECMA-419 key-value storage: `open({ path: 'motenet', format: 'buffer' })`. */
export function keyValueStore(storage: KeyValueIo): Store {
  return Object.freeze({
    load: (name: string) => {
      checkName(name);
      const value = attempt(`cannot read "${name}"`, () => storage.read(name));
      return value === undefined ? undefined : new Uint8Array(value.slice(0));
    },
    save: (name: string, value: Uint8Array) => {
      checkName(name);
      checkValue(value);
      attempt(`cannot save "${name}"`, () => storage.write(name, value.slice().buffer));
    },
    remove: (name: string) => {
      checkName(name);
      attempt(`cannot remove "${name}"`, () => storage.delete(name));
    },
  });
}

function checkName(name: string): void {
  if (/^[a-z0-9-]{1,15}$/.test(name)) return;
  throw new RangeError(`"name" expected 1 to 15 characters of a-z, 0-9 and -, got ${JSON.stringify(name)}`);
}

function checkValue(value: Uint8Array): void {
  if (value.length <= MAX_VALUE_BYTES) return;
  throw new RangeError(`"value" expected at most ${MAX_VALUE_BYTES} bytes, got ${value.length}`);
}

function attempt<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw new NetError('ERR_STORE', `${what}: ${cause instanceof Error ? cause.message : 'storage failed'}`, { cause });
  }
}
