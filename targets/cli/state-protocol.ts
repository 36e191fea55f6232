/**
 * What goes over the socket of a state folder. The client sends one line, a {@link MoteRequest} as JSON; the server
 * answers with one line, a {@link MoteAnswer}. After a good answer to `nc` the client's bytes follow as they are, with
 * the end of its half as theirs; the server's come in frames, so that an end and a break can be told apart.
 *
 * A frame is its length (u32, big-endian) and so many bytes. Length 0: the other side has ended. Length 2^32-1: the
 * connection broke; why follows as a line of JSON (`{code, message}`), and nothing after it.
 */
import type { NetcheckStatus } from '../../lib/netcheck/summary.ts';
import type { MoteStatus, Whois } from '../node/index.ts';
import type { ServiceInfo } from './tunnel.ts';

/** What is asked of a running mote. */
export type MoteRequest =
  | { readonly command: 'status' }
  | { readonly command: 'netcheck' }
  | { readonly command: 'whois'; readonly address: string }
  | { readonly command: 'ping'; readonly name: string; readonly timeoutMs: number }
  | { readonly command: 'ping-path'; readonly name: string; readonly timeoutMs: number }
  | { readonly command: 'nc'; readonly name: string; readonly port: number; readonly timeoutMs: number }
  | { readonly command: 'logout' };

/** An answer to `ping-path`, which goes beneath the tunnel. */
export interface PathAnswer {
  readonly address: string;
  readonly path: 'relay' | 'direct';
  /** Where it answered from directly. */
  readonly endpoint: string | null;
  /** The relay that it answered through, by its region's code. */
  readonly relay: string | null;
  readonly ms: number;
}

/** What a mote says of itself and of the process around it. */
export interface UpStatus {
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since 1970. */
  readonly startedUnixMs: number;
  /** URL of the coordinator. */
  readonly control: string;
  /** How far joining has come; `running` once the device is a member. */
  readonly state: string;
  /** Where to let the device in, while that is waited for. */
  readonly authUrl: string | null;
  /** What failed on the way to becoming a member, and nothing has gone well since. */
  readonly trouble: { readonly code: string; readonly message: string } | null;
  readonly services: readonly ServiceInfo[];
  /** Null until the device is a member. */
  readonly mote: MoteStatus | null;
}

/** What each request is answered with. */
export interface MoteResults {
  status: UpStatus;
  netcheck: NetcheckStatus;
  whois: Whois | null;
  ping: { readonly address: string; readonly ms: number };
  'ping-path': PathAnswer;
  nc: { readonly address: string };
  logout: { readonly isLoggedOut: true };
}

/** A result, or why there is none. */
export type MoteAnswer<C extends keyof MoteResults = keyof MoteResults> =
  | { readonly result: MoteResults[C] }
  | { readonly error: { readonly code: string; readonly message: string } };

/** Longest line of a client. */
export const REQUEST_LIMIT_BYTES = 4096;
/** Longest line of a server: the status of ten thousand peers. */
export const ANSWER_LIMIT_BYTES = 16 << 20;
/** Longest frame. */
export const FRAME_LIMIT_BYTES = 1 << 20;
/** Length that says that the connection broke. */
export const FRAME_BROKEN = 0xffff_ffff;

/** Header of a frame. */
export function frameHeader(length: number): Uint8Array {
  return Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length);
}

/** Collects bytes until a line is whole. */
export class LineReader {
  readonly #limit: number;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  /** A line may have `limit` bytes, its end not counted. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The line and what followed it; undefined: not whole yet. Throws RangeError for a line that is too long. */
  push(chunk: Uint8Array): { readonly line: string; readonly rest: Uint8Array } | undefined {
    const at = chunk.indexOf(10);
    const part = at < 0 ? chunk : chunk.subarray(0, at);
    this.#length += part.length;
    if (this.#length > this.#limit) throw new RangeError(`a line has more than ${this.#limit} bytes`); // CHECK: state-line-length
    this.#chunks.push(part);
    if (at < 0) return undefined;
    return { line: Buffer.concat(this.#chunks).toString('utf8'), rest: chunk.subarray(at + 1) };
  }
}

/** Reads a request. Undefined for whatever is none: its sender is not this program. */
export function parseRequest(line: string): MoteRequest | undefined {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { command, address, name, port, timeoutMs } = value;
  const isTime = typeof timeoutMs === 'number' && timeoutMs >= 0 && timeoutMs <= 3_600_000;
  if (command === 'status' || command === 'netcheck' || command === 'logout') return { command };
  if (command === 'whois') return typeof address === 'string' ? { command, address } : undefined;
  if (typeof name !== 'string' || !isTime) return undefined;
  if (command === 'ping' || command === 'ping-path') return { command, name, timeoutMs };
  const isPort = Number.isInteger(port) && (port as number) >= 1 && (port as number) <= 65535;
  return command === 'nc' && isPort ? { command, name, port: port as number, timeoutMs } : undefined;
}
