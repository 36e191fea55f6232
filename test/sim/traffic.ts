/**
 * Traffic between motes that a case watches: numbered datagrams that are echoed, and what path the motes say they use.
 * Test-only.
 */
import { readU32BE, writeU32BE } from '../../lib/base/bytes.ts';
import { NetError } from '../../lib/base/errors.ts';
import type { Connection } from '../../lib/mote/connection.ts';
import type { Mote } from '../../lib/mote/mote.ts';
import type { UdpSocket } from '../../lib/mote/udp-socket.ts';
import type { World } from './world.ts';
import type { WorldHost } from './world-host.ts';
import { addressOf } from './world-tailnet.ts';

export const ECHO_PORT = 7;
const DATAGRAM_BYTES = 8;

/** A mote and where it runs. */
export interface Place {
  readonly mote: Mote;
  readonly host: WorldHost;
}

/** Numbers of one flow in the order in which they came. */
export type Arrivals = { readonly number: number; readonly atMs: number }[];

/** Echoes datagrams, and keeps the numbers of each flow as they come in. */
export class EchoServer {
  readonly flows = new Map<number, Arrivals>();
  readonly #socket: UdpSocket;

  private constructor(socket: UdpSocket) {
    this.#socket = socket;
  }

  static async open(mote: Mote, nowMs: () => number): Promise<EchoServer> {
    const socket = await mote.udp(ECHO_PORT);
    const server = new EchoServer(socket);
    void listen(socket, (data, from) => {
      note(server.flows, data, nowMs());
      socket.send(data, from);
    });
    return server;
  }

  close(): void {
    this.#socket.close();
  }
}

/** Sends numbered datagrams to echo servers; one socket for all flows of a mote. */
export class EchoClient {
  readonly mote: Mote;
  readonly flows = new Map<number, Arrivals>();
  readonly #socket: UdpSocket;

  private constructor(mote: Mote, socket: UdpSocket, nowMs: () => number) {
    this.mote = mote;
    this.#socket = socket;
    void listen(socket, data => note(this.flows, data, nowMs()));
  }

  static async open(mote: Mote, nowMs: () => number): Promise<EchoClient> {
    return new EchoClient(mote, await mote.udp(), nowMs);
  }

  /** Sends one datagram. */
  send(to: Mote, flow: number, number: number): boolean {
    const data = new Uint8Array(DATAGRAM_BYTES);
    writeU32BE(data, 0, flow);
    writeU32BE(data, 4, number);
    return this.#socket.send(data, { address: addressOf(to), port: ECHO_PORT });
  }

  /** What has come back. */
  echoes(flow: number): Arrivals {
    return this.flows.get(flow) ?? [];
  }
}

/** How a mote says it reaches another: `direct`, `relay`, `idle`; `unknown` if it does not know it. */
export function pathBetween(from: Mote, to: Mote): string {
  return from.status().tailnet?.peers.find(({ publicKey }) => publicKey === to.publicKey)?.path ?? 'unknown';
}

/** Which of the numbers 0 to `count` - 1 are missing, or came twice or out of order; empty: none. */
export function flaws(arrivals: Arrivals, count: number): string {
  const numbers = arrivals.map(({ number }) => number);
  const missing = Array.from({ length: count }, (_, i) => i).filter(i => !numbers.includes(i));
  const isOrdered = numbers.every((number, i) => i === 0 || number > numbers[i - 1]!);
  const parts = [missing.length > 0 ? `lost ${missing.join(' ')}` : '', isOrdered ? '' : `order ${numbers.join(' ')}`];
  return parts.filter(part => part !== '').join(', ');
}

async function listen(
  socket: UdpSocket,
  take: (data: Uint8Array, from: { address: string; port: number }) => void,
): Promise<void> {
  for (;;) {
    // A mote that has closed says so by an error.
    const got = await socket.receive().catch((error: NetError) => (error.code === 'ERR_CLOSED' ? undefined : error));
    if (got === undefined) return;
    if (!(got instanceof NetError)) take(got.data, got.from);
  }
}

function note(flows: Map<number, Arrivals>, data: Uint8Array, atMs: number): void {
  const flow = readU32BE(data, 0);
  const arrival = { number: readU32BE(data, 4), atMs };
  const known = flows.get(flow);
  if (known === undefined) flows.set(flow, [arrival]);
  else known.push(arrival);
}

const STREAM_PORT = 9;
const STREAM_CHUNK_BYTES = 700;
const STREAM_INTERVAL_MS = 250;
/** After the last byte was written: TCP waits long between tries when nothing passed for long. */
const STREAM_END_LIMIT_MS = 180_000;

/** A TCP connection between two motes that echoes a known pattern, while its client is awake. */
export class StreamCheck {
  readonly #world: World;
  readonly #client: Place;
  #written = 0;
  #echoed = 0;
  #flaw = '';
  #isRunning = true;
  #isWriting = false;
  #connection: Connection | undefined;

  private constructor(world: World, client: Place) {
    this.#world = world;
    this.#client = client;
  }

  static async open(world: World, client: Place, server: Place): Promise<StreamCheck> {
    const check = new StreamCheck(world, client);
    const listener = await server.mote.listen(STREAM_PORT);
    void (async () => {
      const connection = await listener.accept();
      for (let got = await connection?.read(); got !== undefined; got = await connection?.read())
        await connection!.write(got);
      await connection?.end();
    })().catch(() => undefined);
    check.#connection = await world.clock.until(client.mote.dial(addressOf(server.mote), STREAM_PORT), 20_000);
    void check.#read().catch((error: Error) => check.#fail(error.message));
    check.#tick();
    return check;
  }

  /** Ends the stream and lets time pass until all echoes are there; what is wrong, or empty. */
  async finish(): Promise<string> {
    this.#isRunning = false;
    const endMs = this.#world.nowMs + STREAM_END_LIMIT_MS;
    while (this.#flaw === '' && (this.#isWriting || this.#echoed < this.#written) && this.#world.nowMs < endMs)
      await this.#world.clock.advance(STREAM_INTERVAL_MS);
    if (this.#flaw === '' && this.#echoed < this.#written)
      this.#fail(`${this.#echoed} of ${this.#written} bytes came back`);
    if (this.#written === 0) this.#fail('nothing was written');
    this.#connection?.abort();
    return this.#flaw;
  }

  #tick(): void {
    if (!this.#isRunning) return;
    if (!this.#client.host.isAsleep && !this.#isWriting) void this.#write();
    this.#world.clock.after(STREAM_INTERVAL_MS, () => this.#tick());
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    const bytes = Uint8Array.from({ length: STREAM_CHUNK_BYTES }, (_, i) => patternAt(this.#written + i));
    this.#written += bytes.length;
    await this.#connection!.write(bytes).catch((error: Error) => this.#fail(error.message));
    this.#isWriting = false;
  }

  async #read(): Promise<void> {
    const connection = this.#connection!;
    for (let got = await connection.read(); got !== undefined; got = await connection.read()) {
      for (const byte of got) if (byte !== patternAt(this.#echoed++)) this.#fail(`byte ${this.#echoed - 1} is another`);
    }
  }

  #fail(text: string): void {
    if (this.#flaw === '') this.#flaw = text;
  }
}

/** Different at neighbouring places and at places whose distance is a power of two. */
function patternAt(at: number): number {
  return (Math.imul(at, 0x9e37_79b1) >>> 24) ^ (at & 0xff);
}
