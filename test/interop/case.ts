/**
 * What an interop case is, and the checks that cases share.
 */
import type { Json, Remote } from './json-lines.ts';
import { RemoteError } from './json-lines.ts';
import type { Lab } from './lab.ts';
import type { Ends, Pair, PairOptions } from './pair.ts';
import { patternHash } from './pattern.ts';

/** What a running case is given. */
export interface Bench {
  readonly lab: Lab;
  readonly ends: Ends;
  /** Smaller transfers, for work on the harness. */
  readonly isQuick: boolean;
  /** Ten times as many hostile datagrams. */
  readonly isSoak: boolean;
  /** Makes a pair in this case's lab. */
  pair(options?: PairOptions): Promise<Pair>;
}

/** One case. */
export interface Case {
  /** For the command line: kebab-case. */
  readonly name: string;
  /** A sentence that says what is true when the case passes. */
  readonly title: string;
  /** Stock programs beyond ip, setpriv, wg and wireguard-go. */
  readonly needs?: readonly string[];
  /** The case fails after this; 60 s by default. */
  readonly timeoutMs?: number;
  /** Mostly waits: may run beside others. */
  readonly isLong?: boolean;
  /** Only makes sense with a mote at the near end. */
  readonly isMoteOnly?: boolean;
  /** Runs the case; returns the evidence. */
  run(bench: Bench): Promise<string>;
}

/** Fails the case with `message` unless `claim` holds. */
export function expect(claim: boolean, message: string): asserts claim {
  if (!claim) throw new Error(message);
}

/** Expects an op to fail with one of the codes; returns the code. */
export async function expectError(what: string, call: Promise<Json>, codes: readonly string[]): Promise<string> {
  let result: Json;
  try {
    result = await call;
  } catch (error) {
    const code = error instanceof RemoteError ? error.code : undefined;
    expect(code !== undefined && codes.includes(code), `${what}: expected ${codes.join(' or ')}, got ${String(error)}`);
    return code;
  }
  throw new Error(`${what}: expected ${codes.join(' or ')}, but it succeeded: ${JSON.stringify(result)}`);
}

/** Expects `bytes` of the seed's stream. */
export function expectPattern(what: string, got: Json, seed: number, bytes: number): void {
  expect(got.bytes === bytes, `${what}: ${bytes} bytes were sent, ${got.bytes} arrived`);
  expect(got.sha256 === patternHash(seed, bytes), `${what}: the hash differs`);
}

/** Opens a connection from one program to a listener that the other makes for it; returns both ends' numbers. */
export async function connectFlows(
  from: Remote,
  to: Remote,
  host: string,
  port: number,
): Promise<{ client: number; server: number }> {
  const listening = await to.call('listen', { port });
  const accepted = to.call('accept', { listener: listening.listener });
  accepted.catch(() => {});
  const { conn } = await from.call('dial', { host, port: listening.port });
  const server = (await accepted).conn;
  await to.call('unlisten', { listener: listening.listener });
  return { client: conn, server };
}

/** Sends a pattern through a new connection and expects it whole at the other end; returns Mbit/s. */
export async function transfer(
  from: Remote,
  to: Remote,
  o: { host: string; port: number; bytes: number; seed: number; timeoutMs?: number },
): Promise<number> {
  const timeoutMs = o.timeoutMs ?? 60_000;
  const { client, server } = await connectFlows(from, to, o.host, o.port);
  const receiving = to.call('receive', { conn: server }, timeoutMs);
  await from.call('send', { conn: client, bytes: o.bytes, seed: o.seed, end: true }, timeoutMs);
  const got = await receiving;
  expectPattern(`${o.bytes} bytes to ${o.host}:${o.port}`, got, o.seed, o.bytes);
  await Promise.all([from.call('closeFlow', { conn: client }), to.call('closeFlow', { conn: server })]);
  return (o.bytes * 8) / 1000 / got.ms;
}

/** `12.3 Mbit/s`. */
export function rate(mbps: number): string {
  return `${mbps.toFixed(mbps < 100 ? 1 : 0)} Mbit/s`;
}

/** `3.4 MB`. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
