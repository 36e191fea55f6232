/**
 * Traffic between motes that a case watches: numbered datagrams that are echoed, and what path the motes say they use.
 * Test-only.
 */
import { readU32BE, writeU32BE } from '../../lib/base/bytes.ts';
import type { Mote } from '../../lib/mote/mote.ts';
import type { UdpSocket } from '../../lib/mote/udp-socket.ts';
import { addressOf } from './world-tailnet.ts';

export const ECHO_PORT = 7;
const DATAGRAM_BYTES = 8;

/** Numbers of one flow in the order in which they came. */
export type Arrivals = { readonly number: number; readonly atMs: number }[];

/** Echoes datagrams, and keeps the numbers of each flow as they come in. */
export class EchoServer {
  readonly flows = new Map<number, Arrivals>();

  static async open(mote: Mote, nowMs: () => number): Promise<EchoServer> {
    const server = new EchoServer();
    const socket = await mote.udp(ECHO_PORT);
    void listen(socket, (data, from) => {
      note(server.flows, data, nowMs());
      socket.send(data, from);
    });
    return server;
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
  for (let got = await socket.receive(); got !== undefined; got = await socket.receive()) take(got.data, got.from);
}

function note(flows: Map<number, Arrivals>, data: Uint8Array, atMs: number): void {
  const flow = readU32BE(data, 0);
  const arrival = { number: readU32BE(data, 4), atMs };
  const known = flows.get(flow);
  if (known === undefined) flows.set(flow, [arrival]);
  else known.push(arrival);
}
