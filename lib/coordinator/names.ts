/**
 * Names of devices: DNS labels (RFC 1035 §2.3.1, RFC 1123 §2.1) made of what devices call themselves, which may be any
 * text, and unique in a tailnet.
 */

/** Characters in a DNS label. */
export const MAX_LABEL_CHARS = 63;
/** What a device is called that has no name. */
export const NAMELESS = 'device';

/**
 * Names that programs look up on their own, with the tailnet's suffix behind: nobody is called that, or a device could
 * make itself the proxy of all others.
 */
const RESERVED = Object.freeze(['localhost', 'wpad', 'isatap', 'broadcasthost']);

const COMMON_SUFFIX = /\.(local|localdomain|lan|home|internal)\.?$/;

/** Whether a text is a DNS label in lower case. */
export function isLabel(text: string): boolean {
  return text.length <= MAX_LABEL_CHARS && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text);
}

/** Whether nobody may be called that. */
export function isReservedName(name: string): boolean {
  return RESERVED.includes(name);
}

/** The label that comes closest to what a device calls itself; {@link NAMELESS} when nothing is left of it. */
export function labelOf(hostname: string): string {
  const text = hostname.toLowerCase().replace(COMMON_SUFFIX, '');
  const label = text.replace(/[^a-z0-9]+/g, '-').slice(0, MAX_LABEL_CHARS + 1);
  return label.replace(/^-/, '').slice(0, MAX_LABEL_CHARS).replace(/-$/, '') || NAMELESS;
}

/**
 * A name for a device that is free or its own already: the label, or the label with `-1`, `-2`, … behind.
 *
 * The number is searched by doubling and halving: of a thousand devices with one name, the next costs twenty looks. Where
 * numbers have become free it may be any of them.
 */
export function freeName(names: ReadonlyMap<string, number>, label: string, own?: number): string {
  const isFree = (name: string) => !isReservedName(name) && (!names.has(name) || names.get(name) === own);
  if (isFree(label)) return label;
  let high = 1;
  while (!isFree(numbered(label, high))) high *= 2;
  let low = high >> 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (isFree(numbered(label, middle))) high = middle;
    else low = middle;
  }
  return numbered(label, high);
}

function numbered(label: string, number: number): string {
  const tail = `-${number}`;
  return label.slice(0, MAX_LABEL_CHARS - tail.length).replace(/-+$/, '') + tail;
}
