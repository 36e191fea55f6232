/**
 * What the fields of administration commands may look like. Plain functions without imports of the server, so that the
 * command line checks its arguments with the same rules before it asks anybody.
 */

/** Longest life of an auth key in ms: 365 days. */
export const KEY_LIFE_LIMIT_MS = 31_536_000_000;
/** Longest life of a token or of node keys in ms: ten years. */
export const LIFE_LIMIT_MS = 315_360_000_000;
/** Shortest life of anything in ms: a shorter one is a mistake in the unit. */
export const LIFE_LEAST_MS = 1000;
/** Most tags that an auth key can give. */
export const TAGS_LIMIT = 16;
/** Longest description or display name, in characters. */
export const TEXT_LIMIT = 200;

/** A DNS label in lower case (RFC 1123 §2.1): names of tailnets and devices. */
export function isLabel(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);
}

/** `tag:` and a name of 1 to 63 lower-case letters, digits and `-`, which begins with a letter. */
export function isTag(text: string): boolean {
  return /^tag:[a-z][a-z0-9-]{0,62}$/.test(text);
}

/** Like `ann` or `ann@example.com`: 1 to 127 letters, digits and `._@+-`, a letter or digit in front. */
export function isLoginName(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}$/.test(text);
}

/** Id of an auth key or a token: 12 hex digits. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{12}$/.test(text);
}

/** Text for people on one line: no control, format or separator characters, at most {@link TEXT_LIMIT} long. */
export function isText(text: string): boolean {
  return text.length <= TEXT_LIMIT && !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text);
}

/** What names a device: its id, its name, an address of it or the id of a login that waits. 1 to 253 characters. */
export function isDeviceWord(text: string): boolean {
  return /^[A-Za-z0-9_.:-]{1,253}$/.test(text);
}
