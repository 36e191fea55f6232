/**
 * What a device says of itself, cleaned: it goes to other devices, to administrators and into the store, so nothing
 * passes that is not of the expected form and size. What is malformed is dropped alone.
 */
import { formatEndpoint, parseAddress, parseEndpoint } from '../base/address.ts';
import { fromBase64 } from '../base/bytes.ts';
import type { CoordinatorLimits } from './limits.ts';
import type { DeviceRecord } from './model.ts';
import { type Fields, fieldsOf } from './request-json.ts';
import { readRoutes } from './route-form.ts';

/** What remains of a Hostinfo. Absent: nothing was said, what is known stays. */
export interface HostFacts {
  readonly hostname?: string;
  readonly os?: string;
  readonly version?: string;
  readonly services?: DeviceRecord['services'];
  readonly homeRegion?: number;
  /** Routes that the device offers, in the form in which they are kept. */
  readonly advertisedRoutes?: readonly string[];
  /** Tags that the device asks for, as they came. */
  readonly requestTags: readonly string[];
}

/** Control characters, and those that turn the direction of text or have no width. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffd]/;
/** Names of services that others need. */
const SERVICES = Object.freeze(['peerapi4', 'peerapi6']);
const MAX_PORT = 65_535;
const MAX_REGION = 65_535;
const MAX_CAPABILITY = 65_535;

/** Text without invisible characters and unpaired surrogates, without blanks around it, at most `units` long. */
export function cleanText(text: string, units: number): string {
  let out = '';
  for (const character of text.slice(0, 4 * units).trimStart()) {
    const code = character.codePointAt(0)!;
    const isShown = (code < 0xd800 || code > 0xdfff) && !INVISIBLE.test(character);
    if (!isShown || (out === '' && character === ' ')) continue;
    if (out.length + character.length > units) break;
    out += character;
  }
  return out.trimEnd();
}

/** Reads a Hostinfo; of none (absent, null) nothing is known. */
export function readHostinfo(fields: Fields | undefined, limits: CoordinatorLimits): HostFacts {
  if (fields === undefined) return { requestTags: [] };
  const region = fields.object('NetInfo')?.count('PreferredDERP') ?? 0;
  const services = fields.array('Services');
  const hostname = cleanText(fields.text('Hostname'), limits.hostnameUnits);
  const os = cleanText(fields.text('OS'), limits.textUnits);
  const version = cleanText(fields.text('IPNVersion'), limits.textUnits);
  return {
    ...(hostname !== '' && { hostname }),
    ...(os !== '' && { os }),
    ...(version !== '' && { version }),
    ...(services !== undefined && { services: readServices(services, limits.services) }),
    // 0 is "not known yet", and others could not be told so in a patch: the last one stays.
    ...(region > 0 && region <= MAX_REGION && { homeRegion: region }),
    // Clients leave an empty list out, and say everything each time.
    advertisedRoutes: readRoutes(fields.array('RoutableIPs') ?? [], limits.routes),
    requestTags: (fields.array('RequestTags') ?? []).filter(tag => typeof tag === 'string').slice(0, limits.tags + 1),
  };
}

function readServices(values: readonly unknown[], most: number): DeviceRecord['services'] {
  const out: { Proto: string; Port: number }[] = [];
  for (const value of values) {
    const fields = fieldsOf(value);
    const [Proto, Port] = [fields?.text('Proto') ?? '', fields?.count('Port') ?? 0];
    const isKnown = SERVICES.includes(Proto) && Port > 0 && Port <= MAX_PORT;
    if (isKnown && out.length < most && !out.some(other => other.Proto === Proto)) out.push({ Proto, Port });
  }
  return out;
}

/** The endpoints that can be tried: no zone, no unspecified, link-local or multicast address; each once, the first so many. */
export function readEndpoints(values: readonly unknown[], limits: CoordinatorLimits): readonly string[] {
  const out = new Set<string>();
  for (const value of values) {
    if (out.size >= limits.endpoints) break;
    const endpoint = typeof value === 'string' && value.length < 64 ? parseEndpoint(value) : undefined;
    const bytes = endpoint === undefined ? undefined : parseAddress(endpoint.address);
    if (bytes !== undefined && isUsable(bytes)) out.add(formatEndpoint(endpoint!));
  }
  return [...out];
}

function isUsable(bytes: Uint8Array): boolean {
  if (bytes.every(byte => byte === 0)) return false;
  if (bytes.length === 4) return bytes[0]! < 224 && bytes[0] !== 0 && !(bytes[0] === 169 && bytes[1] === 254);
  return bytes[0] !== 0xff && !(bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80);
}

/** The capability version that a request announces, or the connection did; 0 for none that can be. */
export function readCapability(fields: Fields, announced = 0): number {
  const version = fields.count('Version') || announced;
  return version <= MAX_CAPABILITY ? version : 0;
}

/** A tailnet-lock signature as it came, when it is base64 of an acceptable size; otherwise empty. */
export function readSignature(text: string, limits: CoordinatorLimits): string {
  return text.length <= limits.signatureUnits && fromBase64(text) !== undefined ? text : '';
}
