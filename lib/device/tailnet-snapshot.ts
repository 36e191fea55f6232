/**
 * What a member of a tailnet stores before it sleeps, so that it can send as soon as it wakes: its netmap with the peers
 * it talks with, their last paths, its home relay, and the disco key under which peers know this process, which goes on.
 *
 * A line of JSON, then the netmap as `snapshotOf` writes it. It holds a secret, as the store does anyway.
 */
import { type Endpoint, formatEndpoint, parseEndpoint } from '../base/address.ts';
import { concatBytes, equalBytes, fromBase64, toBase64, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { SecretKey } from '../crypto/keys.ts';

/** Peers in a snapshot, those in use first. */
export const SNAPSHOT_PEERS = 16;

const NEWLINE = 10;

/** A snapshot. */
export interface TailnetSnapshot {
  /** Whose it is: `authority` and path of the coordinator, and the public node key. */
  readonly control: string;
  readonly nodeKey: Uint8Array;
  /** When the coordinator was heard last, ms since 1970. */
  readonly heardUnixMs: number;
  /** Home relay; 0: none. */
  readonly homeRegion: number;
  /** UDP port, which peers remember; 0: unknown. */
  readonly port: number;
  readonly discoKey: SecretKey;
  /** Last direct paths of peers, by their ids in the netmap. */
  readonly paths: ReadonlyMap<number, Endpoint>;
  /** The netmap. */
  readonly map: Uint8Array;
}

/** Writes a snapshot. */
export function writeTailnetSnapshot(snapshot: TailnetSnapshot): Uint8Array {
  const { control, nodeKey, heardUnixMs, homeRegion, port, discoKey, paths, map } = snapshot;
  const head = {
    v: 1,
    control,
    key: toBase64(nodeKey),
    heard: heardUnixMs,
    home: homeRegion,
    port,
    disco: discoKey.toBase64(),
    paths: Object.fromEntries([...paths].map(([id, endpoint]) => [id, formatEndpoint(endpoint)])),
  };
  return concatBytes(utf8Encode(`${JSON.stringify(head)}\n`), map);
}

/**
 * Reads a snapshot of the member with this coordinator and public node key. Undefined for that of another one, of
 * another version, and for anything else: the member then asks the coordinator first.
 */
export function readTailnetSnapshot(
  bytes: Uint8Array,
  control: string,
  nodeKey: Uint8Array,
): TailnetSnapshot | undefined {
  const end = bytes.indexOf(NEWLINE);
  const head = end < 0 ? undefined : parseHead(utf8Decode(bytes.subarray(0, end)));
  if (head?.['v'] !== 1 || head['control'] !== control) return undefined; // CHECK: snapshot-control
  const key = fromBase64(String(head['key']));
  if (key === undefined || !equalBytes(key, nodeKey)) return undefined; // CHECK: snapshot-key
  const disco = fromBase64(String(head['disco']));
  const { heard, home, port } = head as { heard: unknown; home: unknown; port: unknown };
  if (disco?.length !== 32 || !isCount(heard) || !isCount(home)) return undefined;
  if (!isCount(port) || port > 65_535) return undefined;
  const paths = new Map<number, Endpoint>();
  for (const [id, text] of Object.entries(head['paths'] ?? {})) {
    const endpoint = parseEndpoint(String(text));
    if (endpoint !== undefined) paths.set(Number(id), endpoint);
  }
  const discoKey = SecretKey.fromBytes(disco);
  const rest = { control, nodeKey, discoKey, paths, map: bytes.slice(end + 1) };
  return { ...rest, heardUnixMs: heard, homeRegion: home, port };
}

function parseHead(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
